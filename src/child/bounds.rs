//! Limits of a child's address space, processor time and file size. They are a safety net: a
//! genuine image stays far below, and a malicious image crashes only its own reader.

use std::io;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Resource limits of a child; `None` sets no limit. No child writes a core file: the memory of a
/// program that reads a guest's disk contains the guest's secrets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Address space in bytes (`RLIMIT_AS`).
    pub address_space: Option<u64>,
    /// Processor time of each process, all its threads together (`RLIMIT_CPU`).
    pub cpu: Option<Duration>,
    /// Largest file that the child writes, in bytes (`RLIMIT_FSIZE`). Devices and pipes are not
    /// limited.
    pub file_size: Option<u64>,
}

/// Address space and processor time of qemu-img when it reads a header. OpenStack allows 1 GiB and
/// 30 seconds; qemu-img alone maps some 400 MiB.
const LOOK: (u64, Duration) = (1 << 30, Duration::from_secs(60));
/// Address space of qemu-img when it copies or checks a disk. `-m 16` on 64 processors needs some 2
/// GiB for stacks and arenas, and the refcounts of a 64 TiB qcow2 as much.
const WORK: u64 = 8 << 30;
/// Processor time for that: an hour, plus a second per MiB, a hundred times as much as zstd needs.
const WORK_TIME: u64 = 60 * 60;
/// Bytes that an image may have besides the disk's content: qcow2's tables are 1/6000 of it.
const TABLES: u64 = 64 << 20;

impl Bounds {
    /// Limits for a program that reads an image's header.
    pub fn of_a_look() -> Self {
        Self { address_space: Some(LOOK.0), cpu: Some(LOOK.1), file_size: Some(0) }
    }

    /// Limits for a program that reads an image of `bytes` bytes and writes nothing.
    pub fn of_reading(bytes: u64) -> Self {
        let cpu = Duration::from_secs(WORK_TIME + (bytes >> 20));
        Self { address_space: Some(WORK), cpu: Some(cpu), file_size: Some(0) }
    }

    /// Limits for a program that writes a disk of `bytes` bytes as an image.
    pub fn of_writing(bytes: u64) -> Self {
        let file_size = bytes.saturating_add(bytes / 64).saturating_add(TABLES);
        Self { file_size: Some(file_size), ..Self::of_reading(bytes) }
    }

    /// Sets the limits for this process. System calls only.
    pub(super) fn apply(&self) -> io::Result<()> {
        let cpu = self.cpu.map(|time| time.as_secs().max(1));
        for (resource, most) in [
            (Resource::RLIMIT_CORE, Some(0)),
            (Resource::RLIMIT_AS, self.address_space),
            (Resource::RLIMIT_CPU, cpu),
            (Resource::RLIMIT_FSIZE, self.file_size),
        ] {
            if let Some(most) = most {
                // A lower limit of the user's shell stays. The soft limit equals the hard one: PID
                // 1 of a namespace ignores the signal of the soft limit.
                let most = most.min(getrlimit(resource)?.1);
                setrlimit(resource, most, most)?;
            }
        }
        Ok(())
    }
}

/// Disables core files for this process, whose memory contains passwords.
///
/// # Errors
/// If the limit cannot be set.
pub fn write_no_core() -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_of_many_tebibytes_stays_within_its_bounds() {
        let disk = 64 << 40;
        let bounds = Bounds::of_writing(disk);
        // Each cluster of 64 KiB has eight bytes in a table and two in the refcounts.
        let tables = disk / (64 << 10) * 10;
        assert!(bounds.file_size.is_some_and(|most| most > disk + tables));
        // 50 MB a second and processor.
        assert!(bounds.cpu.is_some_and(|most| most.as_secs() > disk / 50_000_000));
        assert!(Bounds::of_writing(u64::MAX).file_size.is_some());
    }
}
