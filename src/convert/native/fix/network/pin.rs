//! How a card keeps its name on KVM.
//!
//! A name outside the kernel's `eth*` is kept by a `.link` file, or by a rule of udev. The kernel's
//! names differ: the kernel gives `eth0`, `eth1`, … to the cards as it finds them, and udev cannot
//! give a card a name that another card has at that moment (EEXIST; udev before systemd 197 and Red
//! Hat's initscripts use a third name). So `ethN` stays with card N, where the kernel puts it. On
//! any other card `ethN` is safe only when N is beyond the kernel's count. Otherwise the card gets
//! a name outside `eth*`, and the configuration is rewritten to that name.

use std::collections::BTreeSet;

use crate::model::MacAddress;

use super::assign::{NameEvidence, eth_number};
use super::naming::Naming;
use super::place::eth;

/// A card and the facts about its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) mac: Option<MacAddress>,
    pub(super) name: Option<String>,
    pub(super) how: Option<NameEvidence>,
    /// Position at which the kernel finds the card on KVM; `None` for a card that the domain does
    /// not have.
    pub(super) position: Option<usize>,
    pub(super) addresses: Vec<String>,
    /// Whether a rule of the guest gives the name on KVM as well.
    pub(super) is_ruled: bool,
    /// Whether an ifcfg file of Red Hat's configures the card by name.
    pub(super) has_ifcfg: bool,
}

/// The method that keeps a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keep {
    /// No method: the card has no name, or gets it by itself.
    Nothing,
    /// A `.link` file.
    Link,
    /// A rule of udev.
    Rule,
    /// `HWADDR` in the ifcfg file.
    Hwaddr,
    /// The configuration is rewritten to this name, which a `.link` file or rule gives.
    Renamed(String),
    /// The configuration is rewritten to the name that the kernel will give.
    Kernel(String),
    /// The guest has no mechanism that could keep the name.
    Impossible,
    /// The guest rejected the change of the file that was to keep the name, and there is no
    /// alternative.
    Refused,
}

/// A file that can keep a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeper {
    /// A `.link` file.
    Link,
    /// This file with rules of udev.
    Rules(&'static str),
}

/// The usual file of rules of udev for cards.
const RULES: &str = "/etc/udev/rules.d/70-persistent-net.rules";
/// hyperexport's own file for the rules, where the guest rejects changes of the usual file.
const OWN_RULES: &str = "/etc/udev/rules.d/70-hyperexport-net.rules";

/// The files that can keep a name, the best first; each is used where the guest rejects changes of
/// those before. A rule that gives a name overrides every `.link` file (systemd's
/// `80-net-setup-link.rules`).
pub(super) fn keepers(keep: &Keep, naming: Naming) -> Vec<Keeper> {
    let by_link = naming.links && naming.renames_again && *keep != Keep::Rule;
    let by_rules = naming.rules || !by_link;
    let rules = [Keeper::Rules(RULES), Keeper::Rules(OWN_RULES)];
    by_link
        .then_some(Keeper::Link)
        .into_iter()
        .chain(rules.into_iter().filter(|_| by_rules))
        .collect()
}

/// Decides the method for each card.
pub(super) fn keep(rows: &[Row], naming: Naming, taken: &BTreeSet<String>) -> Vec<Keep> {
    if comes_by_itself(rows, naming) {
        return vec![Keep::Nothing; rows.len()];
    }
    let mut taken = taken.clone();
    let count = rows.iter().filter(|row| row.position.is_some()).count();
    let decide = |row: &Row| {
        let (Some(name), Some(index)) = (row.name.as_deref(), row.position) else {
            return Keep::Nothing;
        };
        let place = eth_number(name);
        let is_safe = place.is_none_or(|number| number == index || number >= count);
        if row.is_ruled && (is_safe || naming.swaps) {
            return Keep::Nothing;
        }
        if row.mac.is_none() {
            return Keep::Impossible;
        }
        match (is_safe, naming) {
            (true, Naming { links: true, renames_again: true, .. }) => Keep::Link,
            (true, Naming { rules: true, .. }) => Keep::Rule,
            (true, _) if place == Some(index) => Keep::Nothing,
            (false, Naming { swaps: true, rules: true, .. }) => Keep::Rule,
            (false, Naming { by_ifcfg: true, .. }) if row.has_ifcfg => Keep::Hwaddr,
            (false, Naming { rules: true, .. }) => {
                Keep::Renamed(outside(place.unwrap_or(index), &mut taken))
            }
            (false, _) => Keep::Kernel(eth(index)),
            (true, _) => Keep::Impossible,
        }
    };
    rows.iter().map(decide).collect()
}

/// Whether the kernel provably gives every card its old name. It does where it names all cards, and
/// each name is known to belong to the card at its position.
fn comes_by_itself(rows: &[Row], naming: Naming) -> bool {
    let in_place = |row: &Row| {
        row.name.as_deref().and_then(eth_number) == row.position
            && row.how != Some(NameEvidence::Order)
    };
    let mut plugged = rows.iter().filter(|row| row.position.is_some());
    naming.kernel && plugged.all(in_place)
}

/// An unused name that the kernel does not give.
fn outside(number: usize, taken: &mut BTreeSet<String>) -> String {
    let mut name = format!("net{number}");
    let mut next = 0;
    while !taken.insert(name.clone()) {
        name = format!("nic{next}");
        next += 1;
    }
    name
}

/// Pattern for the place of any card, and of no VLAN (`ID_PATH` of udev).
pub(super) const ANY_PATH: &str = "*pci-*";

/// Path and content of a `.link` file. Its path condition excludes VLANs, which have the address of
/// their card: a VLAN that udev fails to rename is not ready for systemd-networkd. `settings` are
/// lines of `[Link]` from the guest's file that would otherwise match the card first.
pub(super) fn link(mac: MacAddress, name: &str, settings: &LinkSettings) -> (String, String) {
    let path = format!("/etc/systemd/network/{}", settings.file_before(name));
    let lines: String = settings.lines.iter().map(|line| format!("{line}\n")).collect();
    let text = format!(
        "# Written by hyperexport: the card has moved to another slot and keeps its name.\n\
         [Match]\nMACAddress={mac}\nPath={ANY_PATH}\n\n[Link]\nName={name}\n{lines}"
    );
    (path, text)
}

/// The rule for a card. DRIVERS and type exclude VLANs, which have the address of their card.
pub(super) fn rule(mac: MacAddress, name: &str) -> String {
    format!(
        "SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", ATTR{{address}}==\"{mac}\", \
         ATTR{{type}}==\"1\", NAME=\"{name}\"\n"
    )
}

/// Settings of a card in the guest's own `.link` file. Only the first file that matches counts
/// (systemd.link(5)), so hyperexport's file has to repeat them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LinkSettings {
    /// Name of the guest's file.
    pub(super) file: String,
    pub(super) lines: Vec<String>,
}

/// Prefixes of hyperexport's files, the usual one first. A dash sorts before all digits and
/// letters.
const RANKS: [&str; 4] = ["10", "00", "0", ""];

impl LinkSettings {
    /// Name of a file for the card that udev reads before the guest's file: udev sorts by the bytes
    /// of the names.
    fn file_before(&self, name: &str) -> String {
        let file = |rank: &&str| format!("{rank}-hyperexport-{name}.link");
        let is_first = |file: &String| self.file.is_empty() || *file < self.file;
        let found = RANKS.iter().map(&file).find(is_first);
        found.unwrap_or_else(|| file(&""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPINE: Naming = Naming {
        kernel: true,
        links: false,
        renames_again: false,
        rules: false,
        swaps: false,
        by_ifcfg: false,
    };
    const LINKS: Naming =
        Naming { kernel: false, links: true, renames_again: true, rules: true, ..ALPINE };
    const KERNEL: Naming = Naming { kernel: true, ..LINKS };
    const OLD: Naming = Naming { rules: true, swaps: true, ..ALPINE };

    fn row(name: &str) -> Row {
        Row {
            mac: "00:50:56:aa:bb:01".parse().ok(),
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            how: Some(NameEvidence::Slot),
            position: Some(0),
            addresses: Vec::new(),
            is_ruled: false,
            has_ifcfg: false,
        }
    }

    fn kept(names: &[&str], naming: Naming) -> Vec<Keep> {
        let rows: Vec<_> = names.iter().map(|name| row(name)).collect();
        keep(&plugged(rows), naming, &BTreeSet::from(["net1".to_owned()]))
    }

    /// Cards in the order in which the domain has them.
    fn plugged(rows: impl IntoIterator<Item = Row>) -> Vec<Row> {
        let numbered = rows.into_iter().enumerate();
        numbered.map(|(index, row)| Row { position: Some(index), ..row }).collect()
    }

    fn renamed(name: &str) -> Keep {
        Keep::Renamed(name.to_owned())
    }

    #[test]
    fn names_outside_the_kernels_are_kept_by_what_the_guest_has() {
        let rule = Naming { links: false, ..LINKS };
        assert_eq!(kept(&["ens192", ""], LINKS), [Keep::Link, Keep::Nothing]);
        assert_eq!(kept(&["lan0"], rule), [Keep::Rule]);
        // Ubuntu 18.04, RHEL 8: the initramfs may have renamed the card already.
        let once = Naming { renames_again: false, ..LINKS };
        assert_eq!(kept(&["ens192"], once), [Keep::Rule]);
        assert_eq!(kept(&["lan0"], ALPINE), [Keep::Impossible]);
        let ruled = [Row { is_ruled: true, ..row("lan0") }];
        assert_eq!(keep(&ruled, LINKS, &BTreeSet::new()), [Keep::Nothing]);
        let bare = [Row { mac: None, ..row("lan0") }];
        assert_eq!(keep(&bare, LINKS, &BTreeSet::new()), [Keep::Impossible]);
    }

    #[test]
    fn the_kernels_names_stay_where_the_kernel_puts_them() {
        assert_eq!(kept(&["eth0", "eth1"], KERNEL), [Keep::Nothing, Keep::Nothing]);
        assert_eq!(kept(&["eth0", "eth1"], OLD), [Keep::Nothing, Keep::Nothing]);
        assert_eq!(kept(&["eth0"], ALPINE), [Keep::Nothing]);
        // Without proof, the names are pinned to their cards.
        assert_eq!(kept(&["eth0", "eth1"], LINKS), [Keep::Link, Keep::Link]);
        assert_eq!(kept(&["eth0", ""], KERNEL), [Keep::Link, Keep::Nothing]);
        let guess = [Row { how: Some(NameEvidence::Order), ..row("eth0") }];
        assert_eq!(keep(&guess, KERNEL, &BTreeSet::new()), [Keep::Link]);
    }

    #[test]
    fn names_of_the_kernel_are_never_exchanged_by_a_link() {
        assert_eq!(kept(&["eth1", "eth0"], KERNEL), [renamed("nic0"), renamed("net0")]);
        assert_eq!(kept(&["ens192", "eth0"], LINKS), [Keep::Link, renamed("net0")]);
        assert_eq!(kept(&["ens192", "eth1"], LINKS), [Keep::Link, Keep::Link]);
        assert_eq!(kept(&["eth5"], KERNEL), [Keep::Link]);
        assert_eq!(kept(&["eth1", "eth0"], OLD), [Keep::Rule, Keep::Rule]);
        let names = |name: &str| Keep::Kernel(name.to_owned());
        assert_eq!(kept(&["eth1", "eth0"], ALPINE), [names("eth0"), names("eth1")]);
        let ifcfg = Naming { by_ifcfg: true, ..KERNEL };
        let rows = plugged(["eth1", "eth0"].map(|name| Row { has_ifcfg: true, ..row(name) }));
        assert_eq!(keep(&rows, ifcfg, &BTreeSet::new()), [Keep::Hwaddr, Keep::Hwaddr]);
        let ruled = plugged(["eth1", "eth0"].map(|name| Row { is_ruled: true, ..row(name) }));
        assert_eq!(keep(&ruled, OLD, &BTreeSet::new()), [Keep::Nothing, Keep::Nothing]);
        assert_eq!(keep(&ruled, LINKS, &BTreeSet::new())[0], renamed("net1"));
    }

    #[test]
    fn the_kernel_counts_without_a_card_that_is_left_out() {
        let rows = |first: Option<usize>, second: Option<usize>| {
            let row = |(position, name)| Row { position, ..row(name) };
            [(first, "eth0"), (second, "eth1")].map(row)
        };
        let kept = |rows: &[Row]| keep(rows, KERNEL, &BTreeSet::new());
        assert_eq!(kept(&rows(None, Some(0))), [Keep::Nothing, Keep::Link]);
        assert_eq!(kept(&rows(Some(0), None)), [Keep::Nothing, Keep::Nothing]);
        assert_eq!(kept(&rows(Some(1), Some(0))), [renamed("net0"), renamed("net1")]);
    }

    #[test]
    fn where_one_file_takes_no_change_another_keeps_the_name() {
        let rules = [Keeper::Rules(RULES), Keeper::Rules(OWN_RULES)];
        let all = [&[Keeper::Link][..], &rules].concat();
        assert_eq!(keepers(&Keep::Link, LINKS), all);
        assert_eq!(keepers(&renamed("net0"), LINKS), all);
        assert_eq!(keepers(&Keep::Link, Naming { rules: false, ..LINKS }), [Keeper::Link]);
        assert_eq!(keepers(&Keep::Rule, LINKS), rules);
        assert_eq!(keepers(&renamed("net0"), OLD), rules);
    }

    #[test]
    fn a_link_says_what_the_guests_own_said() {
        let mac = "00:50:56:aa:bb:01".parse().expect("an address");
        let (path, text) = link(mac, "ens192", &LinkSettings::default());
        assert_eq!(path, "/etc/systemd/network/10-hyperexport-ens192.link");
        assert!(
            text.ends_with(
                "[Match]\nMACAddress=00:50:56:aa:bb:01\nPath=*pci-*\n\n[Link]\nName=ens192\n"
            ),
            "{text}"
        );
        let settings = |file: &str| LinkSettings {
            file: file.to_owned(),
            lines: vec!["WakeOnLan=magic".to_owned()],
        };
        let (path, text) = link(mac, "ens192", &settings("50-wol.link"));
        assert_eq!(path, "/etc/systemd/network/10-hyperexport-ens192.link");
        assert!(text.ends_with("Name=ens192\nWakeOnLan=magic\n"), "{text}");
        for (own, ours) in [
            ("10-eth.link", "00-hyperexport-ens192.link"),
            ("00-default.link", "0-hyperexport-ens192.link"),
            ("00-A.link", "0-hyperexport-ens192.link"),
            ("0-a.link", "-hyperexport-ens192.link"),
            ("10-hyperexport-ens224.link", "10-hyperexport-ens192.link"),
        ] {
            let (path, _) = link(mac, "ens192", &settings(own));
            assert_eq!(path, format!("/etc/systemd/network/{ours}"), "{own}");
            assert!(path.as_bytes() < format!("/etc/systemd/network/{own}").as_bytes(), "{own}");
        }
    }
}
