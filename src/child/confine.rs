//! Confinement of a child that opens untrusted files (qemu-img, guestfish) to its own root.
//!
//! The child gets a mount, a PID, an IPC, a UTS and a network namespace. Its root is an empty tmpfs
//! with read-only binds of the system's programs and libraries. Added are a small `/dev`, its own
//! `/proc`, and the files that the caller names. The only network device is a `lo` that is down.
//! The only remaining capability is `CAP_DAC_OVERRIDE`. An image that exploits the child can
//! neither read other files of this machine nor send data anywhere.
//!
//! Root creates the namespaces directly, other users through a user namespace where the kernel
//! allows that. [`Door::find`] detects which way works.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf, absolute};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;
use nix::unistd::{chdir, mkdir, pivot_root, symlinkat};

use super::namespace::{self, UserIdentity};
use super::{Limits, Program, run};

/// Where the new root is assembled: no image is stored there.
const STAGE: &str = "/sys";
/// Folders of programs and libraries, shown if they exist. Symbolic links stay links.
const SYSTEM: [&str; 12] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/crypto-policies",
];
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
/// Symbolic links that programs expect in `/dev`.
const LINKS: [(&CStr, &str); 4] = [
    (c"/proc/self/fd", "fd"),
    (c"/proc/self/fd/0", "stdin"),
    (c"/proc/self/fd/1", "stdout"),
    (c"/proc/self/fd/2", "stderr"),
];
const NOTHING: Option<&CStr> = None;
/// Linux, `include/uapi/linux/capability.h`.
const CAP_DAC_OVERRIDE: u32 = 1;
const CAPABILITIES_VERSION_3: u32 = 0x2008_0522;
/// Linux, `include/uapi/linux/mount.h`.
const MOUNT_ATTR_RDONLY: u64 = 1;
const MOUNT_ATTR_NOSUID: u64 = 2;
/// `include/uapi/linux/fcntl.h`.
const AT_RECURSIVE: libc::c_uint = 0x8000;
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;

/// How this user can create namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// By root's privilege.
    Privilege,
    /// Through a user namespace, without privilege.
    UserNamespace,
    /// Not at all: children run unconfined.
    None,
}

impl Door {
    /// Detects the first way in which `program` runs confined with exit status 0.
    pub async fn find(program: impl Fn() -> Program, limits: &Limits) -> Self {
        for door in [Self::Privilege, Self::UserNamespace] {
            let confined = program().confined(Confinement::new(), door);
            match run(confined, limits, |_, line| tracing::debug!(%line, ?door, "confined")).await {
                Ok(status) if status.success() => return door,
                Ok(status) => tracing::debug!(%status, ?door, "not confined"),
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        ?door,
                        "not confined"
                    );
                }
            }
        }
        Self::None
    }
}

/// Files and devices that a confined child sees besides programs and libraries.
#[derive(Debug, Clone, Default)]
pub struct Confinement {
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    hidden: Vec<PathBuf>,
    devices: Vec<&'static str>,
    scratch: Vec<&'static str>,
    skeleton: Vec<&'static str>,
    kept: Option<RawFd>,
}

impl Confinement {
    /// Shows only programs, libraries and the basic devices.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows files or folders read-only. Missing ones are skipped.
    pub fn read<P: AsRef<Path>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.read.extend(paths.into_iter().map(|path| path.as_ref().to_owned()));
        self
    }

    /// Shows files or folders writable. A missing file is created empty.
    pub fn write<P: AsRef<Path>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.write.extend(paths.into_iter().map(|path| path.as_ref().to_owned()));
        self
    }

    /// Hides files or folders below those of [`Self::read`]: they appear empty.
    pub fn hide<P: AsRef<Path>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.hidden.extend(paths.into_iter().map(|path| path.as_ref().to_owned()));
        self
    }

    /// Shows further devices, by their names in `/dev`.
    pub fn devices(mut self, names: &[&'static str]) -> Self {
        self.devices.extend(names);
        self
    }

    /// Adds empty folders for temporary files, which vanish with the child.
    pub fn scratch(mut self, folders: &[&'static str]) -> Self {
        self.scratch.extend(folders);
        self
    }

    /// Shows the links and, as empty folders, the subfolders of these folders.
    pub fn skeleton(mut self, folders: &[&'static str]) -> Self {
        self.skeleton.extend(folders);
        self
    }

    /// Lets the child inherit an open file, which must stay open until the child has started. The
    /// child opens it as `/proc/self/fd/N`, even if the file has no name.
    pub fn keep(mut self, file: &impl AsRawFd) -> Self {
        self.kept = Some(file.as_raw_fd());
        self
    }

    /// Hook that the child runs before `exec`. `program` is searched in `path` and runs in `dir`.
    pub(super) fn hook(
        self,
        door: Door,
        program: &Path,
        path: &OsStr,
        dir: Option<&Path>,
    ) -> io::Result<impl FnMut() -> io::Result<()> + Send + Sync + 'static> {
        let kept = self.kept;
        // Arguments may be relative paths.
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let dir = here.join(dir.unwrap_or(&here));
        let identity = match door {
            Door::UserNamespace => Some(UserIdentity::own()?),
            _ => None,
        };
        let steps = match door {
            Door::None => Vec::new(),
            _ => self.steps(&own_folders(program, path), &dir)?,
        };
        let dir = CString::new(dir.into_os_string().into_encoded_bytes())?;
        let (stage, proc) = (CString::new(STAGE)?, CString::new(format!("{STAGE}/proc"))?);
        Ok(move || {
            if door == Door::None {
                return inherit(kept);
            }
            let more =
                CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
            namespace::enter(more, identity.as_ref())?;
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(Some(c"tmpfs"), &*stage, Some(c"tmpfs"), flags, Some(c"mode=755,size=4m"))?;
            mkdir(&*proc, Mode::from_bits_retain(0o555))?;
            namespace::mount_proc(&proc)?;
            steps.iter().try_for_each(Step::take)?;
            read_only(&stage, false)?;
            chdir(&*stage)?;
            // pivot_root(2), "pivot_root(".", ".")": the old root is stacked over the new one and
            // then unmounted.
            pivot_root(c".", c".")?;
            umount2(c".", MntFlags::MNT_DETACH)?;
            chdir(&*dir)?;
            inherit(kept)?;
            give_up_privileges()
        })
    }

    fn steps(&self, own: &[PathBuf], dir: &Path) -> io::Result<Vec<Step>> {
        let mut steps = Steps::default();
        // First, since shown files may be below these folders.
        for folder in self.scratch.iter().map(Path::new) {
            steps.folder(folder)?;
            steps.0.push(Step::Fresh(staged(folder)?));
        }
        for path in SYSTEM.iter().map(Path::new).chain(own.iter().map(PathBuf::as_path)) {
            steps.show(path, false)?;
        }
        for name in DEVICES.iter().chain(&self.devices) {
            steps.show(&Path::new("/dev").join(name), true)?;
        }
        for (target, name) in LINKS {
            let at = staged(&Path::new("/dev").join(name))?;
            steps.0.push(Step::Link { target: target.to_owned(), at });
        }
        for path in &self.read {
            steps.show(&absolute(path)?, false)?;
        }
        for path in &self.hidden {
            steps.hide(&absolute(path)?)?;
        }
        for path in &self.write {
            if !path.exists() {
                let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
                new.map_err(|error| {
                    io::Error::new(error.kind(), format!("make {}: {error}", path.display()))
                })?;
            }
            steps.show(&absolute(path)?, true)?;
        }
        steps.folder(dir)?;
        // Last: a link to an absolute path points out of the new root until pivot_root.
        for folder in &self.skeleton {
            steps.outline(Path::new(folder))?;
        }
        Ok(steps.0)
    }
}

/// Folders of a program outside the system's folders: of its name in `PATH`, and of the target if
/// that name is a link.
fn own_folders(program: &Path, path: &OsStr) -> Vec<PathBuf> {
    let found = if program.is_absolute() {
        Some(program.to_owned())
    } else {
        std::env::split_paths(path).map(|dir| dir.join(program)).find(|path| path.is_file())
    };
    let real = found.as_ref().and_then(|path| fs::canonicalize(path).ok());
    let folders = found.iter().chain(&real).filter_map(|path| path.parent());
    let known = |folder: &Path| SYSTEM.iter().any(|system| folder.starts_with(system));
    folders.filter(|folder| folder.is_absolute() && !known(folder)).map(Path::to_owned).collect()
}

/// One step in assembling the new root.
#[derive(Debug)]
enum Step {
    Folder(CString),
    File(CString),
    Link {
        target: CString,
        at: CString,
    },
    Bind {
        from: CString,
        at: CString,
        writable: bool,
    },
    /// Mounts an empty tmpfs.
    Fresh(CString),
}

impl Step {
    fn take(&self) -> io::Result<()> {
        // An entry that exists already is part of a bound folder.
        let there = |result: nix::Result<()>| match result {
            Err(Errno::EEXIST | Errno::EROFS) => Ok(()),
            result => result,
        };
        match self {
            Self::Folder(at) => there(mkdir(&**at, Mode::from_bits_retain(0o755)))?,
            Self::File(at) => {
                let flags = OFlag::O_CREAT | OFlag::O_CLOEXEC;
                there(open(&**at, flags, Mode::from_bits_retain(0o600)).map(drop))?;
            }
            Self::Link { target, at } => {
                there(symlinkat(&**target, nix::fcntl::AT_FDCWD, &**at))?;
            }
            Self::Bind { from, at, writable } => {
                let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
                mount(Some(&**from), &**at, NOTHING, bind, NOTHING)?;
                if !writable {
                    read_only(at, true)?;
                }
            }
            Self::Fresh(at) => {
                let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
                mount(Some(c"tmpfs"), &**at, Some(c"tmpfs"), flags, Some(c"mode=700,size=512m"))?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Steps(Vec<Step>);

impl Steps {
    /// Creates a folder and its parents.
    fn folder(&mut self, path: &Path) -> io::Result<()> {
        let mut above: Vec<_> = path.ancestors().filter(|path| path.parent().is_some()).collect();
        above.reverse();
        for folder in above {
            self.0.push(Step::Folder(staged(folder)?));
        }
        Ok(())
    }

    /// Shows a file or folder of this machine under its own path.
    fn show(&mut self, path: &Path, writable: bool) -> io::Result<()> {
        let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        let at = staged(path)?;
        let is_system = SYSTEM.iter().any(|system| Path::new(system) == path);
        if found.is_symlink() && is_system {
            // Relative, since an absolute link would lead out of the new root while that is
            // assembled.
            let target = fs::read_link(path)?;
            let target = target.strip_prefix("/").unwrap_or(&target);
            let target = CString::new(target.as_os_str().as_bytes())?;
            self.0.push(Step::Link { target, at });
            return Ok(());
        }
        let is_folder = fs::metadata(path)?.is_dir();
        let from = CString::new(path.as_os_str().as_bytes())?;
        self.0.push(if is_folder { Step::Folder(at.clone()) } else { Step::File(at.clone()) });
        self.0.push(Step::Bind { from, at, writable });
        Ok(())
    }

    /// Recreates the links and, empty, the subfolders of a folder of this machine.
    fn outline(&mut self, folder: &Path) -> io::Result<()> {
        self.folder(folder)?;
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, at) = (entry.path(), staged(&entry.path())?);
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.0.push(Step::Folder(at)),
                Ok(kind) if kind.is_symlink() => {
                    let target =
                        CString::new(fs::read_link(path)?.into_os_string().into_encoded_bytes())?;
                    self.0.push(Step::Link { target, at });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Mounts an empty file or tmpfs over a shown file or folder.
    fn hide(&mut self, path: &Path) -> io::Result<()> {
        let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
        let at = staged(path)?;
        if found.is_dir() {
            self.0.push(Step::Fresh(at));
        } else if found.is_file() {
            self.0.push(Step::Bind { from: c"/dev/null".to_owned(), at, writable: true });
        }
        Ok(())
    }
}

/// Path below the stage where the new root is assembled. A path with too many `..` is refused: it
/// would leave the stage, although it cannot leave the finished root.
fn staged(path: &Path) -> io::Result<CString> {
    let depth = path.components().try_fold(0_usize, |depth, part| match part {
        Component::ParentDir => depth.checked_sub(1),
        Component::Normal(_) => Some(depth + 1),
        _ => Some(depth),
    });
    if !path.is_absolute() || depth.is_none() {
        let why = format!("{} is no path that a confined program can have", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut staged = STAGE.as_bytes().to_vec();
    staged.extend(path.as_os_str().as_bytes());
    Ok(CString::new(staged)?)
}

/// Makes a mount read-only, including the mounts below it where the kernel can (Linux 5.12).
fn read_only(at: &CStr, below: bool) -> io::Result<()> {
    /// `struct mount_attr`.
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        namespace: u64,
    }
    let set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
    let attr = MountAttr { set, clear: 0, propagation: 0, namespace: 0 };
    let flags = if below { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is NUL-terminated, and the size is that of the struct.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            at.as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    match Errno::result(done) {
        Ok(_) => Ok(()),
        Err(Errno::ENOSYS) => remount(at),
        Err(error) => Err(error.into()),
    }
}

/// [`read_only`] for a single mount by mount(2), which clears all flags that are not passed again.
fn remount(at: &CStr) -> io::Result<()> {
    let flags = nix::sys::statvfs::statvfs(at)?.flags().bits();
    let mut stay = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    for (is, flag) in [
        (libc::ST_NODEV, MsFlags::MS_NODEV),
        (libc::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (libc::ST_NOATIME, MsFlags::MS_NOATIME),
    ] {
        if flags & is != 0 {
            stay |= flag;
        }
    }
    Ok(mount(NOTHING, at, NOTHING, stay | MsFlags::MS_NOSUID, NOTHING)?)
}

/// Lets the program inherit only the three standard streams and `kept`.
fn inherit(kept: Option<RawFd>) -> io::Result<()> {
    // SAFETY: plain system calls on descriptors of this process.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC);
        if let Some(kept) = kept {
            Errno::result(libc::fcntl(kept, libc::F_SETFD, 0))?;
        }
    }
    Ok(())
}

/// Drops all of root's capabilities except `CAP_DAC_OVERRIDE`: making devices, mounting, opening
/// files by handle. The program can still open other users' files, but only those shown to it.
fn give_up_privileges() -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    /// Effective, permitted and inheritable, for 32 capabilities.
    type Data = [u32; 3];
    nix::sys::prctl::set_no_new_privs()?;
    for capability in (0..64).filter(|capability| *capability != CAP_DAC_OVERRIDE) {
        // SAFETY: a plain system call.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        match Errno::result(dropped) {
            Ok(_) => {}
            // The kernel knows no further capabilities.
            Err(Errno::EINVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let header = Header { version: CAPABILITIES_VERSION_3, pid: 0 };
    let kept = 1 << CAP_DAC_OVERRIDE;
    let data: [Data; 2] = [[kept, kept, 0], [0, 0, 0]];
    // SAFETY: both structs have the layout of capset(2).
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    Errno::result(set).map(drop).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use tokio_util::sync::CancellationToken;

    use super::*;

    fn limits() -> Limits {
        let timeout = Some(std::time::Duration::from_secs(30));
        Limits { timeout, cancel: CancellationToken::new() }
    }

    fn shell(script: &str) -> Program {
        Program::new("/bin/sh").args(["-c", script])
    }

    /// Output of a script, and whether its exit status was 0, for each door that works on this
    /// machine.
    async fn confined(script: &str, confinement: &Confinement) -> Vec<(Vec<String>, bool)> {
        let mut ends = Vec::new();
        for door in [Door::Privilege, Door::UserNamespace] {
            let tried = shell("exit 0").confined(Confinement::new(), door);
            if !run(tried, &limits(), |_, _| {}).await.is_ok_and(|status| status.success()) {
                continue;
            }
            let mut said = Vec::new();
            let program = shell(script).confined(confinement.clone(), door);
            let status = run(program, &limits(), |_, line| said.push(line.to_owned())).await;
            ends.push((said, status.expect("it runs").success()));
        }
        if ends.is_empty() {
            println!("skipped: no namespaces here");
        }
        ends
    }

    #[tokio::test]
    async fn a_confined_child_sees_what_it_was_given_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        for name in ["image", "secret", "old"] {
            fs::write(at(name), format!("of {name}\n")).expect("written");
        }
        let script = format!(
            "cd {}; cat image; cat secret; ls; echo x >image; echo new >result; echo newer >old",
            dir.path().display()
        );
        let confinement = Confinement::new().read([at("image")]).write([at("result"), at("old")]);
        for (said, _) in confined(&script, &confinement).await {
            assert!(said.contains(&"of image".to_owned()), "{said:?}");
            assert!(!said.iter().any(|line| line.contains("of secret")), "{said:?}");
            assert!(!said.contains(&"secret".to_owned()), "{said:?}");
            let read = |name: &str| fs::read_to_string(at(name)).expect("there");
            assert_eq!((&*read("image"), &*read("result")), ("of image\n", "new\n"));
            assert_eq!(read("old"), "newer\n");
        }
    }

    #[tokio::test]
    async fn a_confined_child_has_no_network_no_foreign_process_and_no_way_back() {
        let script = "tail -n +3 /proc/net/dev | cut -d: -f1; ls -d /proc/[0-9]* | wc -l; \
                      cat /proc/self/status | grep CapEff; ls /root /home /etc/passwd /sys/kernel; \
                      mount -t tmpfs x /usr && echo mounted; mkdir /x && echo made; \
                      mknod /dev/y b 1 0 && echo device; ls /dev";
        for (said, _) in confined(script, &Confinement::new()).await {
            let all = said.join("\n");
            assert_eq!(said[0].trim(), "lo", "{all}");
            assert!(all.contains("CapEff:\t000000000000000"), "{all}");
            for wrong in ["mounted", "made", "device", "passwd\n", "sda", "vda"] {
                assert!(!all.contains(wrong), "{wrong}: {all}");
            }
            assert!(said.contains(&"urandom".to_owned()), "{all}");
        }
    }

    #[tokio::test]
    async fn a_file_without_a_name_is_handed_on() {
        let file = tempfile::tempfile().expect("a file");
        let script = format!("echo kept >/proc/self/fd/{}", file.as_raw_fd());
        let confinement = Confinement::new().keep(&file);
        for (said, well) in confined(&script, &confinement).await {
            assert!(well, "{said:?}");
            let mut file = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("open");
            let mut text = String::new();
            file.read_to_string(&mut text).expect("read");
            assert_eq!(text, "kept\n");
        }
    }

    #[tokio::test]
    async fn a_skeleton_has_empty_folders_and_links() {
        let confinement = Confinement::new().skeleton(&["/", "/var"]);
        let script = "ls -d /sys /root /run /var/lib; readlink /var/run; ls /root /var/lib";
        for (said, well) in confined(script, &confinement).await {
            assert!(well, "{said:?}");
            let known: Vec<_> = said.iter().filter(|line| line.starts_with('/')).collect();
            assert!(known.len() >= 4, "{said:?}");
            assert_eq!(said.last().map(String::as_str), Some("/var/lib:"), "{said:?}");
        }
    }

    #[tokio::test]
    async fn a_relative_path_is_one_of_the_working_folder() {
        let confinement = Confinement::new().read(["Cargo.toml"]);
        for (said, well) in confined("cat Cargo.toml; ls", &confinement).await {
            assert!(well && said.contains(&"[package]".to_owned()), "{said:?}");
            assert_eq!(said.last().map(String::as_str), Some("Cargo.toml"), "{said:?}");
        }
    }

    #[tokio::test]
    async fn what_is_hidden_is_empty() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("secret"), "secret").expect("written");
        fs::create_dir(dir.path().join("keys")).expect("made");
        fs::write(dir.path().join("keys/key"), "secret").expect("written");
        let hidden = ["secret", "keys"].map(|name| dir.path().join(name));
        let confinement = Confinement::new().read([dir.path()]).hide(hidden).scratch(&["/tmp"]);
        let script =
            format!("cd {}; cat secret; ls keys; echo t >/tmp/t; cat /tmp/t", dir.path().display());
        for (said, well) in confined(&script, &confinement).await {
            assert!(well && said == ["t"], "{said:?}");
        }
    }

    #[tokio::test]
    async fn the_end_of_a_confined_child_is_told_and_takes_all_along() {
        for (_, well) in confined("sleep 60 & exit 3", &Confinement::new()).await {
            assert!(!well);
        }
        assert!(!matches!(
            Door::find(|| Program::new("/bin/false"), &limits()).await,
            Door::Privilege
        ));
    }

    #[test]
    fn paths_that_lead_elsewhere_are_none() {
        for path in ["relative", "/../b", "/a/../../b", "/a\0b"] {
            assert!(staged(Path::new(path)).is_err(), "{path}");
        }
        assert_eq!(staged(Path::new("/a/b")).expect("a path"), c"/sys/a/b".to_owned());
        assert_eq!(staged(Path::new("/a/../b")).expect("a path"), c"/sys/a/../b".to_owned());
    }
}
