//! Namespaces of a child: a PID namespace, whose end kills every process in it, a mount namespace,
//! and others that the caller asks for.
//!
//! ```text
//! hyperexport ── fork ──▶ watcher ── fork ──▶ PID 1 of the namespace ── exec ──▶ the program
//!                         waits, passes the
//!                         exit status on
//! ```
//!
//! If hyperexport is killed, so is the watcher, then PID 1 (`PR_SET_PDEATHSIG`), then all processes
//! of the namespace. All functions here run between `fork` and `exec`: system calls only.

use std::ffi::{CStr, CString};
use std::io;

use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, fork, getegid, geteuid, write};

const NOTHING: Option<&CStr> = None;

/// Identity mapping of this user and group for a user namespace. Built before `fork`, since
/// building it allocates.
#[derive(Debug, Clone)]
pub(super) struct UserIdentity {
    user: CString,
    group: CString,
}

impl UserIdentity {
    /// Mapping of this process' effective user and group.
    pub(super) fn own() -> io::Result<Self> {
        let (user, group) = (geteuid(), getegid());
        Ok(Self {
            user: CString::new(format!("{user} {user} 1"))?,
            group: CString::new(format!("{group} {group} 1"))?,
        })
    }

    /// Writes the mapping. Without `deny` in `setgroups` an unprivileged user may not map a group
    /// (user_namespaces(7)).
    fn map(&self) -> io::Result<()> {
        for (file, text) in [
            (c"/proc/self/setgroups", c"deny"),
            (c"/proc/self/uid_map", &*self.user),
            (c"/proc/self/gid_map", &*self.group),
        ] {
            let file = open(file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
            write(&file, text.to_bytes())?;
        }
        Ok(())
    }
}

/// Enters a mount and a PID namespace and those of `more`. With an identity also a user namespace,
/// which needs no privilege. Returns in PID 1 of the namespace.
pub(super) fn enter(more: CloneFlags, identity: Option<&UserIdentity>) -> io::Result<()> {
    let flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | more;
    match identity {
        Some(identity) => {
            unshare(flags | CloneFlags::CLONE_NEWUSER)?;
            identity.map()?;
        }
        None => unshare(flags)?,
    }
    // Mounts made from here on are invisible outside, and MS_MOVE requires a private parent.
    mount(NOTHING, c"/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)?;
    // SAFETY: this process has one thread, the one that std forked, and from here on both sides
    // only make system calls.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => watch(child.as_raw()),
        // fork cleared the signal that `Program` had set.
        ForkResult::Child => Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?),
    }
}

/// [`enter`] without further namespaces, for callers that assemble their own `/dev`.
///
/// # Errors
/// If this user may not create the namespaces.
pub fn enter_mount_and_pid() -> io::Result<()> {
    enter(CloneFlags::empty(), None)
}

/// Mounts the `/proc` of the PID namespace.
///
/// # Errors
/// If the kernel refuses, as in some containers.
pub fn mount_proc(at: &CStr) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(Some(c"proc"), at, Some(c"proc"), flags, NOTHING)?)
}

/// Waits for PID 1 of the namespace and exits with its status. A signal counts as 128 plus its
/// number, as in a shell.
fn watch(child: libc::pid_t) -> ! {
    // SAFETY: plain system calls. Inherited signal handlers would swallow TERM, and an inherited
    // pipe end would make the parent wait for our exec.
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
