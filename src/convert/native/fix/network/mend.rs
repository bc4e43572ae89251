//! Edits of the guest's files: MAC addresses that no card has, selections by VMware's hardware, and
//! names that change. A function of what is known.

use std::collections::BTreeMap;

use crate::model::MacAddress;

use super::assign::Assigned;
use super::claim::{Claim, Edit, MacSpot, NOWHERE, Role, Says, Spot};
use super::forms::{Form, Text};
use super::naming::Naming;
use super::place::{By, Card, Meant, meant_by_all};
use super::survey::Survey;
use super::virtual_names::base;

/// What is known of the guest when its files are edited.
pub(super) struct Known<'a> {
    pub(super) cards: &'a [Card],
    pub(super) survey: &'a Survey,
    pub(super) assigned: &'a Assigned,
    /// The card of each name.
    pub(super) by_name: &'a BTreeMap<&'a str, usize>,
    /// Names that change.
    pub(super) renames: &'a BTreeMap<String, String>,
    /// Names whose ifcfg file gets the MAC address.
    pub(super) hwaddr: &'a BTreeMap<String, MacAddress>,
}

/// What becomes of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mended {
    pub(super) edits: Vec<Edit>,
    /// MAC addresses that were replaced, and by what.
    pub(super) stale: Vec<(MacAddress, MacAddress)>,
    /// MAC addresses that no card has, and that nobody knows the card of.
    pub(super) unknown: Vec<MacAddress>,
    /// Selections by hardware that could not be helped.
    pub(super) lost: Vec<String>,
    /// A name that stands in the name of the file, and the new one.
    pub(super) moved: Option<(String, String)>,
    /// Whether a name changes that no edit can reach.
    pub(super) is_stuck: bool,
}

/// Decides on one file.
pub(super) fn mend(file: &Text, says: &Says, known: &Known<'_>) -> Mended {
    let mut mended = Mended::default();
    for claim in says.claims.iter().filter(|claim| claim.role != Role::Remembers) {
        let by_mac = stale(claim, known, &mut mended);
        hardware(claim, by_mac, known, &mut mended);
        for name in &claim.names {
            rename(name, file, known, &mut mended);
        }
        let is_red_hat = file.form == Form::Ifcfg && file.path.contains("/network-scripts/");
        let mac = claim.names.iter().find_map(|name| known.hwaddr.get(&name.value));
        if let Some(mac) = mac.filter(|_| is_red_hat && claim.macs.is_empty()) {
            let gap = if file.text.is_empty() || file.text.ends_with('\n') { "" } else { "\n" };
            let end = file.text.len();
            mended.edits.push(Edit::new(end..end, format!("{gap}HWADDR={mac}\n")));
        }
    }
    mended
}

/// Whether a rule of the guest's gives `name` to `card` on KVM too, edits included.
pub(super) fn holds(
    file: &Text,
    claim: &Claim,
    naming: Naming,
    (name, card): (&str, usize),
    cards: &[Card],
) -> bool {
    let works = match file.form {
        Form::Rules => naming.rules,
        _ => naming.links,
    };
    if !works || claim.role != Role::Renames || claim.names.iter().all(|own| own.value != name) {
        return false;
    }
    let has = |mac: MacAddress| cards.iter().any(|card| card.mac == Some(mac));
    let is_own = claim.macs.iter().any(|spot| Some(spot.mac) == cards[card].mac);
    // Such an address is replaced by the card's own; of several only that which the card had.
    let is_replaced = |spot: &MacSpot| {
        !has(spot.mac) && (claim.macs.len() == 1 || cards[card].source_mac == Some(spot.mac))
    };
    let is_stale = claim.macs.iter().any(is_replaced);
    let is_selected = claim.macs.is_empty() && !claim.hardware.is_empty();
    let is_helped = claim.hardware.iter().all(|hardware| match hardware.meant(cards) {
        Meant::Holds => hardware.by != By::KernelName || hardware.selected(cards) == [card],
        Meant::Cards(_) => !hardware.instead.is_empty(),
    });
    cards[card].mac.is_some() && (is_own || is_stale || is_selected) && is_helped
}

/// The cards of a claim's names.
fn named(claim: &Claim, known: &Known<'_>) -> Vec<usize> {
    let names = claim.names.iter().map(|name| base(&name.value)).chain(claim.likely.as_deref());
    names.filter_map(|name| known.by_name.get(name).copied()).collect()
}

/// The card of a MAC address that a configuration without a name selects.
fn nameless(mac: MacAddress, known: &Known<'_>) -> Option<usize> {
    let is_own = |index: &usize| known.survey.subjects[*index].macs.contains(&mac);
    let subject = (0..known.survey.subjects.len()).find(is_own)?;
    known.assigned.card_of(subject)
}

/// Replaces MAC addresses that no card has; says whether the claim selects by one that a card has.
fn stale(claim: &Claim, known: &Known<'_>, mended: &mut Mended) -> bool {
    let has = |spot: &&MacSpot| known.cards.iter().any(|card| card.mac == Some(spot.mac));
    let mut is_live = claim.macs.iter().any(|spot| has(&spot));
    if claim.role == Role::Renames && has_live_rule(claim, known) {
        return is_live;
    }
    for spot in claim.macs.iter().filter(|spot| !has(spot)) {
        let card = successor(spot, claim, known);
        let new = card.and_then(|card| known.cards[card].mac);
        match new.filter(|_| spot.edit.at != NOWHERE) {
            Some(new) => {
                mended.edits.push(spot.edit.with(&[new]));
                mended.stale.push((spot.mac, new));
                is_live = true;
            }
            // A rule for a card that is gone does no harm.
            None if claim.role == Role::Configures => mended.unknown.push(spot.mac),
            None => {}
        }
    }
    is_live
}

/// The card that is meant by a MAC address which no card has. Of several addresses only the source
/// tells which is whose: names would give all of them the same card.
fn successor(spot: &MacSpot, claim: &Claim, known: &Known<'_>) -> Option<usize> {
    let had = known.cards.iter().position(|card| card.source_mac == Some(spot.mac));
    if had.is_some() || claim.macs.len() != 1 {
        return had;
    }
    named(claim, known).first().copied().or_else(|| nameless(spot.mac, known))
}

/// Whether another rule gives the name to a MAC address that a card has.
fn has_live_rule(claim: &Claim, known: &Known<'_>) -> bool {
    let mut subjects = known.survey.subjects.iter();
    let name = claim.names.first().map(|name| name.value.as_str());
    let own = subjects.find(|subject| subject.name.as_deref() == name);
    let macs = own.map_or(&[][..], |subject| &subject.ruled_macs);
    known.cards.iter().any(|card| card.mac.is_some_and(|mac| macs.contains(&mac)))
}

fn hardware(claim: &Claim, by_mac: bool, known: &Known<'_>, mended: &mut Mended) {
    let own = named(claim, known);
    let mut is_selected = by_mac || claim.selects_by_name() && own.len() >= claim.names.len();
    let Meant::Cards(meant) = meant_by_all(&claim.hardware, known.cards) else { return };
    let meant = if own.is_empty() { meant } else { own };
    for hardware in &claim.hardware {
        if hardware.meant(known.cards) == Meant::Holds {
            continue;
        }
        let macs: Vec<_> = meant.iter().filter_map(|card| known.cards[*card].mac).collect();
        let is_few = macs.len() == 1 || hardware.takes_list && !macs.is_empty();
        if is_selected || hardware.by == By::Host {
            mended.edits.extend(hardware.without.iter().cloned());
        } else if is_few && macs.len() == meant.len() && !hardware.instead.is_empty() {
            mended.edits.extend(hardware.instead.iter().map(|edit| edit.with(&macs)));
            is_selected = true;
        } else {
            mended.lost.push(hardware.words.clone());
        }
    }
}

fn rename(name: &Spot<String>, file: &Text, known: &Known<'_>, mended: &mut Mended) {
    let own = base(&name.value);
    let Some(new) = known.renames.get(own) else { return };
    if name.at == NOWHERE {
        match file.path.strip_suffix(name.value.as_str()) {
            Some(rest) => {
                let new = format!("{rest}{new}{}", &name.value[own.len()..]);
                mended.moved = Some((file.path.clone(), new));
            }
            None => mended.is_stuck = true,
        }
        return;
    }
    let is_plain = file.text.get(name.at.clone()) == Some(name.value.as_str());
    let end = if is_plain { name.at.start + own.len() } else { name.at.end };
    mended.edits.push(Edit::new(name.at.start..end, new.clone()));
}

#[cfg(test)]
mod tests {
    use super::super::assign::assign;
    use super::super::edits::edited;
    use super::super::forms::read;
    use super::super::place::tests::{card, cards};
    use super::*;

    const OLD: &str = "00:50:56:00:00:99";
    const NEW: &str = "00:50:56:aa:bb:01";

    /// The text after the edits, and what was decided.
    fn run(form: Form, text: &str, cards: &[Card], renames: &[(&str, &str)]) -> (String, Mended) {
        let path = match form {
            Form::Ifcfg => "/etc/sysconfig/network-scripts/ifcfg-x",
            _ => "/etc/x",
        };
        let file = Text { form, path: path.to_owned(), text: text.to_owned() };
        let says = read(&[&file]);
        let survey = Survey::of(&says, cards);
        let assigned = assign(&survey, cards, false);
        let renames = renames.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let known = Known {
            cards,
            survey: &survey,
            assigned: &assigned,
            by_name: &assigned.by_name(&survey),
            renames: &renames,
            hwaddr: &BTreeMap::new(),
        };
        let mended = mend(&file, &says[0], &known);
        (edited(text, &mended.edits), mended)
    }

    #[test]
    fn a_stale_address_becomes_the_cards() {
        for (form, text) in [
            (
                Form::Profile,
                format!(
                    "[connection]\ntype=ethernet\ninterface-name=ens192\n[ethernet]\nmac-address={OLD}\n"
                ),
            ),
            (
                Form::Profile,
                format!("[connection]\ntype=ethernet\n[ethernet]\nmac-address={OLD}\n"),
            ),
            (Form::Ifcfg, format!("DEVICE=ens192\nHWADDR=\"{OLD}\"\n")),
            (
                Form::Netplan,
                format!(
                    "network: {{ethernets: {{ens192: {{match: {{macaddress: \"{OLD}\"}}, set-name: ens192}}}}}}\n"
                ),
            ),
            (
                Form::Netplan,
                format!(
                    "network:\n  ethernets:\n    lan:\n      match:\n        macaddress: '{OLD}'\n"
                ),
            ),
            (Form::Network, format!("[Match]\nMACAddress={OLD}\n[Network]\nDHCP=yes\n")),
            (Form::Link, format!("[Match]\nMACAddress={OLD}\n[Link]\nName=lan0\n")),
        ] {
            let (after, mended) = run(form, &text, &cards(&[192]), &[]);
            let quotes = if text.contains('\'') { text.replace('\'', "\"") } else { text.clone() };
            if form == Form::Link {
                // A rule alone, for a card that may be gone.
                assert_eq!((after, mended.stale.len()), (text, 0));
                continue;
            }
            assert_eq!(after, quotes.replace(OLD, NEW), "{text}");
            assert!(!mended.stale.is_empty() && mended.unknown.is_empty(), "{mended:?}");
        }
    }

    #[test]
    fn addresses_that_are_set_stay() {
        for (form, text) in [
            (
                Form::Profile,
                format!(
                    "[connection]\ntype=ethernet\ninterface-name=ens192\n[ethernet]\ncloned-mac-address={OLD}\n"
                ),
            ),
            (Form::Ifcfg, format!("DEVICE=ens192\nMACADDR={OLD}\n")),
            (
                Form::Netplan,
                format!("network: {{ethernets: {{ens192: {{macaddress: \"{OLD}\"}}}}}}\n"),
            ),
            (Form::Network, format!("[Match]\nName=ens192\n[Link]\nMACAddress={OLD}\n")),
            (Form::Ifupdown, format!("iface ens192 inet dhcp\n  hwaddress ether {OLD}\n")),
        ] {
            let (after, mended) = run(form, &text, &cards(&[192]), &[]);
            assert_eq!((after, mended), (text.clone(), Mended::default()), "{text}");
        }
    }

    #[test]
    fn a_stale_address_that_nobody_knows_the_card_of_stays_and_is_told() {
        let text = format!("[connection]\ntype=ethernet\n[ethernet]\nmac-address={OLD}\n");
        let (after, mended) = run(Form::Profile, &text, &cards(&[192, 224]), &[]);
        assert_eq!((after, mended.unknown.len(), mended.stale.len()), (text, 1, 0));
    }

    #[test]
    fn each_of_several_addresses_becomes_that_of_the_card_that_had_it() {
        let two = "[Match]\nMACAddress=00:50:56:00:00:01 00:50:56:00:00:02\n[Network]\nBond=b\n";
        let mut cards = cards(&[192, 224]);
        cards[0].source_mac = "00:50:56:00:00:01".parse().ok();
        let (after, mended) = run(Form::Network, two, &cards, &[]);
        assert_eq!(after, two.replacen("00:50:56:00:00:01", NEW, 1));
        assert_eq!((mended.stale.len(), mended.unknown.len()), (1, 1), "the other is told");
        cards[1].source_mac = "00:50:56:00:00:02".parse().ok();
        let (after, mended) = run(Form::Network, two, &cards, &[]);
        assert_eq!(after, two.replace("56:00:00:0", "56:aa:bb:0"));
        assert_eq!((mended.stale.len(), mended.unknown.len()), (2, 0));
        // One of them is a card's still.
        let mixed = two.replace("00:50:56:00:00:01", NEW);
        let (after, mended) = run(Form::Network, &mixed, &cards, &[]);
        assert_eq!(after, two.replace("56:00:00:0", "56:aa:bb:0"));
        assert_eq!((mended.stale.len(), mended.unknown.len()), (1, 0));
    }

    #[test]
    fn selections_by_hardware_become_selections_by_address() {
        let two = cards(&[192, 224]);
        for (form, text, right) in [
            (
                Form::Network,
                "[Match]\nPath=pci-0000:13:00.0\n[Network]\nDHCP=yes\n",
                "[Match]\nMACAddress=00:50:56:aa:bb:02\nPath=*pci-*\n[Network]\nDHCP=yes\n",
            ),
            (
                Form::Network,
                "[Match]\nDriver=vmxnet3\n[Network]\nDHCP=yes\n",
                "[Match]\nMACAddress=00:50:56:aa:bb:01 00:50:56:aa:bb:02\nPath=*pci-*\n[Network]\nDHCP=yes\n",
            ),
            (
                Form::Network,
                "[Match]\nName=ens192\nDriver=vmxnet3\nVirtualization=vmware\n[Network]\nDHCP=yes\n",
                "[Match]\nName=ens192\nPath=*pci-*\nVirtualization=vm\n[Network]\nDHCP=yes\n",
            ),
            (
                Form::Netplan,
                "network:\n  ethernets:\n    lan:\n      match:\n        driver: vmxnet3\n        name: ens224\n",
                "network:\n  ethernets:\n    lan:\n      match:\n        name: ens224\n",
            ),
            (
                Form::Netplan,
                "network: {ethernets: {lan: {match: {name: ens224}, set-name: lan0}}}\n",
                "network: {ethernets: {lan: {match: {macaddress: \"00:50:56:aa:bb:02\"}, set-name: lan0}}}\n",
            ),
            (
                Form::Profile,
                "[connection]\ntype=ethernet\n[match]\npath=pci-0000:0b:00.0;\n[ipv4]\nmethod=auto\n",
                "[connection]\ntype=ethernet\n[match]\n[ipv4]\nmethod=auto\n\n[ethernet]\nmac-address=00:50:56:aa:bb:01\n",
            ),
            (
                Form::Rules,
                "SUBSYSTEM==\"net\",KERNELS==\"0000:0b:00.0\",NAME=\"lan0\"\n",
                "SUBSYSTEM==\"net\",ATTR{address}==\"00:50:56:aa:bb:01\", DRIVERS==\"?*\",NAME=\"lan0\"\n",
            ),
            (
                Form::Rules,
                "DRIVERS==\"vmxnet3\", KERNELS==\"0000:13:00.0\", NAME=\"lan0\"\n",
                "ATTR{address}==\"00:50:56:aa:bb:02\", DRIVERS==\"?*\", DRIVERS==\"?*\", NAME=\"lan0\"\n",
            ),
            (
                Form::Network,
                "[Match]\nDriver=vmxnet3\nPath=pci-0000:13:00.0\n[Network]\nDHCP=yes\n",
                "[Match]\nMACAddress=00:50:56:aa:bb:02\nPath=*pci-*\nPath=*pci-*\n[Network]\nDHCP=yes\n",
            ),
            (
                Form::Link,
                "[Match]\nPath=pci-0000:0b:00.0\nDriver=vmxnet3\n[Link]\nName=lan0\n",
                "[Match]\nMACAddress=00:50:56:aa:bb:01\nPath=*pci-*\nPath=*pci-*\n[Link]\nName=lan0\n",
            ),
        ] {
            let (after, mended) = run(form, text, &two, &[]);
            assert_eq!((after.as_str(), mended.lost.len()), (right, 0), "{text}");
        }
    }

    #[test]
    fn selections_that_cannot_be_helped_are_told() {
        let unknown = [card(1, None), card(2, None)];
        for (form, text, words) in [
            (Form::Network, "[Match]\nPath=pci-0000:0b:00.0\n", "Path=pci-0000:0b:00.0"),
            (
                Form::Netplan,
                "network: {ethernets: {a: {match: {driver: vmxnet3}}}}\n",
                "driver: vmxnet3",
            ),
            (
                Form::Rules,
                "KERNELS==\"0000:0b:00.0\", NAME=\"lan0\"\n",
                "KERNELS==\"0000:0b:00.0\"",
            ),
        ] {
            let (after, mended) = run(form, text, &unknown, &[]);
            assert_eq!((after.as_str(), mended.lost.as_slice()), (text, &[words.to_owned()][..]));
        }
        let holds = "network: {ethernets: {a: {match: {driver: virtio_net}}}}\n";
        assert_eq!(run(Form::Netplan, holds, &unknown, &[]).1, Mended::default());
    }

    #[test]
    fn names_change_wherever_they_stand() {
        let two = cards(&[192, 224]);
        for (form, text, right) in [
            (
                Form::Ifupdown,
                "auto eth0 eth0.5\niface eth0 inet dhcp\niface br0 inet dhcp\n  bridge_ports eth0 eth1\n",
                "auto net0 net0.5\niface net0 inet dhcp\niface br0 inet dhcp\n  bridge_ports net0 eth1\n",
            ),
            (
                Form::Netplan,
                "network: {ethernets: {\"eth0\": {}}, vlans: {v: {link: eth0, id: 5}}}\n",
                "network: {ethernets: {\"net0\": {}}, vlans: {v: {link: net0, id: 5}}}\n",
            ),
            (
                Form::Network,
                "[Match]\nName=eth1 eth0\n[Network]\nBond=b\n",
                "[Match]\nName=eth1 net0\n[Network]\nBond=b\n",
            ),
            (Form::Ifcfg, "DEVICE='eth0'\nNAME=eth0\n", "DEVICE='net0'\nNAME=eth0\n"),
            (
                Form::Rules,
                "ATTR{address}==\"00:50:56:aa:bb:01\", NAME=\"eth0\"\n",
                "ATTR{address}==\"00:50:56:aa:bb:01\", NAME=\"net0\"\n",
            ),
        ] {
            assert_eq!(run(form, text, &two, &[("eth0", "net0")]).0, right);
        }
        // Both at once.
        let both = "iface eth0 inet dhcp\niface eth1 inet dhcp\n";
        let swapped = run(Form::Ifupdown, both, &two, &[("eth0", "eth1"), ("eth1", "eth0")]).0;
        assert_eq!(swapped, "iface eth1 inet dhcp\niface eth0 inet dhcp\n");
    }
}
