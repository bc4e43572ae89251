//! The disk and the partition of a name that depends on the order of the disks, on their place on a
//! bus, or on their serial numbers.

use crate::model::{Bus, PciAddress, SourceDisk};

use super::order::{KernelOrder, ordered};

/// Where udev links devices by their place on a bus.
pub(super) const BY_PATH: &str = "/dev/disk/by-path/";
/// Where udev links devices by serial numbers.
pub(super) const BY_ID: &str = "/dev/disk/by-id/";
/// Parts of the names of CD-ROM drives; none is a hexadecimal number.
const CDROM: [&str; 3] = ["cdrom", "_cd", "dvd"];
/// Parts of by-path links that no hypervisor creates: USB and Fibre Channel (systemd,
/// `udev-builtin-path_id.c`).
const FOREIGN_PATHS: [&str; 4] = ["-usb-", "-usbv2-", "-usbv3-", "-fc-"];
/// Prefix of by-path links to iSCSI disks, which are the same wherever the guest runs.
const ISCSI_PATH: &str = "ip-";
/// Prefixes of serial numbers that no hypervisor assigns: USB, and targets of Linux' own iSCSI
/// (`target_core_spc.c`: NAA with the OUI 00:14:05).
const FOREIGN_IDS: [&str; 5] =
    ["usb-", "scsi-36001405", "wwn-0x6001405", "scsi-slio-org", "scsi-1lio"];
/// Parts of virtual disks' names whose number the hypervisor did not derive from the disk's UUID.
const VIRTUAL_IDS: [&str; 6] = ["vmware", "qemu", "vbox", "virtio-", "virtual", "xen"];

/// The disks of a VM, in libguestfs' order.
#[derive(Debug, Default)]
pub(super) struct DisksByPlace {
    pub(super) disks: Vec<SourceDisk>,
    /// Whether the guest's kernel calls disks of parallel ATA `hda`, and so does not count them as
    /// `sda`.
    pub(super) has_hd: bool,
}

/// Whether KVM may give the name to another device, or to none.
pub(in crate::convert::native) fn is_unstable(name: &str) -> bool {
    let name = name.trim_matches(['"', '\'']);
    let by_id = name.strip_prefix(BY_ID).is_some_and(|id| !is_volume_id(id));
    let by_path = name.strip_prefix(BY_PATH).is_some_and(|path| !path.starts_with(ISCSI_PATH));
    by_path || by_id || ordered(name).is_some()
}

/// Whether a link is of LVM or RAID, whose identity does not depend on the place of its disks.
fn is_volume_id(id: &str) -> bool {
    ["dm-", "lvm-", "md-"].iter().any(|kind| id.starts_with(kind))
}

impl DisksByPlace {
    /// The disk that a name means, and the number of the partition.
    pub(super) fn find(&self, name: &str) -> Option<(usize, String)> {
        match (name.strip_prefix(BY_PATH), name.strip_prefix(BY_ID)) {
            (Some(path), _) => self.by_path(path),
            (_, Some(id)) => self.by_id(id),
            _ => {
                let (order, partition) = ordered(name)?;
                Some((self.by_order(order)?, partition.to_owned()))
            }
        }
    }

    /// Whether enough is known of the disks to rule out that the name means one of them.
    pub(super) fn can_tell(&self, name: &str) -> bool {
        let is_known = |disk: &SourceDisk| match name.starts_with(BY_ID) {
            true => disk.uuid.is_some(),
            false => !name.starts_with(BY_PATH) || !has_no_known_bus(disk),
        };
        self.disks.iter().all(is_known)
    }

    fn by_order(&self, order: KernelOrder) -> Option<usize> {
        match order {
            KernelOrder::Nvme { controller, unit } => self
                .at(Bus::Nvme, controller, unit)
                .or_else(|| self.nth(controller.checked_add(unit)?, has_no_known_bus)),
            KernelOrder::Numbered(number) => self.nth(number, has_no_known_bus),
            // `hda` is the first channel's master, whatever other disks exist.
            KernelOrder::Hd(number) => {
                self.on_ide(number).or_else(|| self.nth(number, |disk| !is_nvme(disk)))
            }
            KernelOrder::Sd(number) => {
                let is_hd = |disk: &SourceDisk| self.has_hd && disk.controller.bus == Bus::Ide;
                self.nth(number, |disk| !is_nvme(disk) && !is_virtio(disk) && !is_hd(disk))
            }
            KernelOrder::Vd(number) if self.disks.iter().any(is_virtio) => {
                self.nth(number, is_virtio)
            }
            KernelOrder::Vd(number) | KernelOrder::Xvd(number) => {
                self.nth(number, |disk| !is_nvme(disk))
            }
        }
    }

    /// Whether a name is of a disk that the old driver of parallel ATA serves.
    pub(super) fn is_hd(&self, order: KernelOrder) -> bool {
        matches!(order, KernelOrder::Hd(number) if self.on_ide(number).is_some())
    }

    /// The disk of that number on the channels of parallel ATA.
    fn on_ide(&self, number: u32) -> Option<usize> {
        self.labelled("hd", number).or_else(|| self.at(Bus::Ide, number / 2, number % 2))
    }

    /// The disk of that number among those that satisfy `is`.
    fn nth(&self, number: u32, is: impl Fn(&SourceDisk) -> bool) -> Option<usize> {
        let mut found = self.disks.iter().enumerate().filter(|(_, disk)| is(disk));
        found.nth(usize::try_from(number).ok()?).map(|(index, _)| index)
    }

    /// The disk of parallel ATA with that name at a libvirt source.
    fn labelled(&self, prefix: &str, number: u32) -> Option<usize> {
        let letter = char::from_digit(number.checked_add(10)?, 36)?;
        let label = format!("{prefix}{letter}");
        self.only_at(Bus::Ide, |disk| disk.label == label)
    }

    /// By the place on the bus (systemd, `udev-builtin-path_id.c`):
    /// `pci-0000:03:00.0-scsi-0:0:1:0`.
    fn by_path(&self, path: &str) -> Option<(usize, String)> {
        let (place, partition) = without_partition(path);
        if place.starts_with(ISCSI_PATH) || FOREIGN_PATHS.iter().any(|bus| place.contains(bus)) {
            return None;
        }
        let there = self.on_controller(place);
        let number = |text: &str| text.parse::<u32>().ok();
        let after = |word: &str| place.rsplit_once(word).map(|(_, rest)| rest);
        let (bus, unit) = if let Some(rest) = after("-scsi-") {
            (Bus::Scsi, rest.split(':').nth(2).and_then(number)?)
        } else if let Some(rest) = after("-sas-phy") {
            (Bus::Scsi, rest.split('-').next().and_then(number)?)
        } else if let Some(rest) = after("-nvme-") {
            (Bus::Nvme, rest.parse::<u32>().ok()?.checked_sub(1)?)
        } else if let Some(rest) = after("-ata-") {
            let (port, device) = rest.split_once('.').unwrap_or((rest, "0"));
            let port = number(port)?.checked_sub(1)?;
            let disk = self.by_ata(port, number(device)?, &there);
            return disk.map(|disk| (disk, partition));
        } else {
            return self.only_of(&there).map(|disk| (disk, partition));
        };
        let disk = self.only_at(bus, |disk| disk.unit == unit && there(disk));
        // Old kernels write `scsi` for ATA, and the bus of an image is not known.
        let other = || self.only_of(&|disk: &SourceDisk| disk.controller.bus != bus && there(disk));
        disk.or_else(other).map(|disk| (disk, partition))
    }

    /// Whether a disk may be on the controller that a path begins with. The controller's slot
    /// decides, where it is known.
    fn on_controller<'a>(&self, path: &'a str) -> impl Fn(&SourceDisk) -> bool + use<'a> {
        let address = path.strip_prefix("pci-").and_then(|rest| rest.get(..12));
        let is_told = self.disks.iter().any(|disk| address_of(disk).as_deref() == address);
        move |disk| match (address, address_of(disk)) {
            (Some(address), Some(own)) => own == address,
            (Some(_), None) => !is_told,
            (None, _) => true,
        }
    }

    /// A port of SATA, or a channel and a place of parallel ATA.
    fn by_ata(
        &self,
        port: u32,
        device: u32,
        there: &impl Fn(&SourceDisk) -> bool,
    ) -> Option<usize> {
        let ide = |disk: &SourceDisk| disk.controller.number == port && disk.unit == device;
        self.only_at(Bus::Sata, |disk| disk.unit == port && there(disk))
            .or_else(|| self.only_at(Bus::Ide, ide))
            .or_else(|| self.only_of(there))
    }

    /// By VMware's serial numbers: `scsi-3<uuid>`, `wwn-0x<uuid>`,
    /// `nvme-VMware_Virtual_NVMe_Disk_VMware_NVME_0000_1`,
    /// `ata-VMware_Virtual_SATA_Hard_Drive_01…`.
    fn by_id(&self, id: &str) -> Option<(usize, String)> {
        let (id, partition) = without_partition(id);
        let id = id.to_ascii_lowercase();
        let has = |disk: &SourceDisk| {
            disk.uuid.as_ref().is_some_and(|uuid| id.contains(&uuid.to_ascii_lowercase()))
        };
        if let Some(disk) = self.disks.iter().position(has) {
            return Some((disk, partition));
        }
        if is_volume_id(&id) || self.is_foreign(&id) {
            return None;
        }
        let by_serial = if let Some((_, serial)) = id.split_once("vmware_nvme_") {
            let (controller, namespace) = serial.split_once('_').unwrap_or((serial, "1"));
            let (controller, namespace) = (controller.parse().ok(), namespace.parse::<u32>().ok());
            self.only_at(Bus::Nvme, |disk| {
                Some(disk.controller.number) == controller && Some(disk.unit + 1) == namespace
            })
        } else if let Some((_, serial)) = id.split_once("hard_drive_") {
            let unit = serial.get(..2).and_then(|digits| digits.parse::<u32>().ok());
            let bus = if id.contains("sata") { Bus::Sata } else { Bus::Ide };
            self.only_at(bus, |disk| Some(disk.unit) == unit)
        } else {
            None
        };
        by_serial.or_else(|| self.only_of(&|_| true)).map(|disk| (disk, partition))
    }

    /// Whether a serial number, which matches no disk's UUID, belongs to a device that is none of
    /// the VM's disks. Where UUIDs are known, another vendor's number is a LUN of the network or a
    /// disk that was passed through.
    fn is_foreign(&self, id: &str) -> bool {
        let has = |words: &[&str]| words.iter().any(|word| id.contains(word));
        let is_known = self.disks.iter().all(|disk| disk.uuid.is_some());
        let begins = FOREIGN_IDS.iter().any(|start| id.starts_with(start));
        begins || has(&CDROM) || is_known && !has(&VIRTUAL_IDS)
    }

    /// The only disk of the VM that satisfies `is`.
    fn only_of(&self, is: &impl Fn(&SourceDisk) -> bool) -> Option<usize> {
        let mut found = self.disks.iter().enumerate().filter(|(_, disk)| is(disk));
        let (index, _) = found.next()?;
        found.next().is_none().then_some(index)
    }

    /// The disk at that place.
    fn at(&self, bus: Bus, number: u32, unit: u32) -> Option<usize> {
        self.only_at(bus, |disk| disk.controller.number == number && disk.unit == unit)
    }

    /// The only disk on that bus that satisfies `is`.
    fn only_at(&self, bus: Bus, is: impl Fn(&SourceDisk) -> bool) -> Option<usize> {
        self.only_of(&|disk: &SourceDisk| disk.controller.bus == bus && is(disk))
    }
}

fn is_nvme(disk: &SourceDisk) -> bool {
    disk.controller.bus == Bus::Nvme
}

/// A disk of virtio at a libvirt source.
fn is_virtio(disk: &SourceDisk) -> bool {
    disk.controller.bus == Bus::Other && disk.controller.model == "virtio"
}

/// A disk of which only the image is known.
fn has_no_known_bus(disk: &SourceDisk) -> bool {
    disk.controller.bus == Bus::Other && disk.controller.model.is_empty()
}

/// The address on the PCI bus of a disk's controller, as the kernel writes it.
fn address_of(disk: &SourceDisk) -> Option<String> {
    disk.controller.slot.and_then(PciAddress::of_slot).map(PciAddress::address)
}

fn without_partition(name: &str) -> (&str, String) {
    match name.rsplit_once("-part") {
        Some((disk, number)) if number.chars().all(|c| c.is_ascii_digit()) => {
            (disk, number.to_owned())
        }
        _ => (name, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::disk;
    use super::*;

    /// Disks of these buses with the source's name of each.
    fn disks(kinds: &[(Bus, &str, &str)]) -> DisksByPlace {
        let one = |(index, (bus, model, label)): (usize, &(Bus, &str, &str))| {
            let mut disk = disk(index);
            disk.controller.bus = *bus;
            disk.controller.model = (*model).to_owned();
            disk.label = (*label).to_owned();
            disk.unit = 0;
            disk.uuid = None;
            disk
        };
        DisksByPlace { disks: kinds.iter().enumerate().map(one).collect(), has_hd: false }
    }

    fn found(disks: &DisksByPlace, name: &str) -> Option<usize> {
        disks.find(name).map(|(disk, _)| disk)
    }

    #[test]
    fn disks_of_virtio_and_of_other_buses_are_counted_apart() {
        let disks = disks(&[
            (Bus::Other, "virtio", "vda"),
            (Bus::Sata, "sata", "sda"),
            (Bus::Other, "virtio", "vdb"),
        ]);
        assert_eq!(found(&disks, "/dev/vda1"), Some(0));
        assert_eq!(found(&disks, "/dev/vdb1"), Some(2));
        assert_eq!(found(&disks, "/dev/sda1"), Some(1));
        assert_eq!(found(&disks, "/dev/sdb1"), None);
    }

    #[test]
    fn disks_of_the_old_ide_driver_are_counted_apart() {
        let mut disks = disks(&[(Bus::Ide, "ide", "hdc"), (Bus::Scsi, "scsi", "sda")]);
        assert_eq!(found(&disks, "/dev/sda1"), Some(0), "libata calls all of them sd");
        disks.has_hd = true;
        assert_eq!(found(&disks, "/dev/sda1"), Some(1));
        assert_eq!(found(&disks, "/dev/hdc2"), Some(0));
    }

    #[test]
    fn a_cdrom_drive_called_hdc_is_no_disk() {
        let mut disks = disks(&[(Bus::Ide, "ide", ""), (Bus::Scsi, "scsi", "")]);
        for (number, is_disk) in [(0, true), (2, false)] {
            assert_eq!(disks.is_hd(KernelOrder::Hd(number)), is_disk, "{number}");
        }
        assert!(!disks.is_hd(KernelOrder::Sd(0)));
        disks.disks[0].label = "hdc".to_owned();
        assert!(disks.is_hd(KernelOrder::Hd(2)));
    }

    #[test]
    fn an_image_without_a_bus_may_be_of_any() {
        let disks = disks(&[(Bus::Other, "", ""), (Bus::Other, "", "")]);
        for name in ["/dev/nvme1n1p2", "/dev/mmcblk1p2", "/dev/cciss/c0d1p2", "/dev/sdb2"] {
            assert_eq!(disks.find(name), Some((1, "2".to_owned())), "{name}");
        }
        assert_eq!(found(&disks, "/dev/nvme2n1p2"), None);
    }

    #[test]
    fn volume_groups_may_be_called_as_disks_are() {
        for name in ["/dev/vdata/home", "/dev/sdvg/x", "/dev/hdd_vg/y", "/dev/nvme-vg/root"] {
            assert!(!is_unstable(name), "{name}");
        }
        for name in ["/dev/sda1", "/dev/hdb", "/dev/xvda2", "/dev/nvme0n1p2", "/dev/cciss/c0d0p1"] {
            assert!(is_unstable(name), "{name}");
        }
    }

    #[test]
    fn a_disk_of_the_network_or_of_usb_is_none_of_the_vms() {
        let image = disks(&[(Bus::Other, "", "")]);
        let vmware = DisksByPlace { disks: vec![disk(0)], has_hd: false };
        for name in [
            "/dev/disk/by-path/ip-10.0.0.5:3260-iscsi-iqn.2003-01.org.x:sn.1-lun-0-part1",
            "/dev/disk/by-path/pci-0000:02:01.0-usb-0:1:1.0-scsi-0:0:0:0-part1",
            "/dev/disk/by-path/pci-0000:13:00.0-fc-0x500a098187f92d27-lun-0-part1",
            "/dev/disk/by-id/usb-WD_Elements_1021_5758-0:0-part1",
            "/dev/disk/by-id/scsi-36001405aa11bb22cc33dd44ee55ff66a-part1",
            "/dev/disk/by-id/wwn-0x6001405aa11bb22cc33dd44ee55ff66a",
        ] {
            assert_eq!(found(&image, name), None, "{name}");
            assert_eq!(found(&vmware, name), None, "{name}");
        }
        // A LUN of any vendor is not the disk whose UUID is known; the image of a machine's disk
        // may be.
        let lun = "/dev/disk/by-id/scsi-360a98000375331796f3f4a2f6b4c7a31-part1";
        assert_eq!((found(&vmware, lun), found(&image, lun)), (None, Some(0)));
        let iscsi = "/dev/disk/by-path/ip-10.0.0.5:3260-iscsi-iqn.x-lun-0-part1";
        assert!(!is_unstable(iscsi), "the same on KVM");
    }

    #[test]
    fn a_controller_that_is_gone_has_no_disk() {
        let mut disks = disks(&[(Bus::Scsi, "pvscsi", ""), (Bus::Scsi, "pvscsi", "")]);
        disks.disks[1].unit = 1;
        disks.disks.iter_mut().for_each(|disk| disk.controller.slot = Some(160));
        let path =
            |address: &str, unit: u32| format!("{BY_PATH}pci-{address}-scsi-0:0:{unit}:0-part1");
        assert_eq!(found(&disks, &path("0000:03:00.0", 1)), Some(1));
        assert_eq!(found(&disks, &path("0000:0b:00.0", 0)), None, "of another controller");
        // A disk whose slot is not known may be there.
        disks.disks[0].controller.slot = None;
        assert_eq!(found(&disks, &path("0000:0b:00.0", 0)), Some(0));
        assert_eq!(found(&disks, &path("0000:03:00.0", 0)), None, "unit 0 hangs elsewhere");
    }

    #[test]
    fn serial_numbers_with_cd_in_them_are_of_no_cdrom() {
        let disks = disks(&[(Bus::Other, "", "")]);
        let id = "/dev/disk/by-id/scsi-36000c29acd0123456789012345678901-part1";
        assert_eq!(disks.find(id), Some((0, "1".to_owned())));
        for id in ["ata-VMware_Virtual_SATA_CDRW_Drive_01", "ata-QEMU_DVD-ROM_QM3"] {
            assert_eq!(disks.find(&format!("{BY_ID}{id}")), None, "{id}");
        }
    }
}
