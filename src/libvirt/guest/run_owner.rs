//! Identifies the run that owns a temporary domain or volume of a trial. Concurrent runs see each
//! other's objects, and only objects of dead runs may be cleaned up. The mark of a run is in the
//! metadata of a domain, and in the name of a volume, which has no metadata.

use std::fmt;
use std::fs;
use std::io;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use regex::Regex;
use sha2::{Digest, Sha256};

use super::super::Error;

/// Age after which a run counts as dead if its process cannot be checked from here. A trial takes
/// seconds, and clocks of hosts differ by minutes.
const LONGEST_TRIAL: Duration = Duration::from_secs(60 * 60);
/// Random ID of each boot (random(4)).
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// PID namespace of this process (pid_namespaces(7)).
const NAMESPACE: &str = "/proc/self/ns/pid";

static MARK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\brun-([0-9a-f]{16})-([0-9]{1,9})-([0-9]{1,19})-([0-9]{1,12})\b")
        .expect("a constant pattern")
});

/// The process of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::libvirt) struct RunOwner {
    /// Hash of the boot ID and the PID namespace: it identifies machine, boot and namespace.
    place: String,
    pid: i32,
    /// Start time of the process, in ticks since boot: process IDs are reused.
    began: u64,
    /// When the object was about to be created, in seconds since 1970.
    since: u64,
}

impl RunOwner {
    /// This process, now.
    ///
    /// # Errors
    /// [`Error::File`] if `/proc` cannot be read.
    pub fn here() -> Result<Self, Error> {
        let place = place().map_err(Error::file("reading", BOOT))?;
        let pid = Pid::this().as_raw();
        let began = began(pid).map_err(Error::file("reading", "/proc/self/stat"))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Ok(Self { place, pid, began: began.unwrap_or_default(), since })
    }

    /// The owner whose mark the text contains.
    pub fn in_text(text: &str) -> Option<Self> {
        let found = MARK.captures(text)?;
        Some(Self {
            place: found[1].to_owned(),
            pid: found[2].parse().ok()?,
            began: found[3].parse().ok()?,
            since: found[4].parse().ok()?,
        })
    }

    /// Whether the run is known to be dead, as seen from the process `here`.
    pub fn is_dead(&self, here: &Self) -> bool {
        if self.place == here.place {
            return !lives(self.pid, self.began);
        }
        here.since.saturating_sub(self.since) > LONGEST_TRIAL.as_secs()
    }
}

impl fmt::Display for RunOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, pid, began, since } = self;
        write!(f, "run-{place}-{pid}-{began}-{since}")
    }
}

fn place() -> io::Result<String> {
    let (boot, namespace) = (fs::read_to_string(BOOT)?, fs::read_link(NAMESPACE)?);
    let sum = Sha256::digest(format!("{} {}", boot.trim(), namespace.display()));
    Ok(sum[..8].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether the process with that ID and start time is alive. True if in doubt.
fn lives(pid: i32, began_at: u64) -> bool {
    // Sends no signal. /proc may hide another user's process; this call finds it.
    if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
        return false;
    }
    match began(pid) {
        Ok(Some(began)) => began == began_at,
        Ok(None) => false,
        Err(_) => true,
    }
}

/// Start time of a process, in ticks since boot; `None` for a zombie (proc(5), `/proc/pid/stat`,
/// fields 3 and 22).
fn began(pid: i32) -> io::Result<Option<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let odd = || io::Error::from(io::ErrorKind::InvalidData);
    // Field 2, the name of the program, may contain any character.
    let (_, fields) = text.rsplit_once(") ").ok_or_else(odd)?;
    let mut fields = fields.split(' ');
    if fields.next().is_some_and(|state| matches!(state, "Z" | "X" | "x")) {
        return Ok(None);
    }
    fields.nth(18).and_then(|field| field.parse().ok()).map(Some).ok_or_else(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_known_by_its_mark_in_any_text() {
        let here = RunOwner::here().expect("/proc");
        assert!(!here.is_dead(&here));
        for text in [here.to_string(), format!("x-{here}-0a.img"), format!("<x y='{here}'/>")] {
            assert_eq!(RunOwner::in_text(&text).as_ref(), Some(&here), "{text}");
        }
        let own = "hyperexport-trial-2f0b5a0e-4a44-4f0e-9d9c-3f2b7a5d1c01";
        for text in ["", own, "run-0-1-2-3", "run-0123456789abcdef-12345678901-1-1"] {
            assert_eq!(RunOwner::in_text(text), None, "{text}");
        }
    }

    #[test]
    fn a_run_is_dead_when_its_process_is_and_elsewhere_after_an_hour() {
        let here = RunOwner::here().expect("/proc");
        let after = |other: &RunOwner, seconds| {
            other.is_dead(&RunOwner { since: here.since + seconds, ..here.clone() })
        };
        // A later process has reused the process ID.
        assert!(after(&RunOwner { began: here.began - 1, ..here.clone() }, 0));
        // No process has the largest ID.
        assert!(after(&RunOwner { pid: i32::MAX, ..here.clone() }, 0));
        assert!(!after(&here, 1 << 20));
        let elsewhere = RunOwner { place: "0123456789abcdef".to_owned(), ..here.clone() };
        assert!(!after(&elsewhere, 3600));
        assert!(after(&elsewhere, 3601));
        let ahead = RunOwner { since: here.since + 99, ..elsewhere };
        assert!(!after(&ahead, 0), "its clock is ahead");
    }
}
