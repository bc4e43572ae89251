//! Keeps hyper2kvm, run as root, away from the host's disks: it runs in a mount namespace whose
//! `/dev` holds null, random, tty, kvm and the like and no block device, and in a PID namespace
//! whose end ends every process in it, whatever session or group it moved to.
//!
//! ```text
//! hyperexport ── fork ──▶ watcher ── fork ──▶ PID 1 of the namespace ── exec ──▶ hyper2kvm
//!                         waits, passes the        private /proc and /dev
//!                         exit status on
//! ```
//!
//! A killed hyperexport takes the watcher with it and the watcher PID 1 (`PR_SET_PDEATHSIG`), and
//! the kernel everything else. The namespaces cannot be had without CAP_SYS_ADMIN; `available`
//! tries.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, fork, mkdir, symlinkat};

use crate::child::{self, Program};

use super::qemu_img::Tools;

/// The devices that are kept, where the host has them.
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

/// Whether this user may make the namespaces here. `stage` is an empty folder.
pub(super) async fn available(stage: &Path, tools: &Tools) -> bool {
    let Ok(hook) = isolation(stage) else { return false };
    let program = Program::new("true").clear_env().env("PATH", &tools.path).before_exec(hook);
    match child::run(program, &tools.limits(), |_, _| {}).await {
        Ok(status) => status.success(),
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "no private /dev");
            false
        }
    }
}

/// What [`Program::before_exec`] calls in the child. Everything that allocates is done here; the
/// hook only makes system calls. `stage` is an empty folder where the new `/dev` is put together.
pub(super) fn isolation(
    stage: &Path,
) -> io::Result<impl FnMut() -> io::Result<()> + Send + Sync + 'static> {
    let dev = PrivateDev::new(stage)?;
    Ok(move || {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)?;
        // Nothing that is mounted from here on shows up outside, and MS_MOVE demands it.
        mount(NOTHING, c"/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)?;
        // SAFETY: this process has one thread, the one that std forked, and from here on both
        // sides only make system calls.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => watch(child.as_raw()),
            ForkResult::Child => {
                // fork cleared what child.rs had set.
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
                let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
                mount(Some(c"proc"), c"/proc", Some(c"proc"), flags, NOTHING)?;
                dev.mount()
            }
        }
    })
}

/// Waits for the namespace's first process and ends with its status; a signal counts as 128 and
/// its number, as in a shell.
fn watch(child: libc::pid_t) -> ! {
    // SAFETY: plain system calls. Handlers of the program that forked us would swallow TERM, and
    // an open end of its pipes would keep it waiting for our exec.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
        let mut status = 0;
        while libc::waitpid(child, &raw mut status, 0) < 0 {
            if *libc::__errno_location() != libc::EINTR {
                libc::_exit(127);
            }
        }
        if libc::WIFEXITED(status) {
            libc::_exit(libc::WEXITSTATUS(status));
        }
        libc::_exit(128 + libc::WTERMSIG(status));
    }
}

/// The paths that a new `/dev` is made of.
struct PrivateDev {
    stage: CString,
    /// A device of the host and where it goes.
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

    /// Puts it together beside the old one, since its devices come from there, and moves it over.
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
