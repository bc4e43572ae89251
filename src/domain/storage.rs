//! Chooses the buses of disks and CD-ROM drives: a bus that the guest can boot from, never a guess.

use std::collections::HashMap;

use super::Error;
use super::boot_bus::BootBus;
use super::disks::{PlannedDisk, ordered};
use super::family::Family;
use super::hardware::DiskBus;
use super::host::{Chipset, Platform};
use super::spec::{CdromSpec, DiskSpec, ScsiModel};
use crate::model::disk_target;

/// Maximum length of the serial number of a virtio disk, in bytes (`VIRTIO_BLK_ID_BYTES`); SATA has
/// the same limit.
const LONGEST_SERIAL: usize = 20;
/// Maximum number of virtio-blk disks; more disks use virtio-scsi. Each virtio-blk disk is a PCI
/// device.
pub(super) const MOST_VIRTIO: usize = 8;
/// Devices on the one IDE controller of a PC.
pub(super) const IDE_PLACES: usize = 4;
/// Maximum number of CD-ROM drives: one to install from, and one for drivers.
const MOST_CDROMS: u32 = 2;
/// Devices that libvirt assigns to one SCSI controller by their names.
const SCSI_PLACES: usize = 15;

/// Criteria for the bus of the disks.
#[derive(Debug, Clone, Copy)]
pub(super) struct BusCriteria {
    /// Bus that the user requested.
    pub bus: Option<DiskBus>,
    /// Family of the guest.
    pub family: Family,
    /// Whether the converter has prepared the guest for virtio.
    pub fixed: bool,
    /// Controller that the guest has drivers to boot from, if it was inspected and the host offers
    /// the controller.
    pub proven: Option<BootBus>,
    /// Controller of the source, if the guest may keep it.
    pub kept: Option<BootBus>,
    /// Whether the guest has a driver for SATA.
    pub knows_sata: bool,
    pub iothreads: u32,
}

impl BusCriteria {
    /// Model of the disks' SCSI controller; `None` for virtio-scsi, which a requested SCSI bus
    /// means. A proven controller precedes a kept one.
    fn scsi_model(self) -> Option<ScsiModel> {
        match self.bus {
            Some(_) => None,
            None => self.proven.or(self.kept)?.model,
        }
    }
}

/// All disks and drives of a domain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Storage {
    pub disks: Vec<DiskSpec>,
    pub cdroms: Vec<CdromSpec>,
    pub scsi_model: ScsiModel,
    pub scsi_controllers: u32,
}

/// Assigns the disks, boot disk first, and as many drives as the source had. Media come first;
/// there is a drive for each medium.
pub(super) fn arrange(
    disks: &[PlannedDisk],
    mediums: &[PlannedDisk],
    cdroms: u32,
    wanted: BusCriteria,
    platform: &Platform,
) -> Result<Storage, Error> {
    let ordered = ordered(disks)?;
    let drives = cdroms.min(MOST_CDROMS).max(u32::try_from(mediums.len()).unwrap_or(u32::MAX));
    let buses = buses(ordered.len(), drives as usize, wanted, platform)?;
    let mut names = Names::default();
    let specs = (0..).zip(ordered.into_iter().zip(&buses));
    let disks: Vec<_> =
        specs.map(|(index, (disk, bus))| spec(disk, index, *bus, wanted, &mut names)).collect();
    let bus = cdrom_bus(&buses, wanted, platform);
    let mut mediums = mediums.iter();
    let mut boot = u32::try_from(disks.len()).unwrap_or(u32::MAX).saturating_add(1)..;
    let drive = |_| {
        let medium = mediums.next();
        // A guest may still have to be installed: if no disk is bootable, the drives boot.
        let boots = medium.is_some_and(|medium| medium.id.is_of_medium());
        CdromSpec {
            medium: medium.map(|medium| (medium.kind, medium.path.clone())),
            boot: boots.then(|| boot.next()).flatten(),
            bus,
            target: names.next(bus),
        }
    };
    let cdroms = (0..drives).map(drive).collect();
    let on_scsi = buses.iter().chain((0..drives).map(|_| &bus)).filter(|b| **b == DiskBus::Scsi);
    let scsi_controllers = match wanted.scsi_model() {
        Some(_) => 1,
        None => on_scsi.count().div_ceil(SCSI_PLACES).try_into().unwrap_or(1),
    };
    let scsi_model = wanted.scsi_model().unwrap_or(ScsiModel::Virtio);
    Ok(Storage { disks, cdroms, scsi_model, scsi_controllers })
}

fn spec(
    disk: &PlannedDisk,
    index: u32,
    bus: DiskBus,
    wanted: BusCriteria,
    names: &mut Names,
) -> DiskSpec {
    let serial = disk.id.as_str();
    let threaded = bus == DiskBus::Virtio && wanted.iothreads > 0;
    DiskSpec {
        id: disk.id.clone(),
        bus,
        target: names.next(bus),
        kind: disk.kind,
        path: disk.path.clone(),
        format: disk.format,
        // The boot order is derived from the position, so that it is unique whatever the source
        // says: libvirt requires that.
        transient: false,
        boot: index + 1,
        // QEMU would truncate a longer number, and two disks could end up with the same one.
        serial: (serial.len() <= LONGEST_SERIAL).then(|| serial.to_owned()),
        // These controllers support one unit per target. The oldest supports units only.
        scsi_target: wanted
            .scsi_model()
            .filter(|model| *model != ScsiModel::LsiLogic)
            .map(|_| index),
        iothread: threaded.then(|| index % wanted.iothreads + 1),
    }
}

/// Next free device number for each prefix.
#[derive(Default)]
struct Names(HashMap<&'static str, usize>);

impl Names {
    fn next(&mut self, bus: DiskBus) -> String {
        let count = self.0.entry(bus.prefix()).or_default();
        *count += 1;
        disk_target(bus.prefix(), *count - 1)
    }
}

/// The bus of each disk. A prepared Linux boots from virtio-blk and virtio-scsi. A guest that was
/// neither inspected nor converted keeps its controller. Any other guest gets a bus that every PC
/// of its time had.
fn buses(
    disks: usize,
    drives: usize,
    wanted: BusCriteria,
    platform: &Platform,
) -> Result<Vec<DiskBus>, Error> {
    let buses = match wanted.bus {
        Some(bus) => vec![bus; disks],
        None if let Some(proven) = wanted.proven => vec![proven.bus; disks],
        None if wanted.family == Family::Linux && wanted.fixed => {
            let bus = if disks > MOST_VIRTIO { DiskBus::Scsi } else { DiskBus::Virtio };
            vec![bus; disks]
        }
        None if let Some(kept) = wanted.kept => vec![kept.bus; disks],
        None if platform.chipset == Chipset::Pc => {
            let ide = IDE_PLACES - drives;
            (0..disks).map(|i| if i < ide { DiskBus::Ide } else { DiskBus::Sata }).collect()
        }
        None => vec![DiskBus::Sata; disks],
    };
    if wanted.bus.is_none()
        && wanted.proven.is_none()
        && !wanted.knows_sata
        && buses.contains(&DiskBus::Sata)
    {
        return Err(Error::NeedsIde { disks, machine: platform.machine.clone() });
    }
    if let Some(&bus) = buses.iter().find(|bus| !offers(platform, **bus)) {
        return Err(Error::NoBus { bus, machine: platform.machine.clone() });
    }
    let ide = buses.iter().filter(|bus| **bus == DiskBus::Ide).count();
    if ide > 0 && ide + drives > IDE_PLACES {
        return Err(Error::IdeFull { devices: ide + drives });
    }
    let by_virtio = wanted.scsi_model().is_none();
    let threaded = |bus: &DiskBus| *bus == DiskBus::Virtio || *bus == DiskBus::Scsi && by_virtio;
    match buses.iter().find(|bus| !threaded(bus)) {
        Some(&bus) if wanted.iothreads > 0 => Err(Error::NoIothreads { bus }),
        _ => Ok(buses),
    }
}

pub(super) fn offers(platform: &Platform, bus: DiskBus) -> bool {
    let listed = platform.disk_buses.is_empty()
        || platform.disk_buses.iter().any(|known| known == bus.as_str());
    listed && !(bus == DiskBus::Ide && platform.chipset == Chipset::Q35)
}

/// Attaches an empty drive where firmware searches for one. On Q35 device names of SATA and SCSI
/// have the same prefix, and libvirt derives the address from the name. With virtio-scsi disks the
/// drive therefore joins their bus.
fn cdrom_bus(disks: &[DiskBus], wanted: BusCriteria, platform: &Platform) -> DiskBus {
    match platform.chipset {
        Chipset::Pc => DiskBus::Ide,
        Chipset::Q35 if disks.contains(&DiskBus::Scsi) && wanted.scsi_model().is_none() => {
            DiskBus::Scsi
        }
        Chipset::Q35 => DiskBus::Sata,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainType;
    use crate::domain::fixture::{disk, host, platform};
    use crate::model::Hint;

    const LINUX: BusCriteria = BusCriteria {
        bus: None,
        family: Family::Linux,
        fixed: true,
        proven: None,
        kept: None,
        knows_sata: true,
        iothreads: 0,
    };

    fn names(
        count: usize,
        cdroms: u32,
        wanted: BusCriteria,
        chipset: Chipset,
    ) -> Result<String, Error> {
        let host = host();
        let disks: Vec<_> = (0..count).map(disk).collect();
        let at = platform(&host, DomainType::Kvm, chipset);
        let storage = arrange(&disks, &[], cdroms, wanted, at)?;
        let disks = storage.disks.iter().map(|disk| (disk.target.as_str(), disk.bus));
        let cdroms = storage.cdroms.iter().map(|drive| (drive.target.as_str(), drive.bus));
        let all = disks.chain(cdroms).map(|(name, bus)| format!("{name}:{bus}"));
        Ok(all.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn only_a_fixed_linux_boots_from_virtio() {
        let unfixed = BusCriteria { fixed: false, ..LINUX };
        let windows = BusCriteria { family: Family::Windows, ..LINUX };
        let old = BusCriteria { family: Family::LinuxLegacy, ..LINUX };
        for (wanted, chipset, expected) in [
            (LINUX, Chipset::Pc, "vda:virtio vdb:virtio hda:ide"),
            (LINUX, Chipset::Q35, "vda:virtio vdb:virtio sda:sata"),
            (unfixed, Chipset::Pc, "hda:ide hdb:ide hdc:ide"),
            (unfixed, Chipset::Q35, "sda:sata sdb:sata sdc:sata"),
            (windows, Chipset::Q35, "sda:sata sdb:sata sdc:sata"),
            (old, Chipset::Pc, "hda:ide hdb:ide hdc:ide"),
        ] {
            assert_eq!(names(2, 1, wanted, chipset).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn many_disks_go_to_virtio_scsi_or_beyond_ide() {
        let many = names(9, 1, LINUX, Chipset::Q35).expect("arranged");
        assert!(many.starts_with("sda:scsi") && many.ends_with("sdi:scsi sdj:scsi"), "{many}");
        let unknown = BusCriteria { family: Family::Generic, ..LINUX };
        assert_eq!(
            names(5, 1, unknown, Chipset::Pc).as_deref(),
            Ok("hda:ide hdb:ide hdc:ide sda:sata sdb:sata hdd:ide")
        );
        let host = host();
        let disks: Vec<_> = (0..30).map(disk).collect();
        let at = platform(&host, DomainType::Kvm, Chipset::Pc);
        let storage = arrange(&disks, &[], 1, LINUX, at).expect("arranged");
        assert_eq!((storage.scsi_controllers, storage.disks[29].target.as_str()), (2, "sdad"));
    }

    #[test]
    fn a_kept_controller_takes_the_disks_one_a_target_and_no_drive() {
        let host = host();
        let on = |model| Some(BootBus { bus: DiskBus::Scsi, model: Some(model) });
        let kept = BusCriteria { fixed: false, kept: on(ScsiModel::VmPvscsi), ..LINUX };
        let arranged = |wanted, chipset| {
            let at = platform(&host, DomainType::Kvm, chipset);
            arrange(&[disk(0), disk(1)], &[], 1, wanted, at)
        };
        let storage = arranged(kept, Chipset::Q35).expect("arranged");
        let targets: Vec<_> = storage.disks.iter().map(|disk| disk.scsi_target).collect();
        assert_eq!(targets, [Some(0), Some(1)]);
        assert_eq!((storage.scsi_model, storage.scsi_controllers), (ScsiModel::VmPvscsi, 1));
        assert_eq!(
            (storage.cdroms[0].bus, storage.cdroms[0].target.as_str()),
            (DiskBus::Sata, "sdc")
        );
        let wish = BusCriteria { bus: Some(DiskBus::Scsi), ..kept };
        let storage = arranged(wish, Chipset::Pc).expect("arranged");
        assert_eq!((storage.scsi_model, storage.disks[0].scsi_target), (ScsiModel::Virtio, None));
        let threaded = BusCriteria { iothreads: 1, ..kept };
        let error = arranged(threaded, Chipset::Pc).expect_err("of no use");
        assert_eq!(error, Error::NoIothreads { bus: DiskBus::Scsi });
        let old = BusCriteria { kept: on(ScsiModel::LsiLogic), ..kept };
        let storage = arranged(old, Chipset::Pc).expect("arranged");
        let targets: Vec<_> = storage.disks.iter().map(|disk| disk.scsi_target).collect();
        assert_eq!(targets, [None, None], "libvirt refuses any target but 0");
        assert_eq!((storage.scsi_model, storage.scsi_controllers), (ScsiModel::LsiLogic, 1));
    }

    #[test]
    fn a_guest_that_was_not_read_keeps_the_bus_of_its_source() {
        let on = |bus| {
            let kept = Some(BootBus { bus, model: None });
            BusCriteria { family: Family::Generic, fixed: false, kept, ..LINUX }
        };
        for (bus, chipset, expected) in [
            (DiskBus::Virtio, Chipset::Pc, "vda:virtio vdb:virtio hda:ide"),
            (DiskBus::Virtio, Chipset::Q35, "vda:virtio vdb:virtio sda:sata"),
            (DiskBus::Scsi, Chipset::Q35, "sda:scsi sdb:scsi sdc:scsi"),
            (DiskBus::Sata, Chipset::Pc, "sda:sata sdb:sata hda:ide"),
        ] {
            assert_eq!(names(2, 1, on(bus), chipset).as_deref(), Ok(expected));
        }
        let wish = BusCriteria { bus: Some(DiskBus::Ide), ..on(DiskBus::Virtio) };
        assert_eq!(names(1, 0, wish, Chipset::Pc).as_deref(), Ok("hda:ide"));
        let threaded = BusCriteria { iothreads: 1, ..on(DiskBus::Virtio) };
        assert!(names(1, 0, threaded, Chipset::Pc).is_ok());
    }

    #[test]
    fn what_the_source_had_in_a_drive_boots_behind_all_disks() {
        let host = host();
        let disks: Vec<_> = (0..2).map(disk).collect();
        let medium = |id: &str| PlannedDisk {
            id: id.parse().expect("an id"),
            path: format!("/pool/{id}.iso"),
            medium: true,
            ..disk(0)
        };
        let media = [medium("seed"), medium("cdrom-0"), medium("cdrom-1")];
        let at = platform(&host, DomainType::Kvm, Chipset::Q35);
        let storage = arrange(&disks, &media, 1, LINUX, at).expect("arranged");
        let drives: Vec<_> = storage
            .cdroms
            .iter()
            .map(|drive| (drive.medium.as_ref().map(|(_, path)| path.as_str()), drive.boot))
            .collect();
        assert_eq!(
            drives,
            [
                (Some("/pool/seed.iso"), None),
                (Some("/pool/cdrom-0.iso"), Some(3)),
                (Some("/pool/cdrom-1.iso"), Some(4))
            ]
        );
    }

    #[test]
    fn a_guest_that_knows_no_sata_is_refused_where_there_is_no_place_on_ide() {
        let old = BusCriteria { family: Family::WindowsLegacy, knows_sata: false, ..LINUX };
        assert_eq!(names(3, 1, old, Chipset::Pc).as_deref(), Ok("hda:ide hdb:ide hdc:ide hdd:ide"));
        for (disks, chipset) in [(4, Chipset::Pc), (1, Chipset::Q35)] {
            let error = names(disks, 1, old, chipset).expect_err("no place");
            assert!(matches!(error, Error::NeedsIde { .. }), "{error}");
            assert!(error.hint().expect("a hint").contains("--disk-bus"));
        }
        let told = BusCriteria { bus: Some(DiskBus::Sata), ..old };
        assert_eq!(names(1, 0, told, Chipset::Q35).as_deref(), Ok("sda:sata"));
    }

    #[test]
    fn a_wish_is_granted_where_the_machine_has_the_bus() {
        let wish = |bus| BusCriteria { bus: Some(bus), ..LINUX };
        assert_eq!(
            names(1, 1, wish(DiskBus::Scsi), Chipset::Q35).as_deref(),
            Ok("sda:scsi sdb:scsi")
        );
        assert_eq!(names(1, 0, wish(DiskBus::Ide), Chipset::Pc).as_deref(), Ok("hda:ide"));
        let refused = |count, chipset| names(count, 1, wish(DiskBus::Ide), chipset);
        assert!(matches!(refused(1, Chipset::Q35), Err(Error::NoBus { .. })));
        assert_eq!(refused(4, Chipset::Pc), Err(Error::IdeFull { devices: 5 }));
        let error = refused(4, Chipset::Pc).expect_err("full");
        assert!(error.hint().expect("a hint").contains("--disk-bus sata"));
    }

    #[test]
    fn io_threads_take_turns_and_are_refused_where_they_are_of_no_use() {
        let host = host();
        let at = platform(&host, DomainType::Kvm, Chipset::Q35);
        let disks = [disk(0), disk(1), disk(2)];
        let two = BusCriteria { iothreads: 2, ..LINUX };
        let storage = arrange(&disks, &[], 0, two, at).expect("arranged");
        let threads: Vec<_> = storage.disks.iter().map(|disk| disk.iothread).collect();
        assert_eq!(threads, [Some(1), Some(2), Some(1)]);
        let sata = BusCriteria { fixed: false, ..two };
        let error = arrange(&disks, &[], 0, sata, at).expect_err("SATA");
        assert_eq!(error, Error::NoIothreads { bus: DiskBus::Sata });
    }

    #[test]
    fn the_boot_disk_comes_first_and_serials_and_orders_stay_unique() {
        let host = host();
        let at = platform(&host, DomainType::Kvm, Chipset::Pc);
        let mut disks = [disk(0), disk(1), disk(2)];
        disks[0].boot_order = 3;
        disks[1].boot_order = 0;
        disks[2].boot_order = 3;
        disks[2].id = "a-name-of-more-than-twenty-bytes".parse().expect("valid");
        let storage = arrange(&disks, &[], 0, LINUX, at).expect("valid");
        let seen: Vec<_> = storage
            .disks
            .iter()
            .map(|d| (d.target.as_str(), d.boot, d.serial.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [("vda", 1, Some("disk-1")), ("vdb", 2, Some("disk-0")), ("vdc", 3, None)]
        );
    }
}
