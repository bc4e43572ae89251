//! What a guest can start from, read from the guest itself: the kernel that starts by default with
//! its initramfs, and the names by which the guest looks for its disks. Nobody's report is believed.

use std::collections::BTreeSet;

use crate::convert::Error;
use crate::model::{GuestBus, GuestCard, GuestDrivers};

use super::devices::Devices;
use super::fix::boot::{CONFIGURATIONS, command_lines};
use super::fix::kernels::{self, Kernel};
use super::fix::units;
use super::guestfs::Guestfs;

/// The modules that each controller takes (Linux, `Kconfig` of each driver); one list of several is
/// enough. Where there is `sd_mod` the disks of the controller are SCSI disks.
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
/// File systems that a `/boot` lies on.
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

/// The drivers of a Linux whose kernels are these, the default one first; none when its initramfs
/// cannot be read.
pub(super) async fn of_linux(
    guestfs: &mut Guestfs,
    kernels: &[Kernel],
    devices: &Devices,
) -> Result<Option<GuestDrivers>, Error> {
    let Some(kernel) = kernels.first() else { return Ok(None) };
    let modules = kernel.modules(guestfs).await?;
    let Some(held) = kernel.contents(guestfs).await? else { return Ok(None) };
    let early: BTreeSet<_> = modules.built_in.union(&held.modules).map(String::as_str).collect();
    let late = modules.on_disk.iter().map(String::as_str);
    let late: BTreeSet<_> = early.iter().copied().chain(late).collect();
    let mut drivers = drivers(&early, &late);
    // A disk of virtio-blk is /dev/vda: a guest that looks for /dev/sda does not find it.
    let is_unstable = command_lines(&held.command_line, devices) != held.command_line;
    if is_unstable || !names_last(guestfs, devices).await? {
        drivers.buses.retain(|bus| !matches!(bus, GuestBus::VirtioBlk | GuestBus::Nvme));
    }
    Ok(Some(drivers))
}

/// The same of what can be read where the root itself cannot: the initramfs in a clear `/boot`. What
/// is built into the kernel is not known then, and so not counted.
pub(super) async fn of_clear_boot(guestfs: &mut Guestfs) -> Result<Option<GuestDrivers>, Error> {
    let doing = "look for the guest's /boot";
    guestfs.run(doing, &["mkmountpoint", "/boot"]).await?;
    for line in guestfs.run(doing, &["list-filesystems"]).await? {
        let Some((device, kind)) = line.rsplit_once(": ") else { continue };
        if !READABLE.contains(&kind)
            || !guestfs.try_run(doing, &["mount-ro", device, "/boot"]).await?
        {
            continue;
        }
        let kernels = kernels::find(guestfs).await?;
        let held = match kernels.first() {
            Some(kernel) => kernel.contents(guestfs).await?,
            None => None,
        };
        guestfs.run(doing, &["umount", "/boot"]).await?;
        if let Some(held) = held {
            let early: BTreeSet<_> = held.modules.iter().map(String::as_str).collect();
            return Ok(Some(drivers(&early, &early)));
        }
    }
    Ok(None)
}

fn drivers(early: &BTreeSet<&str>, late: &BTreeSet<&str>) -> GuestDrivers {
    let boots = |(_, needs): &&(GuestBus, &[&str])| needs.iter().all(|name| early.contains(name));
    let mut buses: Vec<_> = BUSES.iter().filter(boots).map(|(bus, _)| *bus).collect();
    buses.dedup();
    let known = CARDS.iter().filter(|(_, name)| late.contains(name)).map(|(card, _)| *card);
    let mut cards: Vec<_> = known.collect();
    cards.dedup();
    GuestDrivers { buses, cards }
}

/// Whether the guest finds its root and what it mounts by names that do not change with the bus.
async fn names_last(guestfs: &mut Guestfs, devices: &Devices) -> Result<bool, Error> {
    let fstab = guestfs.read("/etc/fstab").await?.unwrap_or_default();
    let lines = fstab.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    for line in lines {
        let mut fields = line.split_whitespace();
        let device = fields.next().unwrap_or_default();
        let optional = fields.nth(2).is_some_and(|options| {
            options.split(',').any(|option| ["nofail", "noauto", "_netdev"].contains(&option))
        });
        if devices.lasting(device).is_some() && !optional {
            return Ok(false);
        }
    }
    for path in guestfs.glob(units::MOUNTS).await? {
        let text = guestfs.read(&path).await?.unwrap_or_default();
        if units::named(&text).any(|device| devices.lasting(device).is_some()) {
            return Ok(false);
        }
    }
    for pattern in CONFIGURATIONS {
        for path in guestfs.glob(pattern).await? {
            let text = guestfs.read(&path).await?.unwrap_or_default();
            let mut roots = text.lines().filter_map(root_of);
            if roots.any(|name| devices.lasting(name).is_some()) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The root that a command line names: of several parameters the last one counts (Linux,
/// `init/do_mounts.c`).
fn root_of(line: &str) -> Option<&str> {
    let mut words = line.rsplit(|c: char| c.is_whitespace() || "\"'".contains(c));
    words.find_map(|word| word.strip_prefix("root="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_root_of_a_line_counts() {
        let line = "\tlinux /vmlinuz root=/dev/sda1 ro console=ttyS0 root=UUID=5eed quiet";
        assert_eq!(root_of(line), Some("UUID=5eed"));
        assert_eq!(root_of("options \"root=/dev/sda2 rw\""), Some("/dev/sda2"));
        assert_eq!(root_of("linux /vmlinuz ro"), None);
    }

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
