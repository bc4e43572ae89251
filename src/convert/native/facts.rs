//! Converts the findings of INSPECT to the types that the planning modules use.

use crate::model::{GuestDrivers, GuestFacts};

use super::inspect::Guest;

/// The facts of a guest that was read.
pub(super) fn of(guest: &Guest, drivers: Option<GuestDrivers>, agent: Option<bool>) -> GuestFacts {
    GuestFacts {
        inspected: true,
        family: guest.os_family(),
        distribution: known(&guest.distribution),
        product: known(&guest.product),
        version: (guest.major, guest.minor),
        arch: arch(&guest.arch).to_owned(),
        hostname: known(&guest.hostname),
        drivers,
        agent,
        ..GuestFacts::default()
    }
}

/// Empty where libguestfs reports `unknown`.
fn known(text: &str) -> String {
    if text == "unknown" { String::new() } else { text.to_owned() }
}

/// libvirt's name of an architecture (guestfs(3), `guestfs_file_architecture`).
fn arch(name: &str) -> &str {
    match name {
        "unknown" => "",
        "i386" | "i486" | "i586" => "i686",
        "arm" => "armv7l",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_stays_empty() {
        let guest =
            Guest { arch: "i386".to_owned(), hostname: "unknown".to_owned(), ..Guest::default() };
        let facts = of(&guest, None, None);
        assert_eq!((facts.arch.as_str(), facts.hostname.as_str()), ("i686", ""));
    }
}
