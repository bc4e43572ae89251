//! Where VMware puts devices on the PCI bus.
//!
//! `pciSlotNumber` packs three numbers: bits 0 to 4 are the device, bits 5 to 9 the number of the
//! bridge plus one (0 is the root bus), bits 10 to 12 the function of the bridge. VMware's boards
//! have one PCI bridge at 00:11.0 (bus 02) and four PCI Express bridges at 00:15 to 00:18 with eight
//! functions each (buses 03 to 22). So slot 33 is 02:01.0, slot 160 is 03:00.0, slot 192 is 0b:00.0,
//! slot 1184 is 04:00.0.

/// A place on the PCI bus, domain 0000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::convert::native) struct Place {
    pub(in crate::convert::native) bus: u32,
    pub(in crate::convert::native) device: u32,
    pub(in crate::convert::native) function: u32,
}

impl Place {
    pub(in crate::convert::native) const fn new(bus: u32, device: u32, function: u32) -> Self {
        Self { bus, device, function }
    }

    /// The device's place by VMware's slot number, where the bridge is one of the usual board.
    pub(in crate::convert::native) fn of_slot(slot: u32) -> Option<Self> {
        let (device, bridge, function) = unpack(slot);
        match bridge {
            0 => Some(Self::new(0, device, 0)),
            1 => Some(Self::new(2, device, 0)),
            5..=8 => Some(Self::new(3 + 8 * (bridge - 5) + function, device, 0)),
            _ => None,
        }
    }

    /// The bridge that the device of that slot hangs on.
    pub(in crate::convert::native) fn of_bridge(slot: u32) -> Option<Self> {
        match unpack(slot) {
            (_, 1, _) => Some(Self::new(0, 0x11, 0)),
            (_, bridge @ 5..=8, function) => Some(Self::new(0, 0x15 + bridge - 5, function)),
            _ => None,
        }
    }

    /// The kernel's word for it: `0000:0b:00.0`.
    pub(in crate::convert::native) fn address(self) -> String {
        format!("0000:{:02x}:{:02x}.{:x}", self.bus, self.device, self.function)
    }
}

fn unpack(slot: u32) -> (u32, u32, u32) {
    (slot & 0x1f, slot >> 5 & 0x1f, slot >> 10 & 0x7)
}
