//! The state of a guest under INSPECT and FIX, and their results.

use crate::convert::Error;
use crate::model::{GuestDrivers, GuestFacts};

use super::devices::GuestDevices;
use super::fix_list::FixList;
use super::guestfs::Guestfs;
use super::inspect::Guest;

/// The results of INSPECT and FIX.
#[derive(Debug, Default)]
pub(in crate::convert) struct Operated {
    pub(in crate::convert) facts: Option<GuestFacts>,
    /// Changes in the guest, one line each.
    pub(in crate::convert) changes: Vec<String>,
    /// Why the guest could not be fixed or inspected as requested.
    pub(in crate::convert) failure: Option<Error>,
    /// The files that were changed.
    pub(in crate::convert) fixes: FixList,
}

impl Operated {
    /// Whether the guest boots from virtio.
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
    pub(super) error: Error,
    /// The facts that are known nevertheless.
    pub(super) facts: Option<GuestFacts>,
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self { error, facts: None }
    }
}

/// The facts of disks that were searched and contain no readable system.
pub(super) fn nothing() -> GuestFacts {
    GuestFacts { inspected: true, ..GuestFacts::default() }
}

/// Whether an error concerns only this guest and its tools, and leaves the images unchanged.
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

/// Sets the failure of a guest that does not boot from virtio: what the guest lacks.
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
