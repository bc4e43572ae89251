//! Detects disks that were written to after their run: they may contain the newest data of the
//! machine, so an undo must warn.

use std::fmt;
use std::time::SystemTime;

use virt::connect::Connect;

use super::super::{Connection, Error};
use super::owners::{self, Owners};
use super::undo_step::{self, Evidence, Undo};
use super::used::{self, LastWrite};

/// A disk that an undo would remove and that has changed since its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedDisk {
    /// Path of the disk.
    pub disk: String,
    /// Evidence of the change.
    pub used: Use,
}

/// Evidence that a disk has changed since its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Time of the last write to the disk.
    Written(SystemTime),
    /// The run has started the guest permanently.
    Started,
    /// It is unknown whether the disk was written to.
    Unknown,
}

impl UsedDisk {
    /// Whether the use of the disk is certain.
    pub fn is_certain(&self) -> bool {
        self.used != Use::Unknown
    }
}

impl fmt::Display for UsedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = &self.disk;
        match self.used {
            Use::Written(at) => {
                write!(f, "disk {disk} was written to since the run")?;
                jiff::Timestamp::try_from(at).map_or(Ok(()), |at| write!(f, " (last at {at:.0})"))
            }
            Use::Started => write!(f, "disk {disk} is that of a guest which the run has started"),
            Use::Unknown => {
                write!(f, "whether disk {disk} was written to since the run is not known")
            }
        }
    }
}

/// What is known about a run besides its steps.
#[derive(Debug, Clone, Copy, Default)]
pub struct Life {
    /// When a killed run was last alive: earlier writes may be its own.
    pub alive: Option<SystemTime>,
    /// Whether the run has started the guest permanently.
    pub started: bool,
}

impl Connection {
    /// The disks that [`Self::take_back`] would remove and that were used since the run.
    ///
    /// # Errors
    /// As [`Self::take_back`].
    pub async fn used_since(
        &self,
        steps: &[Undo],
        evidence: Evidence,
        life: Life,
    ) -> Result<Vec<UsedDisk>, Error> {
        let (steps, local) = (steps.to_vec(), self.is_local());
        self.call(move |connect| {
            let owners = Owners::look(connect, &steps, evidence, local)?;
            if !steps.iter().any(|step| matches!(step, Undo::Undefine { .. })) {
                return Ok(Vec::new());
            }
            let goes = |step: &&Undo| {
                step.is_of_volume() && matches!(owners.reason(connect, step), Ok(None))
            };
            let removed = steps.iter().filter(goes);
            let disks = removed.filter_map(|step| owners::path(connect, step));
            let used = |disk: String| {
                let used = used(connect, &disk, &steps, local, life)?;
                Some(UsedDisk { disk, used })
            };
            Ok(disks.filter_map(used).collect())
        })
        .await
    }
}

fn used(connect: &Connect, disk: &str, steps: &[Undo], local: bool, life: Life) -> Option<Use> {
    let now = match used::written_at(connect, disk, local) {
        LastWrite::Gone => return None,
        LastWrite::At(now) => Some(now),
        LastWrite::Unknown => None,
    };
    let disks = undo_step::defined(steps).map(|(_, disks)| disks).unwrap_or_default();
    let then = disks.iter().find(|then| then.volume.path == disk);
    judged(then.and_then(|then| then.modified.as_deref()), now.as_deref(), life)
}

/// Evaluates the time of the last write when the run had created the disk, and now.
fn judged(then: Option<&str>, now: Option<&str>, life: Life) -> Option<Use> {
    let until = life.alive.map(|alive| alive + used::GRACE);
    let at = now.and_then(used::time);
    let is_of_run = at.zip(until).is_some_and(|(at, until)| at <= until);
    match (then, at) {
        _ if is_of_run => None,
        (Some(_), Some(at)) if then != now => Some(Use::Written(at)),
        _ if life.started => Some(Use::Started),
        (Some(_), Some(_)) => None,
        _ => Some(Use::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn what_was_written_after_the_run_is_told_and_what_is_not_known_too() {
        let (then, now) = (Some("1764183256.5"), Some("1764183300.000000007"));
        let at = |seconds| UNIX_EPOCH + Duration::new(seconds, 0);
        let written = Use::Written(UNIX_EPOCH + Duration::new(1_764_183_300, 7));
        let over = Life::default();
        let started = Life { started: true, ..over };
        let killed = |seconds| Life { alive: Some(at(seconds)), ..over };
        for (times, life, expected) in [
            ((then, then), over, None),
            ((then, now), over, Some(written)),
            ((then, then), started, Some(Use::Started)),
            ((then, now), started, Some(written)),
            ((None, None), started, Some(Use::Started)),
            ((None, now), over, Some(Use::Unknown)),
            ((then, None), over, Some(Use::Unknown)),
            ((then, now), killed(1_764_183_290), None),
            ((then, now), killed(1_764_183_260), Some(written)),
        ] {
            assert_eq!(judged(times.0, times.1, life), expected, "{times:?} {life:?}");
        }
    }

    #[test]
    fn the_time_of_the_last_write_is_told() {
        let used = Use::Written(UNIX_EPOCH + Duration::new(1_764_183_256, 7));
        let disk = UsedDisk { disk: "/pool/web01.qcow2".to_owned(), used };
        assert_eq!(
            disk.to_string(),
            "disk /pool/web01.qcow2 was written to since the run (last at 2025-11-26T18:54:16Z)"
        );
    }
}
