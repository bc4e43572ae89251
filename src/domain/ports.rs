//! PCI Express root ports: each connects one device. libvirt would add only as many as are needed
//! at the start, so that no device could be hot-plugged.

use super::hardware::DiskBus;
use super::host::{Chipset, Platform};
use super::storage::Storage;

/// Devices of every domain: USB, serial channels, RNG, balloon, watchdog, video.
const STANDING: usize = 6;
/// Ports reserved for hot-plugging.
const SPARE: usize = 4;

/// Number of root ports for a domain with that storage and that many network interfaces.
pub(super) fn planned(storage: &Storage, nics: usize, platform: &Platform) -> u32 {
    if platform.chipset == Chipset::Pc {
        return 0;
    }
    let virtio = storage.disks.iter().filter(|disk| disk.bus == DiskBus::Virtio).count();
    let controllers = storage.scsi_controllers as usize;
    (virtio + controllers + nics + STANDING + SPARE).try_into().unwrap_or(u32::MAX)
}
