//! A guest under INSPECT and FIX, and what they found and did.

use crate::convert::Error;
use crate::model::{GuestDrivers, GuestFacts};

use super::devices::GuestDevices;
use super::fix_list::FixList;
use super::guestfs::Guestfs;
use super::inspect::Guest;

/// What INSPECT and FIX found and did.
#[derive(Debug, Default)]
pub(in crate::convert) struct Operated {
    /// What the guest is.
    pub(in crate::convert) facts: Option<GuestFacts>,
    /// What is another in the guest, a line for each change.
    pub(in crate::convert) changes: Vec<String>,
    /// Why the guest is not as it was to be.
    pub(in crate::convert) failure: Option<Error>,
    /// The files that were changed.
    pub(in crate::convert) fixes: FixList,
}

impl Operated {
    /// Whether the guest starts from virtio.
    pub(in crate::convert) fn is_fixed(&self) -> bool {
        let drivers = self.facts.as_ref().and_then(|facts| facts.drivers.as_ref());
        drivers.is_some_and(GuestDrivers::starts_from_virtio)
    }

    pub(super) fn failed(error: Error) -> Self {
        Self { failure: Some(error), ..Self::default() }
    }
}

/// A guest whose file systems are mounted.
pub(super) struct Opened {
    pub(super) guestfs: Guestfs,
    pub(super) guest: Guest,
    pub(super) devices: GuestDevices,
}

/// A guest that could not be opened.
pub(super) struct Unread {
    /// Why.
    pub(super) error: Error,
    /// What is known of it all the same.
    pub(super) facts: Option<GuestFacts>,
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self { error, facts: None }
    }
}

/// The facts of disks that were searched and hold no system that can be read.
pub(super) fn nothing() -> GuestFacts {
    GuestFacts { inspected: true, ..GuestFacts::default() }
}

/// Whether an error is of this guest and its tools, and leaves the images as they were.
pub(in crate::convert) fn is_of_guest(error: &Error) -> bool {
    matches!(
        error,
        Error::Guestfs { .. }
            | Error::Appliance { .. }
            | Error::Refused { .. }
            | Error::Child { .. }
            | Error::NoSystem { .. }
            | Error::Systems { .. }
            | Error::NotFixed { .. }
            | Error::NoV2v
            | Error::NoDrivers { .. }
            | Error::VirtioWin { .. }
    )
}

/// Says what a guest lacks that does not start from virtio.
pub(super) fn fit(mut operated: Operated) -> Operated {
    if !operated.is_fixed() {
        let drivers = operated.facts.as_ref().and_then(|facts| facts.drivers.as_ref());
        let why = match drivers {
            Some(_) => "it has no driver of virtio that it could start from",
            None => "its drivers cannot be read",
        };
        operated.failure = Some(Error::NotFixed { why: why.to_owned() });
    }
    operated
}
