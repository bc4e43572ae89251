//! Block devices of a guest by names that last: on KVM `/dev/sda1` becomes `/dev/vda1`, and paths by
//! place on the bus or by VMware's serial numbers are gone; UUIDs stay.

use std::collections::BTreeMap;

use crate::convert::Error;
use crate::model::{Bus, Place, SourceDisk, SourceVm};

use super::guestfs::Guestfs;
use super::systems;

/// Where udev links devices by their place on a bus.
const BY_PATH: &str = "/dev/disk/by-path/";
/// Where udev links devices by serial numbers.
const BY_ID: &str = "/dev/disk/by-id/";
/// Links by tags that last, and the tags of fstab(5) for the same.
const TAGS: [(&str, &str, &str); 4] = [
    ("UUID=", "/dev/disk/by-uuid/", "UUID"),
    ("LABEL=", "/dev/disk/by-label/", "LABEL"),
    ("PARTUUID=", "/dev/disk/by-partuuid/", "PART_ENTRY_UUID"),
    ("PARTLABEL=", "/dev/disk/by-partlabel/", "PART_ENTRY_NAME"),
];
/// The disks that a kernel names by the order in which it finds them (Linux, devices.txt).
const UNSTABLE: [&str; 5] = ["/dev/sd", "/dev/hd", "/dev/xvd", "/dev/vd", "/dev/nvme"];

/// The file systems of a guest with their tags (blkid(8)).
#[derive(Debug, Default)]
pub(super) struct Devices {
    /// The tags of each device, by libguestfs' name of it.
    tags: BTreeMap<String, BTreeMap<String, String>>,
    /// Names below `/dev/mapper` and of logical volumes.
    volumes: Vec<String>,
    /// The disks, in the order in which libguestfs has them.
    disks: Vec<SourceDisk>,
    /// The device of the root file system.
    root: String,
    /// Whether a device is encrypted and nobody opened it: what is inside is not known.
    locked: bool,
}

/// The number of a disk and what follows its letters: `sdb12` is 1 and `12`.
pub(super) fn disk_letter(name: &str) -> Option<(usize, &str)> {
    let rest = name.strip_prefix("sd")?;
    let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
    let number = rest[..letters].bytes().try_fold(0_usize, |number, letter| {
        number.checked_mul(26)?.checked_add(usize::from(letter - b'a') + 1)
    })?;
    let partition = &rest[letters..];
    let is_number = partition.chars().all(|c| c.is_ascii_digit());
    (letters > 0 && is_number).then(|| (number - 1, partition))
}

/// The name of a disk in libguestfs' appliance.
fn disk_name(mut index: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + (index % 26) as u8));
        if index < 26 {
            break;
        }
        index = index / 26 - 1;
    }
    "/dev/sd".chars().chain(letters.into_iter().rev()).collect()
}

impl Devices {
    /// Asks libguestfs, which has the disks in the order of the VM's; `root` is the device of the
    /// system's root.
    pub(super) async fn find(
        guestfs: &mut Guestfs,
        root: &str,
        vm: &SourceVm,
    ) -> Result<Self, Error> {
        let mut devices = Self { disks: vm.disks.clone(), ..Self::default() };
        devices.root = systems::device_of(guestfs, root).await?;
        let mut names = guestfs.run("list the guest's partitions", &["list-partitions"]).await?;
        for line in guestfs.run("list the guest's file systems", &["list-filesystems"]).await? {
            let Some((device, _)) = line.rsplit_once(": ") else { continue };
            let (device, subvolume) = systems::split(device);
            // That of a partition is in the list already, by the name that libguestfs gives it.
            let disk = device.strip_prefix("/dev/").and_then(disk_letter);
            if !subvolume.is_empty() && disk.is_some_and(|(_, partition)| !partition.is_empty()) {
                continue;
            }
            if !names.iter().any(|name| name == device) {
                names.push(device.to_owned());
            }
        }
        for name in names {
            let tags = guestfs.tags(&name).await?;
            if name.strip_prefix("/dev/").is_none_or(|name| disk_letter(name).is_none()) {
                devices.volumes.extend(volume_names(&name));
            }
            devices.tags.insert(name, tags);
        }
        devices.locked = !systems::encrypted(guestfs).await?.is_empty();
        Ok(devices)
    }

    /// libguestfs' name of the device that the guest calls so.
    pub(super) fn resolve(&self, name: &str) -> Option<String> {
        let name = name.trim_matches(['"', '\'']);
        for (tag, link, key) in TAGS {
            if let Some(value) = name.strip_prefix(tag).or_else(|| name.strip_prefix(link)) {
                let value = value.trim_matches(['"', '\'']);
                // FAT's serial numbers are written in either case.
                let has = |tags: &BTreeMap<String, String>| {
                    tags.get(key).is_some_and(|own| own.eq_ignore_ascii_case(value))
                };
                let found = self.tags.iter().find(|(_, tags)| has(tags));
                return found.map(|(device, _)| device.clone());
            }
        }
        let place = match (name.strip_prefix(BY_PATH), name.strip_prefix(BY_ID)) {
            (Some(path), _) => self.by_path(path),
            (_, Some(id)) => self.by_id(id),
            _ => self.by_order(name),
        };
        let device = place.map(|(disk, partition)| format!("{}{partition}", disk_name(disk)));
        device.filter(|device| self.tags.contains_key(device))
    }

    /// `UUID=…` (`PARTUUID=…` of what holds no file system) for a name that will not last; nothing
    /// for any other.
    pub(super) fn lasting(&self, name: &str) -> Option<String> {
        if !is_unstable(name) {
            return None;
        }
        let tags = self.tags.get(&self.resolve(name)?)?;
        tag(tags, true)
    }

    /// The same of what is to be mounted as root. A name that is no partition of the guest's means
    /// the root that was found: it was written by somebody who saw the disks in another order.
    /// Without an initramfs the kernel itself looks for the root, and knows `PARTUUID=` only.
    pub(super) fn lasting_root(&self, name: &str, initramfs: bool) -> Option<String> {
        if !is_unstable(name) {
            return None;
        }
        let root = || self.tags.get(&self.root).map(|_| self.root.clone());
        let device = self.resolve(name).or_else(root)?;
        tag(self.tags.get(&device)?, initramfs)
    }

    /// The name that lasts of the root that was found.
    pub(super) fn root(&self) -> Option<String> {
        tag(self.tags.get(&self.root)?, true)
    }

    /// Whether a name will mean something else on KVM, or nothing, and nothing better is known for
    /// it.
    pub(super) fn is_lost(&self, name: &str) -> bool {
        let bare = name.trim_matches(['"', '\'']);
        let tagged =
            TAGS.iter().any(|(tag, link, _)| bare.starts_with(tag) || bare.starts_with(link));
        if tagged {
            return !self.locked && self.resolve(name).is_none();
        }
        if is_unstable(bare) {
            return self.lasting(bare).is_none();
        }
        let is_volume = bare.starts_with("/dev/mapper/");
        is_volume && !self.locked && !self.volumes.iter().any(|known| known == bare)
    }

    /// Notes the names that crypttab(5) maps devices to: what they hold is not looked into.
    pub(super) fn know_mapped(&mut self, crypttab: &str) {
        let lines = crypttab.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let names = lines.filter_map(|line| line.split_whitespace().next());
        self.volumes.extend(names.map(|name| format!("/dev/mapper/{name}")));
    }

    fn by_order(&self, name: &str) -> Option<(usize, String)> {
        let of = |bus: Bus, number: u32, unit: u32| {
            self.disks.iter().position(|disk| {
                disk.controller.bus == bus && disk.controller.number == number && disk.unit == unit
            })
        };
        if let Some(rest) = name.strip_prefix("/dev/nvme") {
            let (controller, rest) = rest.split_once('n')?;
            let (namespace, partition) = rest.split_once('p').unwrap_or((rest, ""));
            let unit = namespace.parse::<u32>().ok()?.checked_sub(1)?;
            return Some((of(Bus::Nvme, controller.parse().ok()?, unit)?, partition.to_owned()));
        }
        let prefix = UNSTABLE.iter().find(|prefix| name.starts_with(*prefix))?;
        let (letter, partition) = disk_letter(&format!("sd{}", &name[prefix.len()..]))
            .map(|(index, partition)| (index, partition.to_owned()))?;
        // `hda` is the first channel's master, whatever else there is.
        let ide = u32::try_from(letter).ok().and_then(|n| of(Bus::Ide, n / 2, n % 2));
        if let Some(index) = ide.filter(|_| *prefix == "/dev/hd") {
            return Some((index, partition));
        }
        let scsi =
            self.disks.iter().enumerate().filter(|(_, disk)| disk.controller.bus != Bus::Nvme);
        let (index, _) = scsi.clone().nth(letter)?;
        Some((index, partition))
    }

    /// By the place on the bus (systemd, `udev-builtin-path_id.c`): `pci-0000:03:00.0-scsi-0:0:1:0`.
    fn by_path(&self, path: &str) -> Option<(usize, String)> {
        let (place, partition) = without_partition(path);
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
        disk.or_else(|| self.only_of(&there)).map(|disk| (disk, partition))
    }

    /// Whether a disk may hang on the controller that a path begins with: the slot of its controller
    /// tells, where that is known.
    fn on_controller<'a>(&self, path: &'a str) -> impl Fn(&SourceDisk) -> bool + use<'a> {
        let address = path.strip_prefix("pci-").and_then(|rest| rest.get(..12)).unwrap_or_default();
        let is_told = self.disks.iter().any(|disk| address_of(disk).as_deref() == Some(address));
        move |disk| !is_told || address_of(disk).as_deref() == Some(address)
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
    /// `nvme-VMware_Virtual_NVMe_Disk_VMware_NVME_0000_1`, `ata-VMware_Virtual_SATA_Hard_Drive_01…`.
    fn by_id(&self, id: &str) -> Option<(usize, String)> {
        let (id, partition) = without_partition(id);
        let id = id.to_ascii_lowercase();
        let has = |disk: &SourceDisk| {
            disk.uuid.as_ref().is_some_and(|uuid| id.contains(&uuid.to_ascii_lowercase()))
        };
        if let Some(disk) = self.disks.iter().position(has) {
            return Some((disk, partition));
        }
        if is_volume_id(&id) || id.contains("cd") {
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

    /// The only disk of the VM for which `is` holds.
    fn only_of(&self, is: &impl Fn(&SourceDisk) -> bool) -> Option<usize> {
        let mut found = self.disks.iter().enumerate().filter(|(_, disk)| is(disk));
        let (index, _) = found.next()?;
        found.next().is_none().then_some(index)
    }

    /// The only disk on that bus for which `is` holds.
    fn only_at(&self, bus: Bus, is: impl Fn(&SourceDisk) -> bool) -> Option<usize> {
        self.only_of(&|disk: &SourceDisk| disk.controller.bus == bus && is(disk))
    }
}

/// The address on the PCI bus of a disk's controller, as the kernel writes it.
fn address_of(disk: &SourceDisk) -> Option<String> {
    disk.controller.slot.and_then(Place::of_slot).map(Place::address)
}

/// A name that lasts, of a device with these tags; `initramfs` says whether file systems are looked
/// for by somebody who knows them.
fn tag(tags: &BTreeMap<String, String>, initramfs: bool) -> Option<String> {
    let uuid = tags.get("UUID").filter(|_| initramfs).map(|uuid| format!("UUID={uuid}"));
    uuid.or_else(|| tags.get("PART_ENTRY_UUID").map(|uuid| format!("PARTUUID={uuid}")))
}

/// Whether KVM may give the name to another device, or to none.
fn is_unstable(name: &str) -> bool {
    let name = name.trim_matches(['"', '\'']);
    let by_id = name.strip_prefix(BY_ID).is_some_and(|id| !is_volume_id(id));
    name.starts_with(BY_PATH) || by_id || UNSTABLE.iter().any(|prefix| name.starts_with(prefix))
}

/// An LVM or RAID keeps its identity, wherever its disks hang.
fn is_volume_id(id: &str) -> bool {
    ["dm-", "lvm-", "md-"].iter().any(|kind| id.starts_with(kind))
}

fn without_partition(name: &str) -> (&str, String) {
    match name.rsplit_once("-part") {
        Some((disk, number)) if number.chars().all(|c| c.is_ascii_digit()) => {
            (disk, number.to_owned())
        }
        _ => (name, String::new()),
    }
}

/// The names that a logical volume goes by: `/dev/vg/lv` and, its dashes doubled, `/dev/mapper/vg-lv`.
fn volume_names(device: &str) -> Vec<String> {
    let mut names = vec![device.to_owned()];
    if let Some((group, volume)) =
        device.strip_prefix("/dev/").and_then(|name| name.split_once('/'))
        && group != "mapper"
    {
        let [group, volume] = [group, volume].map(|name| name.replace('-', "--"));
        names.push(format!("/dev/mapper/{group}-{volume}"));
    }
    names
}

#[cfg(test)]
pub(super) fn devices(known: &[(&str, &str)]) -> Devices {
    let tags = |(device, uuid): &(&str, &str)| {
        let tags = [
            ("UUID".to_owned(), (*uuid).to_owned()),
            ("PART_ENTRY_UUID".to_owned(), format!("part-{uuid}")),
        ];
        ((*device).to_owned(), tags.into_iter().collect())
    };
    let disk = |index: usize| SourceDisk {
        id: crate::model::DiskId::from_index(index),
        key: 0,
        label: String::new(),
        controller: crate::model::Controller {
            bus: Bus::Scsi,
            model: "ParaVirtualSCSIController".to_owned(),
            number: 0,
            slot: None,
        },
        unit: u32::try_from(index).expect("small"),
        capacity: crate::model::ByteSize(0),
        boot_order: 0,
        backing: None,
        uuid: Some(format!("6000c29000000000000000000000000{index}")),
    };
    let letters = known.iter().filter_map(|(name, _)| disk_letter(name.strip_prefix("/dev/")?));
    let count = letters.map(|(index, _)| index + 1).max().unwrap_or(1);
    Devices {
        tags: known.iter().map(tags).collect(),
        volumes: vec!["/dev/mapper/vg-root".to_owned()],
        disks: (0..count).map(disk).collect(),
        root: known.first().map(|(device, _)| (*device).to_owned()).unwrap_or_default(),
        locked: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_get_the_names_that_last() {
        let devices = devices(&[("/dev/sda1", "5eed")]);
        assert_eq!(devices.lasting("/dev/sda1").as_deref(), Some("UUID=5eed"));
        assert_eq!(devices.lasting("/dev/hda1").as_deref(), Some("UUID=5eed"), "an old IDE disk");
        assert_eq!(devices.lasting("/dev/sda2"), None);
        assert_eq!(devices.lasting("/dev/mapper/vg-root"), None);
        assert!(devices.is_lost("/dev/sda2") && !devices.is_lost("/dev/sda1"));
        assert!(!devices.is_lost("/dev/disk/by-id/dm-uuid-LVM-x"));
        assert!(!devices.is_lost("UUID=5eed") && !devices.is_lost("/dev/mapper/vg-root"));
        assert!(devices.is_lost("UUID=gone") && devices.is_lost("/dev/mapper/data-x"));
        assert!(!devices.is_lost("nfs.example.com:/x") && !devices.is_lost("tmpfs"));
    }

    #[test]
    fn names_by_place_and_by_serial_number_are_those_of_disks() {
        let devices =
            devices(&[("/dev/sda1", "root"), ("/dev/sdb1", "data"), ("/dev/sdb", "none")]);
        for (name, uuid) in [
            ("/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part1", "root"),
            ("/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:1:0-part1", "data"),
            ("/dev/disk/by-path/pci-0000:03:00.0-sas-phy1-lun-0-part1", "data"),
            ("/dev/disk/by-id/scsi-36000c290000000000000000000000001-part1", "data"),
            ("/dev/disk/by-id/wwn-0x6000c290000000000000000000000001-part1", "data"),
            (
                "/dev/disk/by-id/scsi-SVMware_Virtual_disk_6000C290000000000000000000000000-part1",
                "root",
            ),
        ] {
            assert_eq!(devices.lasting(name), Some(format!("UUID={uuid}")), "{name}");
        }
        let lost = "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:5:0-part1";
        assert_eq!(devices.lasting(lost), None);
        assert!(devices.is_lost(lost));
    }

    #[test]
    fn disks_of_one_unit_are_told_apart_by_the_slots_of_their_controllers() {
        let path = |address: &str, unit: u32| {
            format!("/dev/disk/by-path/pci-0000:{address}-scsi-0:0:{unit}:0-part1")
        };
        let mut devices = devices(&[("/dev/sda1", "root"), ("/dev/sdb1", "data")]);
        devices.disks[1].unit = 0;
        assert_eq!(devices.lasting(&path("03:00.0", 0)), None, "nobody can say");
        for (disk, (number, slot)) in devices.disks.iter_mut().zip([(0, 160), (1, 256)]) {
            disk.controller.number = number;
            disk.controller.slot = Some(slot);
        }
        let lasting = |name: &str| devices.lasting(name);
        assert_eq!(lasting(&path("03:00.0", 0)).as_deref(), Some("UUID=root"));
        assert_eq!(lasting(&path("1b:00.0", 0)).as_deref(), Some("UUID=data"));
        assert_eq!(lasting(&path("02:05.0", 0)), None, "a controller that is gone");
        let sas = "/dev/disk/by-path/pci-0000:1b:00.0-sas-0x5000c2946-lun-0-part1";
        assert_eq!(lasting(sas).as_deref(), Some("UUID=data"));
    }

    #[test]
    fn the_only_disk_is_meant_by_any_name() {
        let devices = devices(&[("/dev/sda2", "5eed")]);
        for name in
            ["by-path/pci-0000:13:00.0-sas-0x5000c29d-lun-0-part2", "by-id/scsi-3600508-part2"]
        {
            let name = format!("/dev/disk/{name}");
            assert_eq!(devices.lasting(&name).as_deref(), Some("UUID=5eed"), "{name}");
        }
        assert_eq!(devices.resolve("/dev/disk/by-id/ata-VMware_CDROM_1"), None);
    }

    #[test]
    fn a_kernel_without_an_initramfs_knows_partitions_only() {
        let devices = devices(&[("/dev/sda1", "5eed")]);
        let root = devices.lasting_root("/dev/sda1", false);
        assert_eq!(root.as_deref(), Some("PARTUUID=part-5eed"));
        assert_eq!(devices.lasting_root("/dev/sdz9", true).as_deref(), Some("UUID=5eed"));
    }

    #[test]
    fn letters_count_on_after_z() {
        assert_eq!(disk_letter("sda1"), Some((0, "1")));
        assert_eq!(disk_letter("sdaa12"), Some((26, "12")));
        assert_eq!(disk_name(26), "/dev/sdaa");
        assert_eq!(disk_letter("sr0"), None);
        assert_eq!(disk_letter("sda1p2"), None);
    }

    #[test]
    fn dashes_of_logical_volumes_are_doubled() {
        assert_eq!(volume_names("/dev/my-vg/root"), ["/dev/my-vg/root", "/dev/mapper/my--vg-root"]);
    }
}
