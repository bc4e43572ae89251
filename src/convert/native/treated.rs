//! A Windows guest that virt-v2v-in-place changes: its drivers, and whether the result is accepted.

use std::path::Path;

use crate::convert::virtio_win::{Handed, hand_over};
use crate::convert::{ConversionRun, Error};
use crate::model::{GuestCard, GuestDrivers};

use super::inspect::Guest;
use super::operated::{Opened, Operated};
use super::windows;

/// Facts about a Windows guest before it is changed.
#[derive(Debug)]
pub(super) struct Treated {
    before: Option<GuestDrivers>,
    handed: Handed,
}

impl Treated {
    /// Reads the unchanged guest, and finds drivers for it.
    ///
    /// # Errors
    /// [`Error::NoDrivers`] or [`Error::VirtioWin`] where there is nothing that virt-v2v could
    /// install.
    pub(super) async fn begin(run: &ConversionRun<'_>, opened: &mut Opened) -> Result<Self, Error> {
        let Opened { guestfs, guest, .. } = opened;
        let Guest { osinfo, arch, product, .. } = guest;
        let (sources, tmp) = (&run.settings.windows, run.work.tmp());
        let handed = hand_over(sources, osinfo, arch, product, &tmp).await?;
        let before = windows::drivers(guestfs, guest).await?;
        Ok(Self { before, handed })
    }

    /// The value of virt-v2v's `VIRTIO_WIN`.
    pub(super) fn virtio_win(&self) -> Option<&Path> {
        self.handed.virtio_win.as_deref()
    }

    /// Whether the guest is better than before. virt-v2v also succeeds without drivers, and still
    /// removes VMware Tools, with the drivers of the controller and the card that the guest would
    /// then keep.
    pub(super) fn gained(&self, operated: &Operated) -> bool {
        let after = operated.facts.as_ref().and_then(|facts| facts.drivers.as_ref());
        operated.is_fixed() && (self.handed.fits || after != self.before.as_ref())
    }

    /// Why the guest is not better than before.
    pub(super) fn failure(&self, guest: &Guest, place: Option<&Path>) -> Error {
        if self.handed.fits {
            let why = "virt-v2v-in-place installed no driver of virtio that it could start from";
            return Error::NotFixed { why: why.to_owned() };
        }
        let (guest, place) = (guest.product.clone(), place.map(Path::to_owned));
        Error::NoDrivers { guest, place }
    }
}

/// The drivers of a Windows that virt-v2v-in-place has changed: its next start removes VMware Tools
/// and with them the driver of vmxnet3. Where virtio's card has no driver either, a card of Intel's
/// has one that comes with Windows.
pub(super) fn without_tools(mut found: GuestDrivers, guest: &Guest) -> GuestDrivers {
    if found.starts_from_virtio() && !found.has_card(GuestCard::Virtio) {
        // Windows 8 and later support the chip of e1000e.
        let since_8 = (guest.major, guest.minor) >= (6, 2);
        found.cards.extend(since_8.then_some(GuestCard::E1000e));
        found.cards.push(GuestCard::E1000);
    }
    found
}
