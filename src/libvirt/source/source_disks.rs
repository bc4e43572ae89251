//! Disks of a source domain: their volumes and controllers, and the media of its drives.

use virt::connect::Connect;

use super::super::xml::source_domain::{DiskController, DomainDisk};
use super::super::xml::storage::Volume;
use super::super::{Error, xml};
use crate::model::{Bus, ByteSize, Controller, DiskFormat, DiskId, SourceDisk};

/// Maximum number of CD-ROM images that are exported: an AHCI controller has six ports.
const MOST_MEDIA: usize = 4;

/// The volume of a disk.
#[derive(Debug, Clone)]
pub struct FoundVolume {
    /// ID of the disk within the VM, such as `disk-0`.
    pub id: DiskId,
    /// Format of the content.
    pub format: DiskFormat,
    /// Size that the guest sees, as the host reports it.
    pub capacity: ByteSize,
    /// Path on the source host.
    pub(super) path: String,
    /// Bytes that the volume occupies on the source host.
    pub(super) allocation: u64,
    /// Time of the last write, in seconds since 1970, if the pool reports it.
    pub(super) changed: Option<String>,
}

impl FoundVolume {
    /// The volume at `path` of the host, with at most `size` bytes.
    pub(in crate::libvirt) fn at(
        id: DiskId,
        format: DiskFormat,
        path: &str,
        size: ByteSize,
    ) -> Self {
        let (path, allocation) = (path.to_owned(), size.0);
        Self { id, format, capacity: size, path, allocation, changed: None }
    }
}

/// Why a domain cannot be exported.
pub(super) enum Lack {
    /// A disk that is no volume of libvirt, as name and path.
    InNoPool(String),
    /// Any other reason, as a clause.
    Other(String),
}

impl From<String> for Lack {
    fn from(reason: String) -> Self {
        Self::Other(reason)
    }
}

impl Lack {
    pub(super) fn of(self, name: String) -> Error {
        match self {
            Self::InNoPool(disk) => Error::DiskInNoPool { name, disk },
            Self::Other(reason) => Error::NotTaken { name, reason },
        }
    }
}

/// Disks in the boot order, the first to boot first. `<boot dev='hd'/>` of `<os>` names no disk:
/// QEMU then tries the first disk, and the firmware continues with the others.
pub(super) fn boot_disks(disks: &[&DomainDisk]) -> Vec<usize> {
    let placed = disks.iter().enumerate();
    let mut placed: Vec<_> =
        placed.filter_map(|(at, disk)| Some((disk.boot.as_ref()?.order, at))).collect();
    placed.sort_unstable();
    placed.into_iter().map(|(_, at)| at).collect()
}

/// Images in CD-ROM drives that are volumes, with their drives. Other images are skipped, since a
/// domain starts without them.
pub(super) fn media<'a>(
    connect: &Connect,
    disks: &'a [DomainDisk],
) -> (Vec<&'a str>, Vec<FoundVolume>) {
    let (mut drives, mut media): (Vec<&str>, Vec<FoundVolume>) = (Vec::new(), Vec::new());
    for drive in disks.iter().filter(|disk| disk.device == "cdrom") {
        let found = volume(connect, drive, &DiskId::of_medium(media.len()));
        let Ok(found) = found else { continue };
        // If two drives contain the same image, it is exported once.
        let is_known = media.iter().any(|known| known.path == found.path);
        if found.format == DiskFormat::Raw && (is_known || media.len() < MOST_MEDIA) {
            drives.push(drive.target.dev.as_str());
            media.extend((!is_known).then_some(found));
        }
    }
    (drives, media)
}

/// The volume of a disk, or the reason why there is none.
pub(super) fn volume(
    connect: &Connect,
    disk: &DomainDisk,
    id: &DiskId,
) -> Result<FoundVolume, Lack> {
    let dev = &disk.target.dev;
    let source = &disk.source;
    let format = match disk.driver.kind.as_deref().unwrap_or("raw") {
        "raw" => DiskFormat::Raw,
        "qcow2" => DiskFormat::Qcow2,
        "vmdk" => DiskFormat::Vmdk,
        "vdi" => DiskFormat::Vdi,
        "vpc" => DiskFormat::Vhd,
        other => return Err(format!("its disk {dev} has the format {other}").into()),
    };
    let found = match (&source.pool, &source.volume, source.file.as_ref().or(source.dev.as_ref())) {
        (Some(pool), Some(volume), _) => connect
            .lookup_storage_pool_by_name(pool)
            .and_then(|pool| pool.lookup_storage_vol_by_name(volume))
            .map_err(|error| format!("its disk {dev} is not found: {}", error.message()))?,
        (_, _, Some(path)) => connect
            .lookup_storage_vol_by_path(path)
            .map_err(|_| Lack::InNoPool(format!("{dev} ({path})")))?,
        _ => {
            return Err(
                format!("its disk {dev} is neither a file nor a device nor a volume").into()
            );
        }
    };
    let told = |error: virt::error::Error| format!("its disk {dev}: {}", error.message());
    let info = found.info().map_err(told)?;
    let path = found.path().map_err(told)?;
    let text = found.xml_desc(0).map_err(told)?;
    let seen: Volume =
        xml::read("volume", &text).map_err(|error| format!("its disk {dev}: {error}"))?;
    let (id, allocation, changed) = (id.clone(), info.allocation, seen.changed());
    let capacity = ByteSize(info.capacity);
    Ok(FoundVolume { id, format, capacity, path, allocation, changed })
}

/// Model of a disk's controller: libvirt's model name for SCSI, else the bus.
pub(super) fn controller_model(disk: &DomainDisk, controllers: &[DiskController]) -> String {
    let bus = &disk.target.bus;
    let own = |controller: &&DiskController| {
        bus == "scsi" && controller.kind == *bus && controller.index == disk.address.controller
    };
    let model = controllers.iter().find(own).map(|controller| &controller.model);
    model.filter(|model| !model.is_empty()).unwrap_or(bus).clone()
}

pub(super) fn source_disk(
    disk: &DomainDisk,
    id: DiskId,
    model: String,
    index: usize,
    capacity: ByteSize,
) -> SourceDisk {
    let bus = match disk.target.bus.as_str() {
        "ide" => Bus::Ide,
        "scsi" => Bus::Scsi,
        "sata" => Bus::Sata,
        _ => Bus::Other,
    };
    let disk = SourceDisk {
        id,
        key: 0,
        label: disk.target.dev.clone(),
        controller: Controller { bus, model, number: 0, slot: None },
        unit: u32::try_from(index).unwrap_or(u32::MAX),
        capacity,
        boot_order: 0,
        backing: disk.source.file.clone().or_else(|| disk.source.dev.clone()),
        uuid: None,
    };
    disk.at(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::xml::source_domain::SourceDomain;

    #[test]
    fn a_disk_on_scsi_has_the_model_of_its_controller() {
        let model = |disk: &str| {
            let text = format!(
                "<domain><devices><disk>{disk}</disk>\
                 <controller type='usb' index='1' model='qemu-xhci'/>\
                 <controller type='scsi' index='0' model='virtio-scsi'/>\
                 <controller type='scsi' index='1' model='lsilogic'/>\
                 <controller type='scsi' index='2'/></devices></domain>"
            );
            let found: SourceDomain = xml::read("domain", &text).expect("reads");
            controller_model(&found.devices.disk[0], &found.devices.controller)
        };
        let on = |number| {
            model(&format!(
                "<target dev='sda' bus='scsi'/>\
                 <address type='drive' controller='{number}' bus='0' target='0' unit='0'/>"
            ))
        };
        assert_eq!((on(0).as_str(), on(1).as_str()), ("virtio-scsi", "lsilogic"));
        assert_eq!((on(2).as_str(), on(3).as_str()), ("scsi", "scsi"), "no model is known");
        assert_eq!(model("<target dev='sda' bus='scsi'/>"), "virtio-scsi");
        let virtio = "<target dev='vda' bus='virtio'/>\
                      <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>";
        assert_eq!(model(virtio), "virtio");
    }
}
