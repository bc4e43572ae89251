//! Whether somebody has used a domain since the run that defined it was killed: by what libvirt and
//! the volumes tell. Where they do not tell, somebody may have.

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

/// How long after the death of its client libvirt may take to stop a domain that was started for
/// it: ten seconds for QEMU to end by itself, and the rest for a machine that is busy.
pub(in crate::libvirt) const GRACE: Duration = Duration::from_secs(30);
/// How often is looked whether it has stopped.
const PAUSE: Duration = Duration::from_millis(200);

/// The disks of a domain that is about to be defined, each with the time of the last write to it.
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

/// What a killed run noted, to be compared with what is there.
pub(in crate::libvirt) struct Traces<'a> {
    connect: &'a Connect,
    steps: &'a [Undo],
    /// What was written up to then may have been written for the run.
    until: SystemTime,
    /// Whether the clock of the host is that of this machine.
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

    /// What shows that somebody may have used the domain, as a sentence.
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

    /// Whether it runs, once libvirt has had the time to stop what it ran for the dead run.
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

    /// Whether the run was about to start the domain itself.
    fn was_proved(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Undo::Stop { .. }))
    }

    /// Paths of the files of a snapshot of ours.
    fn overlays(&self) -> Vec<String> {
        let is_overlay =
            |step: &&Undo| matches!(step, Undo::DeleteVolume { image: None, begins: None, .. });
        let overlays = self.steps.iter().filter(is_overlay);
        overlays.filter_map(|step| owners::path(self.connect, step)).collect()
    }

    /// The disks just before the definition; none of a run of an earlier version.
    fn disks(&self) -> Option<&'a [DiskThen]> {
        undo_step::defined(self.steps).map(|(_, disks)| disks)
    }

    /// A file that the domain did not have.
    fn foreign(&self, files: &[String], overlays: &[String]) -> Option<String> {
        let disks = self.disks()?;
        let had = |file: &String| {
            overlays.contains(file) || disks.iter().any(|disk| disk.volume.path == *file)
        };
        let file = files.iter().find(|file| !had(file))?;
        Some(format!("it has {file}, which it did not have"))
    }

    /// A file of the domain that others need.
    fn shared(&self, files: &[String]) -> Option<String> {
        files.iter().find_map(|file| match self.owners.user_of(file)? {
            OwningUser::Domain(_) => Some(format!("another domain uses {file}")),
            OwningUser::Overlay(path) => Some(format!("{path} is an overlay of {file}")),
        })
    }

    /// A file that was written to since, or that does not tell.
    fn written(&self, files: &[String], overlays: &[String]) -> Option<String> {
        let of_run = |file: &String| {
            let is_it = |disk: &&DiskThen| disk.volume.path == *file;
            self.disks().unwrap_or_default().iter().find(is_it)
        };
        // Below the overlay of a snapshot the disks do not change, and are no longer named.
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

    /// Whether the run itself may have had something written after the definition.
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

/// When a file was written to last, as libvirt writes it.
pub(in crate::libvirt) enum LastWrite {
    At(String),
    Unknown,
    /// There is no such file of this machine.
    Gone,
}

/// When a file was written to last, by its volume, or where its pool is stopped by the file itself.
pub(in crate::libvirt) fn written_at(connect: &Connect, file: &str, local: bool) -> LastWrite {
    let found = match connect.lookup_storage_vol_by_path(file) {
        Ok(volume) => describe(&volume).and_then(|volume| volume.changed()),
        Err(_) if local && !Path::new(file).exists() => return LastWrite::Gone,
        Err(_) => Some(file).filter(|_| local).and_then(modified),
    };
    found.map_or(LastWrite::Unknown, LastWrite::At)
}

/// Whether a domain that does not run was started since it was defined, or since its daemon was.
pub(in crate::libvirt) fn was_started(domain: &Domain) -> Result<bool, virt::error::Error> {
    let never = DomainStateReason::Shutoff(Enum::Known(DomainShutoffReason::Unknown));
    Ok(domain.state()? != (Enum::Known(DomainState::Shutoff), Enum::Known(never)))
}

/// When a file of this machine was written to last, as libvirt writes it. A device does not tell.
fn modified(file: &str) -> Option<String> {
    let found = Path::new(file).metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some(format!("{}.{:09}", found.mtime(), found.mtime_nsec()))
}

/// A time as libvirt writes it: seconds since 1970, and nine digits of a fraction.
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
