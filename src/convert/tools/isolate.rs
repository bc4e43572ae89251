//! Isolates hyper2kvm, run as root, from the host's disks. The `/dev` of its mount namespace
//! contains null, random, tty, kvm and similar devices, and no block device. The end of its PID
//! namespace ends every process in it, whatever session or group it moved to
//! (`child/namespace.rs`). The namespaces need CAP_SYS_ADMIN; `available` tries.
//!
//! Programs that open images for hyperexport itself are confined further (`child/confine.rs`).
//! hyper2kvm mounts file systems and starts programs, and needs the machine's files for that.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::{mkdir, symlinkat};

use crate::child::{self, Program};

use super::qemu_img::Tools;

/// The devices that are bound into the new `/dev`, where the host has them.
const DEVICES: [&str; 7] = ["null", "zero", "full", "random", "urandom", "tty", "kvm"];
/// The links that programs expect in /dev.
const LINKS: [(&CStr, &str); 5] = [
    (c"/proc/self/fd", "fd"),
    (c"/proc/self/fd/0", "stdin"),
    (c"/proc/self/fd/1", "stdout"),
    (c"/proc/self/fd/2", "stderr"),
    (c"pts/ptmx", "ptmx"),
];
const NOTHING: Option<&CStr> = None;

/// Whether this user may create the namespaces here. `stage` is an empty folder.
pub(in crate::convert) async fn available(stage: &Path, tools: &Tools) -> bool {
    let Ok(hook) = isolation(stage) else { return false };
    let program = Program::new("true").env("PATH", &tools.path).before_exec(hook);
    match child::run(program, &tools.limits(), |_, _| {}).await {
        Ok(status) => status.success(),
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "no private /dev");
            false
        }
    }
}

/// The hook that [`Program::before_exec`] calls in the child. Everything that allocates is done
/// here; the hook only makes system calls. `stage` is an empty folder in which the new `/dev` is
/// assembled.
pub(in crate::convert) fn isolation(
    stage: &Path,
) -> io::Result<impl FnMut() -> io::Result<()> + Send + Sync + 'static> {
    let dev = PrivateDev::new(stage)?;
    Ok(move || {
        child::enter_mount_and_pid()?;
        child::mount_proc(c"/proc")?;
        dev.mount()
    })
}

/// The paths that make up a new `/dev`.
struct PrivateDev {
    stage: CString,
    /// Each device of the host, with its target.
    devices: Vec<(CString, CString)>,
    links: Vec<(&'static CStr, CString)>,
    pts: CString,
    shm: CString,
}

impl PrivateDev {
    fn new(stage: &Path) -> io::Result<Self> {
        let at = |name: &str| CString::new(stage.join(name).as_os_str().as_bytes());
        let there = DEVICES.iter().filter(|name| Path::new("/dev").join(name).exists());
        let devices = there.map(|name| Ok((CString::new(format!("/dev/{name}"))?, at(name)?)));
        let links = LINKS.iter().map(|(target, name)| Ok((*target, at(name)?)));
        Ok(Self {
            stage: CString::new(stage.as_os_str().as_bytes())?,
            devices: devices.collect::<io::Result<_>>()?,
            links: links.collect::<io::Result<_>>()?,
            pts: at("pts")?,
            shm: at("shm")?,
        })
    }

    /// Assembles the new `/dev` beside the old one, which contains the devices, and moves it over.
    fn mount(&self) -> io::Result<()> {
        let tmpfs = Some(c"tmpfs");
        mount(tmpfs, &*self.stage, tmpfs, MsFlags::MS_NOSUID, Some(c"mode=755,size=64m"))?;
        for (device, place) in &self.devices {
            drop(open(&**place, OFlag::O_CREAT | OFlag::O_CLOEXEC, Mode::from_bits_retain(0o600))?);
            mount(Some(&**device), &**place, NOTHING, MsFlags::MS_BIND, NOTHING)?;
        }
        for (target, place) in &self.links {
            symlinkat(*target, nix::fcntl::AT_FDCWD, &**place)?;
        }
        mkdir(&*self.shm, Mode::from_bits_retain(0o700))?;
        mkdir(&*self.pts, Mode::from_bits_retain(0o755))?;
        let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
        // Some containers have no /dev/pts; nothing that runs here needs a terminal.
        match mount(Some(c"/dev/pts"), &*self.pts, NOTHING, bind, NOTHING) {
            Ok(()) | Err(nix::errno::Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(mount(Some(&*self.stage), c"/dev", NOTHING, MsFlags::MS_MOVE, NOTHING)?)
    }
}
