//! PCI addresses of devices in VMware VMs.
//!
//! `pciSlotNumber` packs three numbers: bits 0 to 4 are the device, bits 5 to 9 the number of the
//! bridge plus one (0 is the root bus), bits 10 to 12 the function of the bridge. VMware's boards
//! have one PCI bridge at 00:11.0 (bus 02) and four PCI Express bridges at 00:15 to 00:18 with
//! eight functions each (buses 03 to 22). So slot 33 is 02:01.0, slot 160 is 03:00.0, slot 192 is
//! 0b:00.0, slot 1184 is 04:00.0.

use super::SourceNic;

/// An address on the PCI bus, domain 0000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PciAddress {
    pub(crate) bus: u32,
    pub(crate) device: u32,
    pub(crate) function: u32,
}

impl PciAddress {
    pub(crate) const fn new(bus: u32, device: u32, function: u32) -> Self {
        Self { bus, device, function }
    }

    /// Address of the device with VMware's slot number, if its bridge is one of the usual board.
    pub(crate) fn of_slot(slot: u32) -> Option<Self> {
        let (device, bridge, function) = unpack(slot);
        match bridge {
            0 => Some(Self::new(0, device, 0)),
            1 => Some(Self::new(2, device, 0)),
            5..=8 => Some(Self::new(3 + 8 * (bridge - 5) + function, device, 0)),
            _ => None,
        }
    }

    /// Address of the bridge of that slot.
    pub(crate) fn of_bridge(slot: u32) -> Option<Self> {
        match unpack(slot) {
            (_, 1, _) => Some(Self::new(0, 0x11, 0)),
            (_, bridge @ 5..=8, function) => Some(Self::new(0, 0x15 + bridge - 5, function)),
            _ => None,
        }
    }

    /// The address in the kernel's notation: `0000:0b:00.0`.
    pub(crate) fn address(self) -> String {
        format!("0000:{:02x}:{:02x}.{:x}", self.bus, self.device, self.function)
    }
}

fn unpack(slot: u32) -> (u32, u32, u32) {
    (slot & 0x1f, slot >> 5 & 0x1f, slot >> 10 & 0x7)
}

/// Order of a domain's network cards, as indexes into `nics`. It is the order in which the kernel
/// of the source found them, which is the order of their PCI addresses. `eth0`, FreeBSD's `vmx0`
/// and similar names then stay with their cards. If the address of any card is not known, the
/// source's order is used.
pub(crate) fn plug_order(nics: &[SourceNic]) -> Vec<usize> {
    let mut order: Vec<_> = (0..nics.len()).collect();
    let places: Option<Vec<_>> =
        nics.iter().map(|nic| nic.slot.and_then(PciAddress::of_slot)).collect();
    if let Some(places) = places {
        order.sort_by_key(|index| places[*index]);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nics(slots: &[Option<u32>]) -> Vec<SourceNic> {
        let numbered = slots.iter().enumerate();
        numbered.map(|(index, slot)| SourceNic { slot: *slot, ..SourceNic::at(index) }).collect()
    }

    #[test]
    fn cards_are_plugged_as_the_kernel_found_them() {
        let order = |slots: &[Option<u32>]| plug_order(&nics(slots));
        assert_eq!(order(&[Some(224), Some(192)]), [1, 0]);
        // Slot 1184 is on bus 4, slot 192 on bus 11.
        assert_eq!(order(&[Some(192), Some(224), Some(256), Some(1184)]), [3, 0, 1, 2]);
        assert_eq!(order(&[Some(224), None]), [0, 1], "one place is not known");
        assert_eq!(order(&[Some(224), Some(64)]), [0, 1], "nor is that of an unusual bridge");
        assert!(order(&[]).is_empty());
    }
}
