//! Disks of a domain that has not run since its definition, for comparison with the export.

use std::path::PathBuf;

use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::sys;

use super::super::results::RegisteredVolume;
use super::super::rollback::undo_step;
use super::super::rollback::used::{self, LastWrite};
use super::super::source::FoundVolume;
use super::super::xml::source_domain::SourceDomain;
use super::super::{Connection, DefinedDomain, Error, xml};
use crate::model::{ByteSize, DiskFormat};

/// A disk that is unchanged since the run, as far as libvirt and the storage pool report.
#[derive(Debug, Clone)]
pub struct UnusedDisk {
    /// Volume of the disk.
    pub volume: FoundVolume,
    /// Path on the daemon's host.
    pub path: PathBuf,
    /// Size that the guest sees, in bytes.
    pub capacity: ByteSize,
    /// Whether `path` is a file of this machine.
    pub is_here: bool,
}

impl Connection {
    /// The disks of a domain that a run has defined. The inner error is the reason why they are no
    /// longer as the run left them.
    ///
    /// # Errors
    /// [`Error::Call`], [`Error::Xml`].
    pub async fn unused_disks(
        &self,
        domain: &DefinedDomain,
    ) -> Result<Result<Vec<UnusedDisk>, String>, Error> {
        let (domain, local) = (domain.clone(), self.is_local());
        self.call(move |connect| unused(connect, &domain, local)).await
    }
}

fn unused(
    connect: &Connect,
    domain: &DefinedDomain,
    local: bool,
) -> Result<Result<Vec<UnusedDisk>, String>, Error> {
    let name = &domain.name;
    if domain.started.is_some() || domain.boot_proof.is_some() {
        return Ok(Err(format!("the run itself has started domain '{name}'")));
    }
    let call = || Error::call(format!("looking up domain '{name}'"));
    let found = match connect.lookup_domain_by_uuid_string(&domain.uuid) {
        Err(error) if error.code().is(ErrorNumber::NoDomain) => {
            return Ok(Err(format!("domain '{name}' is gone")));
        }
        found => found.map_err(call())?,
    };
    if found.is_active().map_err(call())? {
        return Ok(Err(format!("domain '{name}' runs")));
    }
    if used::was_started(&found).map_err(call())? {
        return Ok(Err(format!("domain '{name}' was started since its definition")));
    }
    let text = found.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE).map_err(call())?;
    let read = xml::read("domain", &text);
    let now: SourceDomain =
        read.map_err(|source| Error::Xml { what: format!("domain '{name}'"), source })?;
    let disks =
        domain.volumes.iter().map(|volume| unused_disk(connect, domain, volume, &now, local));
    Ok(disks.collect())
}

fn unused_disk(
    connect: &Connect,
    domain: &DefinedDomain,
    volume: &RegisteredVolume,
    now: &SourceDomain,
    local: bool,
) -> Result<UnusedDisk, String> {
    let path = &volume.path;
    let is_it = |disk: &&xml::source_domain::DomainDisk| {
        let source = &disk.source;
        let named = source.file.as_ref().or(source.dev.as_ref());
        named == Some(path) || source.volume.as_ref() == Some(&volume.name)
    };
    let disk = now.devices.disk.iter().find(is_it);
    let disk = disk.ok_or_else(|| format!("domain '{}' no longer has {path}", domain.name))?;
    let format = match disk.driver.kind.as_deref() {
        Some("qcow2") => DiskFormat::Qcow2,
        _ => DiskFormat::Raw,
    };
    let then = undo_step::defined(&domain.undo).map(|(_, disks)| disks).unwrap_or_default();
    let then = then.iter().find(|then| then.volume.path == *path);
    let then = then.and_then(|then| then.modified.as_deref());
    match used::written_at(connect, path, local) {
        LastWrite::Gone => return Err(format!("{path} is gone")),
        LastWrite::At(at) if then.is_some_and(|then| then != at) => {
            return Err(format!("{path} was written to since the run"));
        }
        // A block device has no time of its last write; its content is compared later.
        LastWrite::At(_) | LastWrite::Unknown => {}
    }
    let here = PathBuf::from(path);
    Ok(UnusedDisk {
        volume: FoundVolume::at(volume.disk.clone(), format, path, volume.capacity),
        is_here: local && here.is_file(),
        path: here,
        capacity: volume.capacity,
    })
}
