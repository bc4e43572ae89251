//! PCI Express root ports: each takes one device, and libvirt would plan just as many as are
//! needed at once, so that nothing could be plugged in while the domain runs.

use super::hardware::DiskBus;
use super::host::{Chipset, Platform};
use super::storage::Storage;

/// Devices that every domain has: USB, serial channels, RNG, balloon, watchdog, video.
const STANDING: usize = 6;
/// Ports left free for what is plugged in later.
const SPARE: usize = 4;

/// Number of root ports for a domain of that storage and so many network interfaces.
pub(super) fn planned(storage: &Storage, nics: usize, platform: &Platform) -> u32 {
    if platform.chipset == Chipset::Pc {
        return 0;
    }
    let virtio = storage.disks.iter().filter(|disk| disk.bus == DiskBus::Virtio).count();
    let controllers = storage.scsi_controllers as usize;
    (virtio + controllers + nics + STANDING + SPARE).try_into().unwrap_or(u32::MAX)
}
