//! Reads from the guest what it can boot from: the default kernel with its initramfs, and the names
//! by which the guest finds its disks. No tool's report is trusted.

use std::collections::BTreeSet;

use crate::convert::Error;
use crate::model::{GuestBus, GuestCard, GuestDrivers, SourceVm};

use super::devices::GuestDevices;
use super::fix::kernels::{self, Kernel};
use super::guestfs::Guestfs;
use super::lasting;

/// The modules that each controller needs (Linux, `Kconfig` of each driver); one list of several is
/// enough. With `sd_mod`, the controller's disks are SCSI disks.
const BUSES: [(GuestBus, &[&str]); 8] = [
    (GuestBus::VirtioBlk, &["virtio_pci", "virtio_blk"]),
    (GuestBus::VirtioScsi, &["virtio_pci", "virtio_scsi", "sd_mod"]),
    (GuestBus::Pvscsi, &["vmw_pvscsi", "sd_mod"]),
    (GuestBus::LsiSas, &["mptsas", "sd_mod"]),
    (GuestBus::Sata, &["ahci", "sd_mod"]),
    (GuestBus::Ide, &["ata_piix", "sd_mod"]),
    (GuestBus::Ide, &["piix", "ide_gd_mod"]),
    (GuestBus::Nvme, &["nvme"]),
];
/// Types of file systems that may contain a `/boot`.
const READABLE: [&str; 6] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat"];
/// The module of each card; one of several is enough.
const CARDS: [(GuestCard, &str); 7] = [
    (GuestCard::Virtio, "virtio_net"),
    (GuestCard::Vmxnet3, "vmxnet3"),
    (GuestCard::E1000e, "e1000e"),
    (GuestCard::E1000, "e1000"),
    (GuestCard::Pcnet, "pcnet32"),
    (GuestCard::Rtl8139, "8139cp"),
    (GuestCard::Rtl8139, "8139too"),
];

/// The drivers of a Linux guest with these kernels, the default one first; none when its initramfs
/// cannot be read.
pub(super) async fn of_linux(
    guestfs: &mut Guestfs,
    kernels: &[Kernel],
    devices: &GuestDevices,
) -> Result<Option<GuestDrivers>, Error> {
    let Some(kernel) = kernels.first() else { return Ok(None) };
    let modules = kernel.modules(guestfs).await?;
    let Some(held) = kernel.contents(guestfs).await? else { return Ok(None) };
    let early: BTreeSet<_> = modules.built_in.union(&held.modules).map(String::as_str).collect();
    let late = modules.on_disk.iter().map(String::as_str);
    let late: BTreeSet<_> = early.iter().copied().chain(late).collect();
    let drivers = drivers(&early, &late);
    let lasts = lasting::tables_last(guestfs, devices).await?
        && lasting::start_lasts(guestfs, kernel, &held, devices).await?;
    Ok(Some(if lasts { drivers } else { with_scsi_names(drivers) }))
}

/// Keeps only the drivers with which disks are called `/dev/sda`: a guest that searches for that
/// name does not find `/dev/vda`.
fn with_scsi_names(mut drivers: GuestDrivers) -> GuestDrivers {
    drivers.buses.retain(|bus| !matches!(bus, GuestBus::VirtioBlk | GuestBus::Nvme));
    drivers
}

/// [`of_linux`] for a guest whose root cannot be read: reads the initramfs in an unencrypted
/// `/boot`. Drivers that are built into the kernel are then unknown, and not counted.
pub(super) async fn of_clear_boot(
    guestfs: &mut Guestfs,
    vm: &SourceVm,
) -> Result<Option<GuestDrivers>, Error> {
    let doing = "searching for the guest's /boot";
    let devices = GuestDevices::find(guestfs, vm).await?;
    guestfs.run(doing, &["mkmountpoint", "/boot"]).await?;
    for line in guestfs.run(doing, &["list-filesystems"]).await? {
        let Some((device, kind)) = line.rsplit_once(": ") else { continue };
        if !READABLE.contains(&kind)
            || !guestfs.try_run(doing, &["mount-ro", device, "/boot"]).await?
        {
            continue;
        }
        let kernels = kernels::find(guestfs).await?;
        let found = match kernels.first() {
            Some(kernel) => of_kernel(guestfs, kernel, &devices).await?,
            None => None,
        };
        guestfs.run(doing, &["umount", "/boot"]).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The drivers of a kernel whose root cannot be read.
async fn of_kernel(
    guestfs: &mut Guestfs,
    kernel: &Kernel,
    devices: &GuestDevices,
) -> Result<Option<GuestDrivers>, Error> {
    let Some(held) = kernel.contents(guestfs).await? else { return Ok(None) };
    let early: BTreeSet<_> = held.modules.iter().map(String::as_str).collect();
    let drivers = drivers(&early, &early);
    let lasts = lasting::start_lasts(guestfs, kernel, &held, devices).await?;
    Ok(Some(if lasts { drivers } else { with_scsi_names(drivers) }))
}

fn drivers(early: &BTreeSet<&str>, late: &BTreeSet<&str>) -> GuestDrivers {
    let boots = |(_, needs): &&(GuestBus, &[&str])| needs.iter().all(|name| early.contains(name));
    let mut buses: Vec<_> = BUSES.iter().filter(boots).map(|(bus, _)| *bus).collect();
    buses.dedup();
    let known = CARDS.iter().filter(|(_, name)| late.contains(name)).map(|(card, _)| *card);
    let mut cards: Vec<_> = known.collect();
    cards.dedup();
    GuestDrivers { buses, cards, virtio_1: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_needs_all_of_its_modules() {
        let early = BTreeSet::from(["virtio_pci", "virtio_blk", "vmw_pvscsi", "sd_mod", "ahci"]);
        let late = BTreeSet::from(["virtio_net", "vmxnet3", "8139too", "8139cp"]);
        let found = drivers(&early, &late);
        assert_eq!(found.buses, [GuestBus::VirtioBlk, GuestBus::Pvscsi, GuestBus::Sata]);
        assert_eq!(found.cards, [GuestCard::Virtio, GuestCard::Vmxnet3, GuestCard::Rtl8139]);
        assert_eq!(drivers(&BTreeSet::new(), &BTreeSet::new()), GuestDrivers::default());
    }
}
