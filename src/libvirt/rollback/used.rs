//! Detects whether a domain was used since the run that defined it was killed, from libvirt's and
//! the volumes' state. In doubt the domain counts as used.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use virt::connect::Connect;
use virt::domain::{Domain, DomainShutoffReason, DomainState, DomainStateReason};
use virt::enumutil::Enum;
use virt::storage_vol::StorageVol;
use virt::sys;

use super::super::results::RegisteredVolume;
use super::super::xml::sources;
use super::super::xml::storage::Volume;
use super::super::{Error, xml};
use super::owners::{Owners, OwningUser};
use super::undo_step::{self, DiskThen, Undo};
use super::{owners, undo_way};

/// Time that libvirt may take to stop a domain after its client has died. QEMU gets ten seconds to
/// exit; the rest is for a busy machine.
pub(in crate::libvirt) const GRACE: Duration = Duration::from_secs(30);
/// Time between two checks whether the domain has stopped.
const PAUSE: Duration = Duration::from_millis(200);

/// Disks of a domain that is about to be defined, each with the time of its last write.
pub(in crate::libvirt) fn disks_now(
    connect: &Connect,
    volumes: Vec<RegisteredVolume>,
) -> Vec<DiskThen> {
    let then = |volume: RegisteredVolume| {
        let found = connect.lookup_storage_vol_by_path(&volume.path).ok();
        let modified = found.and_then(|found| describe(&found)).and_then(|found| found.changed());
        DiskThen { volume, modified }
    };
    volumes.into_iter().map(then).collect()
}

pub(in crate::libvirt) fn describe(volume: &StorageVol) -> Option<Volume> {
    xml::read("volume", &volume.xml_desc(0).ok()?).ok()
}

/// Records of a killed run, for comparison with the present state.
pub(in crate::libvirt) struct Traces<'a> {
    connect: &'a Connect,
    steps: &'a [Undo],
    /// Writes up to this time may belong to the run.
    until: SystemTime,
    /// Whether the daemon runs on this machine, so that both have the same clock.
    local: bool,
    owners: Owners,
}

impl<'a> Traces<'a> {
    pub fn new(
        connect: &'a Connect,
        steps: &'a [Undo],
        alive: SystemTime,
        local: bool,
    ) -> Result<Self, Error> {
        let owners = Owners::of(connect, steps, local)?;
        Ok(Self { connect, steps, until: alive + GRACE, local, owners })
    }

    /// Evidence that the domain may have been used, as a sentence.
    pub fn of(&self, domain: &Domain) -> Result<Option<String>, Error> {
        let call = || Error::call("checking whether a domain is used");
        if self.runs(domain)? {
            return Ok(Some("it runs".to_owned()));
        }
        if !self.was_proved() && was_started(domain).map_err(call())? {
            return Ok(Some("it was started since".to_owned()));
        }
        if let Some(found) = undo_way::found(domain, self.steps).map_err(call())?.first() {
            return Ok(Some(found.to_string()));
        }
        let xml = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE).map_err(call())?;
        let files = sources::files(&xml);
        let overlays = self.overlays();
        Ok(self
            .foreign(&files, &overlays)
            .or_else(|| self.shared(&files))
            .or_else(|| self.written(&files, &overlays)))
    }

    /// Whether the domain is running after libvirt has had time to stop it for the dead run.
    fn runs(&self, domain: &Domain) -> Result<bool, Error> {
        let call = || Error::call("checking whether a domain runs");
        while domain.is_active().map_err(call())? {
            if !self.was_proved() || SystemTime::now() > self.until {
                return Ok(true);
            }
            sleep(PAUSE);
        }
        Ok(false)
    }

    /// Whether the run was about to start the domain for the boot proof.
    fn was_proved(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Undo::Stop { .. }))
    }

    /// Paths of the overlay files of our snapshot.
    fn overlays(&self) -> Vec<String> {
        let is_overlay =
            |step: &&Undo| matches!(step, Undo::DeleteVolume { image: None, begins: None, .. });
        let overlays = self.steps.iter().filter(is_overlay);
        overlays.filter_map(|step| owners::path(self.connect, step)).collect()
    }

    /// The disks just before the definition; `None` for a run of an earlier version.
    fn disks(&self) -> Option<&'a [DiskThen]> {
        undo_step::defined(self.steps).map(|(_, disks)| disks)
    }

    /// A file of the domain that is not recorded.
    fn foreign(&self, files: &[String], overlays: &[String]) -> Option<String> {
        let disks = self.disks()?;
        let had = |file: &String| {
            overlays.contains(file) || disks.iter().any(|disk| disk.volume.path == *file)
        };
        let file = files.iter().find(|file| !had(file))?;
        Some(format!("it has {file}, which it did not have"))
    }

    /// A file of the domain that others use.
    fn shared(&self, files: &[String]) -> Option<String> {
        files.iter().find_map(|file| match self.owners.user_of(file)? {
            OwningUser::Domain(_) => Some(format!("another domain uses {file}")),
            OwningUser::Overlay(path) => Some(format!("{path} is an overlay of {file}")),
        })
    }

    /// A file that was written to since, or whose last write is unknown.
    fn written(&self, files: &[String], overlays: &[String]) -> Option<String> {
        let of_run = |file: &String| {
            let is_it = |disk: &&DiskThen| disk.volume.path == *file;
            self.disks().unwrap_or_default().iter().find(is_it)
        };
        // Disks below the overlay of a snapshot do not change, and the XML no longer names them.
        let all = files.iter().chain(overlays.iter().filter(|file| !files.contains(file)));
        all.filter_map(|file| {
            let then = of_run(file).and_then(|disk| disk.modified.as_deref());
            let may_be_ours = self.may_have_written() || overlays.contains(file);
            let found = match written_at(self.connect, file, self.local) {
                LastWrite::At(time) => Some(time),
                LastWrite::Unknown => None,
                LastWrite::Gone => return None,
            };
            self.judged(then, found.as_deref(), may_be_ours).map(|what| format!("{file} {what}"))
        })
        .next()
    }

    /// Whether the run itself may have written to the disks after the definition.
    fn may_have_written(&self) -> bool {
        let writes = |step: &Undo| matches!(step, Undo::Stop { .. } | Undo::DropSnapshot { .. });
        self.disks().is_none() || self.steps.iter().any(writes)
    }

    fn judged(
        &self,
        then: Option<&str>,
        now: Option<&str>,
        may_be_ours: bool,
    ) -> Option<&'static str> {
        let Some(now) = now else { return Some("does not show whether it was written to since") };
        if then == Some(now) {
            return None;
        }
        let is_old = time(now).is_some_and(|time| time <= self.until);
        match may_be_ours {
            true if self.local && is_old => None,
            true if !self.local => Some("was written to, by the run or since"),
            _ => Some("was written to since"),
        }
    }
}

/// Time of the last write to a file, in libvirt's format.
pub(in crate::libvirt) enum LastWrite {
    At(String),
    Unknown,
    /// The file does not exist on this machine.
    Gone,
}

/// Time of the last write to a file, from its volume, or, if its pool is inactive, from the file
/// itself.
pub(in crate::libvirt) fn written_at(connect: &Connect, file: &str, local: bool) -> LastWrite {
    let found = match connect.lookup_storage_vol_by_path(file) {
        Ok(volume) => describe(&volume).and_then(|volume| volume.changed()),
        Err(_) if local && !Path::new(file).exists() => return LastWrite::Gone,
        Err(_) => Some(file).filter(|_| local).and_then(modified),
    };
    found.map_or(LastWrite::Unknown, LastWrite::At)
}

/// Whether an inactive domain was started since its definition or since the start of its daemon.
pub(in crate::libvirt) fn was_started(domain: &Domain) -> Result<bool, virt::error::Error> {
    let never = DomainStateReason::Shutoff(Enum::Known(DomainShutoffReason::Unknown));
    Ok(domain.state()? != (Enum::Known(DomainState::Shutoff), Enum::Known(never)))
}

/// Time of the last write to a local file, in libvirt's format; `None` for a device.
fn modified(file: &str) -> Option<String> {
    let found = Path::new(file).metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some(format!("{}.{:09}", found.mtime(), found.mtime_nsec()))
}

/// Parses libvirt's time format: seconds since 1970, with a fraction of nine digits.
pub(in crate::libvirt) fn time(text: &str) -> Option<SystemTime> {
    let (seconds, nanos) = text.split_once('.').unwrap_or((text, "0"));
    Some(UNIX_EPOCH + Duration::new(seconds.parse().ok()?, nanos.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_volumes_are_read() {
        let at = |seconds, nanos| UNIX_EPOCH + Duration::new(seconds, nanos);
        assert_eq!(time("1764183256.000000007"), Some(at(1_764_183_256, 7)));
        assert_eq!(time("1764183256"), Some(at(1_764_183_256, 0)));
        assert_eq!(time("yesterday"), None);
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_modified(at(1_764_183_256, 7)).expect("set");
        let path = file.path().to_str().expect("UTF-8");
        assert_eq!(modified(path).as_deref(), Some("1764183256.000000007"));
        assert_eq!(modified("/dev/null"), None);
    }
}
