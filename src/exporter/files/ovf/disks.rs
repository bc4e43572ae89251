//! Disks of an OVF, and images of its CD-ROM drives.

use std::collections::HashSet;

use super::cards::slot;
use super::index::Index;
use super::properties::Properties;
use super::schema::{DescribedDisk, FileReference, Item};
use super::units;
use crate::exporter::files::file_names::{format_of, has_extension};
use crate::exporter::files::ovf_package::packaged_vm::{OvfDisk, OvfMedium};
use crate::model::{Bus, ByteSize, Controller, DiskId, SourceDisk};

/// Maximum number of chunks of one file: an archive has no more members.
const MOST_CHUNKS: u64 = 10_000;
/// Longest name of a file, in bytes: the limit of Linux paths.
const LONGEST_HREF: usize = 4096;

/// A disk in the order of the descriptor, before the disks are sorted.
pub(super) struct FoundDisk {
    pub(super) disk: SourceDisk,
    pub(super) file: OvfDisk,
    /// The `InstanceID` of the disk's item.
    pub(super) instance: String,
    /// oVirt: position among all bootable devices.
    pub(super) boot_order: Option<u32>,
    /// oVirt and Citrix: whether the disk is flagged as the boot disk.
    pub(super) boots: bool,
    /// Whether only the hardware section has the disk, which is then created empty.
    pub(super) made: bool,
}

/// The object that an item refers to.
enum Resource<'a> {
    Disk(&'a DescribedDisk),
    File(&'a FileReference),
}

/// Everything that items can refer to.
pub(super) struct Resources<'a> {
    pub(super) items: &'a [Item],
    pub(super) index: &'a Index<'a>,
    pub(super) properties: &'a Properties<'a>,
    /// Ids of the disks that some item refers to.
    referred: HashSet<&'a str>,
}

impl<'a> Resources<'a> {
    pub(super) fn of(
        items: &'a [Item],
        index: &'a Index<'a>,
        properties: &'a Properties<'a>,
    ) -> Self {
        let told = items.iter().map(reference).filter(|told| !told.contains("/file/"));
        let referred = told.map(last_part).collect();
        Self { items, index, properties, referred }
    }

    /// Whether an item is a CD-ROM drive, or a CD-ROM image that is written as a disk.
    pub(super) fn is_medium(&self, item: &Item) -> bool {
        matches!(item.kind.trim(), "15" | "16")
            || self.file(item).is_some_and(|(file, format)| {
                has_extension(&file.href, "iso") && format_of(format, "").is_none()
            })
    }

    /// Whether an item is a disk: by its type, or by its reference. Citrix writes disks as storage
    /// extents (19), others as storage volumes (32).
    pub(super) fn is_disk(&self, item: &Item) -> bool {
        match item.kind.trim() {
            "17" | "31" => true,
            // A floppy drive is not a disk, whatever it refers to.
            "14" => false,
            _ => self.resource(item).is_some(),
        }
    }

    /// The image in a drive, if the package contains it.
    ///
    /// # Errors
    /// When the descriptor names too many files.
    pub(super) fn medium(&self, item: &Item) -> Result<Option<OvfMedium>, String> {
        let Some((file, _)) = self.file(item) else { return Ok(None) };
        // An image with another compression is reported as unused.
        if !matches!(file.compression.as_str(), "" | "identity" | "gzip") {
            return Ok(None);
        }
        self.index.cost.borrow_mut().file(&file.href)?;
        Ok(Some(OvfMedium { href: file.href.clone(), gzip: is_compressed(file) }))
    }

    /// A disk, or the label of a disk that has neither an image nor a size.
    ///
    /// # Errors
    /// What is wrong with the disk, as a clause.
    pub(super) fn disk(&self, item: &Item) -> Result<Result<FoundDisk, String>, String> {
        let label = item.label().to_owned();
        let none = DescribedDisk::default();
        let (described, file) = match self.resource(item) {
            Some(Resource::Disk(disk)) => (disk, self.index.file_of(disk)),
            Some(Resource::File(file)) => (&none, Some(file)),
            None => match reference(item) {
                "" => (&none, None),
                other => return Err(format!("its disk '{label}' is nowhere: '{other}'")),
            },
        };
        if described.parent.is_some() {
            return Err(format!("its disk '{label}' is the difference to another one"));
        }
        if let (Some(id), None) = (&described.file, file) {
            return Err(format!("its disk '{label}' is in the file '{id}' that is not there"));
        }
        let is_known = !described.id.is_empty() || file.is_some();
        let capacity = match is_known {
            true => self.capacity(described, file.is_some(), &label)?,
            false => self.own_capacity(item),
        };
        if file.is_none() && capacity == 0 {
            return match is_known {
                true => Err(format!("its disk '{label}' has neither a file nor a capacity")),
                false => Ok(Err(label)),
            };
        }
        let in_package = of_file(file, described, capacity)?;
        self.index.cost.borrow_mut().disk(&in_package)?;
        let unit = item.address_on_parent.as_deref().and_then(|text| text.trim().parse().ok());
        let disk = SourceDisk {
            id: DiskId::from_index(0),
            key: 0,
            label,
            controller: self.controller(item, described),
            unit: unit.unwrap_or(0),
            capacity: ByteSize(capacity),
            boot_order: 0,
            backing: file.map(|file| file.href.clone()),
            uuid: None,
        };
        Ok(Ok(FoundDisk {
            disk,
            file: in_package,
            instance: item.instance.clone(),
            boot_order: item
                .boot_order
                .as_deref()
                .and_then(|number| number.trim().parse().ok())
                .filter(|number| *number > 0),
            boots: [&described.boot, &described.is_bootable]
                .iter()
                .any(|text| matches!(text.trim().to_ascii_lowercase().as_str(), "true" | "1")),
            made: !is_known,
        }))
    }

    /// The object that an item refers to: `ovf:/disk/ID`, `ovf:/file/ID`, `/disk/ID`, `ID`. For a
    /// disk without a reference, the disk whose id equals the item's. Ids of disks may be numbers,
    /// as all ids of items are.
    fn resource(&self, item: &Item) -> Option<Resource<'a>> {
        let reference = reference(item);
        let id = last_part(reference);
        let disk = |id: &str| self.index.disks.get(id).copied().map(Resource::Disk);
        match reference {
            "" => disk(item.instance.trim()).filter(|_| self.is_called_as_its_disk(item)),
            _ if reference.contains("/file/") => {
                self.index.files.get(id).copied().map(Resource::File)
            }
            _ => disk(id),
        }
    }

    /// Whether an item without a reference may be the disk of its own id: by its type, and if no
    /// other item refers to that disk.
    fn is_called_as_its_disk(&self, item: &Item) -> bool {
        let id = item.instance.trim();
        let is_disk = matches!(item.kind.trim(), "17" | "19" | "31" | "32");
        !id.is_empty() && is_disk && !self.referred.contains(id)
    }

    /// The file that an item refers to, and its format in the descriptor; `None` for an item
    /// without a file.
    fn file(&self, item: &Item) -> Option<(&'a FileReference, &'a str)> {
        match self.resource(item)? {
            Resource::Disk(disk) => Some((self.index.file_of(disk)?, disk.format.as_str())),
            Resource::File(file) => Some((file, "")),
        }
    }

    /// Capacity in bytes. If there is an image, its own capacity replaces a missing or unreadable
    /// one here; a number out of range is always rejected.
    fn capacity(&self, disk: &DescribedDisk, has_image: bool, label: &str) -> Result<u64, String> {
        let text = disk.capacity.trim();
        let value = self.properties.value(text).unwrap_or_default().trim();
        if let Some(bytes) = units::amount(value, &disk.units) {
            return Ok(bytes);
        }
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let is_beyond = is_number && units::bytes(&disk.units).is_some();
        match text.is_empty() || has_image && !is_beyond {
            true => Ok(0),
            false => Err(format!("the capacity of its disk '{label}' makes no sense: '{text}'")),
        }
    }

    /// Capacity in bytes by the hardware section alone; 0 if unknown.
    fn own_capacity(&self, item: &Item) -> u64 {
        let units = item.units.as_deref().or(item.quantity_units.as_deref()).unwrap_or_default();
        let told = [&item.quantity, &item.reservation, &item.limit].into_iter().flatten();
        let told = told.filter_map(|text| units::amount(self.properties.value(text)?, units));
        // A value that counts disks instead of bytes is not a size: no disk is that small.
        told.max().filter(|bytes| *bytes >= 512).unwrap_or(0)
    }

    fn controller(&self, item: &Item, disk: &DescribedDisk) -> Controller {
        let parent = item.parent.as_deref().map(str::trim).filter(|id| !id.is_empty());
        let found = self.items.iter().find(|other| parent == Some(other.instance.trim()));
        found.map_or_else(|| by_interface(&disk.interface), bus)
    }
}

/// The reference of an item; empty if it has none.
fn reference(item: &Item) -> &str {
    let mut named = item.host_resource.iter().map(|resource| resource.trim());
    named.find(|resource| !resource.is_empty()).unwrap_or_default()
}

/// The id in a reference.
fn last_part(reference: &str) -> &str {
    reference.rsplit_once('/').map_or(reference, |(_, id)| id)
}

fn is_compressed(file: &FileReference) -> bool {
    match file.compression.as_str() {
        "" | "identity" => has_extension(&file.href, "gz"),
        _ => true,
    }
}

fn of_file(
    file: Option<&FileReference>,
    disk: &DescribedDisk,
    capacity: u64,
) -> Result<OvfDisk, String> {
    let Some(file) = file else { return Ok(OvfDisk { capacity, ..OvfDisk::default() }) };
    let href = &file.href;
    if href.is_empty() {
        return Err(format!("its file '{}' has no href", file.id));
    }
    if href.len() > LONGEST_HREF {
        return Err(format!("the name of its file '{}' is too long", file.id));
    }
    if !matches!(file.compression.as_str(), "" | "identity" | "gzip") {
        return Err(format!("'{href}' is compressed as '{}'", file.compression));
    }
    let number = |text: &Option<String>| {
        text.as_deref().and_then(|text| text.trim().parse::<u64>().ok()).filter(|n| *n > 0)
    };
    let size = number(&file.size);
    // Section 7.1: all chunks but the last have the same size.
    let chunks = match (number(&file.chunk_size), size) {
        (None, _) => None,
        (Some(chunk), Some(size)) if size.div_ceil(chunk) <= MOST_CHUNKS => {
            Some(size.div_ceil(chunk))
        }
        (Some(_), _) => return Err(format!("the chunks of '{href}' cannot be counted")),
    };
    Ok(OvfDisk {
        href: Some(href.clone()),
        chunks,
        // oVirt states the size of the volume in its storage instead.
        size: size.filter(|_| disk.volume.is_none()),
        gzip: is_compressed(file),
        format: format_of(&disk.format, href),
        of_ovirt: disk.volume.is_some(),
        capacity,
    })
}

/// The controller by oVirt's name of the disk interface.
fn by_interface(interface: &str) -> Controller {
    let (bus, model) = match interface.trim().to_ascii_lowercase().as_str() {
        "virtio_scsi" => (Bus::Scsi, "virtio-scsi"),
        "virtio" => (Bus::Other, "virtio"),
        "sata" => (Bus::Sata, "VirtualAHCIController"),
        "ide" => (Bus::Ide, "VirtualIDEController"),
        _ => (Bus::Other, ""),
    };
    Controller { bus, model: model.to_owned(), number: 0, slot: None }
}

/// The controller by vSphere's name, from which the domain is planned.
fn bus(item: &Item) -> Controller {
    let subtype = item.subtype.join(" ").to_ascii_lowercase();
    let (bus, model) = match (item.kind.trim(), subtype.as_str()) {
        ("5", _) => (Bus::Ide, "VirtualIDEController"),
        ("6" | "20", kind) if kind.contains("virtio") => (Bus::Scsi, "virtio-scsi"),
        ("6", kind) if kind.contains("virtualscsi") => (Bus::Scsi, "ParaVirtualSCSIController"),
        ("6", kind) if kind.contains("lsilogicsas") => (Bus::Scsi, "VirtualLsiLogicSASController"),
        ("6", kind) if kind.contains("buslogic") => (Bus::Scsi, "VirtualBusLogicController"),
        ("6", _) => (Bus::Scsi, "VirtualLsiLogicController"),
        (_, kind) if kind.contains("nvme") => (Bus::Nvme, "VirtualNVMEController"),
        ("20", kind) if kind.contains("ahci") || kind.contains("sata") => {
            (Bus::Sata, "VirtualAHCIController")
        }
        _ => (Bus::Other, ""),
    };
    let number = item.address.as_deref().and_then(|text| text.trim().parse().ok());
    Controller { bus, model: model.to_owned(), number: number.unwrap_or(0), slot: slot(item) }
}
