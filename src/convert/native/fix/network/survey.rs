//! Combines all files: one subject for each name of a card, or for each MAC address that a
//! configuration selects without a name.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::MacAddress;

use super::claim::{ClaimRole, NameClaim, Says, Spot};
use super::place::{Card, Meant, meant_by_all};
use super::selection::{Selected, Selection};
use super::virtual_names::{base, is_no_interface, is_valid, is_well_known};

/// Most subjects; a guest has fewer cards by far.
const MOST: usize = 1_000;

/// Facts about one card that the guest's files mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Subject {
    /// Name of the card; none where the configuration selects only by MAC address.
    pub(super) name: Option<String>,
    /// MAC addresses that the configuration selects.
    pub(super) macs: Vec<MacAddress>,
    /// MAC addresses in rules that give the name.
    pub(super) ruled_macs: Vec<MacAddress>,
    /// MAC addresses in leases.
    pub(super) leased_macs: Vec<MacAddress>,
    /// Cards that match a selection by place or driver.
    pub(super) places: Vec<usize>,
    /// Addresses as configured.
    pub(super) addresses: Vec<String>,
    /// Addresses in leases.
    pub(super) leased: Vec<String>,
    /// The first file for the card, of files that take turns.
    pub(super) turn: Option<String>,
    /// Whether a configuration names the card, and not only a rule or a lease.
    pub(super) is_configured: bool,
    /// Whether a configuration brings the card up at the start of the guest.
    pub(super) is_active: bool,
}

impl Subject {
    /// MAC addresses that identify the card, those of rules first.
    pub(super) fn identities(&self) -> impl Iterator<Item = MacAddress> {
        self.ruled_macs.iter().chain(&self.macs).copied()
    }

    fn add(&mut self, claim: &NameClaim, cards: &[Card]) {
        let macs = claim.macs.iter().map(|spot| spot.mac);
        let addresses = claim.addresses.iter().cloned();
        match claim.role {
            ClaimRole::Configures => {
                self.macs.extend(macs);
                self.addresses.extend(addresses);
                self.is_configured = true;
                self.is_active |= !claim.is_idle;
                let turns = self.turn.take().into_iter().chain(claim.turn.clone());
                self.turn = turns.min();
            }
            ClaimRole::Renames => self.ruled_macs.extend(macs),
            ClaimRole::Mentions => {}
            ClaimRole::Remembers => {
                self.leased_macs.extend(macs);
                self.leased.extend(addresses);
            }
        }
        let told = claim.hardware.iter().filter(|hardware| !hardware.is_of_any());
        let mut places = told.map(|hardware| hardware.selected(cards));
        if let Some(first) = places.next() {
            let both = |one: Vec<usize>, other: Vec<usize>| {
                one.into_iter().filter(|card| other.contains(card)).collect()
            };
            if let [card] = places.fold(first, both).as_slice() {
                self.places.push(*card);
            }
        }
    }

    fn tidy(&mut self) {
        for list in [&mut self.addresses, &mut self.leased] {
            let mut seen = BTreeSet::new();
            list.retain(|one| seen.insert(one.clone()));
        }
    }
}

/// All subjects, and the selections that do not distinguish cards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Survey {
    pub(super) subjects: Vec<Subject>,
    /// Selections of configurations that name no card.
    pub(super) selections: Vec<Selection>,
    /// Cards that configurations without a name select by place or driver, with their addresses.
    pub(super) selected: BTreeMap<usize, Selected>,
    /// Whether the guest has any configuration of a network.
    pub(super) is_configured: bool,
    /// Names in use, including those of software interfaces.
    pub(super) taken: BTreeSet<String>,
    /// Software interfaces whose name contains no card.
    pub(super) placed: BTreeSet<String>,
}

impl Survey {
    /// Combines the statements of all files.
    pub(super) fn of(says: &[Says], cards: &[Card]) -> Self {
        let made: BTreeSet<&str> =
            says.iter().flat_map(|says| &says.makes).map(String::as_str).collect();
        let claims = says.iter().flat_map(|says| &says.claims);
        let names: BTreeSet<_> =
            claims.flat_map(|claim| &claim.names).map(|name| name.value.as_str()).collect();
        // `dmz.100` with another card named is on no card `dmz`, unless something else names `dmz`.
        let placed = says.iter().flat_map(|says| &says.placed);
        let placed = placed.filter(|name| !names.contains(base(name))).cloned().collect();
        let mut survey = Self { placed, ..Self::default() };
        // Claims with a name first, so that those by MAC address alone find the name of their card.
        for nameless in [false, true] {
            for claim in says.iter().flat_map(|says| &says.claims) {
                survey.add(claim, &made, cards, nameless);
            }
        }
        survey.subjects.iter_mut().for_each(Subject::tidy);
        // A bond without known ports is a configuration as well.
        survey.is_configured |= made.iter().any(|name| *name != "lo");
        survey.taken.extend(made.into_iter().map(str::to_owned));
        survey
    }

    fn add(&mut self, claim: &NameClaim, made: &BTreeSet<&str>, cards: &[Card], nameless: bool) {
        let names = self.names(claim, made, cards);
        // A claim about software interfaces alone.
        let is_software = names.is_empty() && !claim.names.is_empty() && claim.patterns.is_empty();
        if is_software {
            // The port of `br0` may be named in a file that is not read, but the guest has a
            // network.
            let is_interface = |name: &Spot<String>| !is_no_interface(&name.value);
            self.is_configured |=
                claim.role == ClaimRole::Configures && claim.names.iter().any(is_interface);
        }
        if is_software || nameless != names.is_empty() {
            return;
        }
        if claim.role == ClaimRole::Configures {
            self.is_configured |= claim.selects();
            self.selections.extend(Selection::of(claim, !nameless, cards));
        }
        if !nameless {
            // With several names and one MAC address, it is unknown which name is meant.
            let claim = if names.len() == 1 { claim } else { &bare(claim) };
            let is_vlan = claim.names.iter().any(|name| name.value.contains('.'));
            for name in names {
                let Some(subject) = self.named(&name) else { continue };
                if is_vlan {
                    // Addresses of a VLAN show which card it is on, and are not the card's.
                    subject.leased.extend(claim.addresses.iter().cloned());
                    subject.add(&NameClaim { addresses: Vec::new(), ..claim.clone() }, cards);
                } else {
                    subject.add(claim, cards);
                }
                self.taken.insert(name);
            }
        } else if claim.role == ClaimRole::Configures {
            self.add_nameless(claim, cards);
        }
    }

    fn add_nameless(&mut self, claim: &NameClaim, cards: &[Card]) {
        if claim.macs.is_empty() {
            let Meant::Cards(meant) = meant_by_all(&claim.hardware, cards) else { return };
            for card in meant {
                self.selected.entry(card).or_default().add(claim);
            }
            return;
        }
        for spot in &claim.macs {
            let is_full = self.subjects.len() >= MOST;
            let hardware = claim.hardware.clone();
            let own = NameClaim { macs: vec![spot.clone()], hardware, ..bare(claim) };
            let is_own = |subject: &&mut Subject| subject.identities().any(|mac| mac == spot.mac);
            match self.subjects.iter_mut().find(is_own) {
                Some(subject) => subject.add(&own, cards),
                None if is_full => {}
                None => {
                    let mut subject = Subject::default();
                    subject.add(&own, cards);
                    self.subjects.push(subject);
                }
            }
        }
    }

    /// The names of cards in a claim.
    fn names(&self, claim: &NameClaim, made: &BTreeSet<&str>, cards: &[Card]) -> Vec<String> {
        let is_cards = |name: &str| {
            let known = is_well_known(name) && claim.role != ClaimRole::Renames;
            is_valid(name) && !made.contains(name) && !known
        };
        let plain = claim.names.iter().map(|name| self.card_of(&name.value));
        let likely = claim.likely.as_deref().filter(|name| is_likely(name, claim, cards));
        let mut names: Vec<_> = plain.chain(likely).filter(|name| is_cards(name)).collect();
        names.dedup();
        names.into_iter().map(str::to_owned).collect()
    }

    /// The name of the card that an interface is on: `ens192` of `ens192.5`, and the full name
    /// where it contains no card.
    pub(super) fn card_of<'a>(&self, name: &'a str) -> &'a str {
        if self.placed.contains(name) { name } else { base(name) }
    }

    /// The subject of that name; none where the limit is reached.
    fn named(&mut self, name: &str) -> Option<&mut Subject> {
        let index = self.subjects.iter().position(|own| own.name.as_deref() == Some(name));
        let index = index.unwrap_or(self.subjects.len());
        if index == self.subjects.len() && index < MOST {
            self.subjects.push(Subject { name: Some(name.to_owned()), ..Subject::default() });
        }
        self.subjects.get_mut(index)
    }
}

/// A claim without the parts that distinguish cards.
fn bare(claim: &NameClaim) -> NameClaim {
    let (addresses, turn) = (claim.addresses.clone(), claim.turn.clone());
    NameClaim { role: claim.role, addresses, turn, ..NameClaim::default() }
}

/// Whether a label is the card's name: a label such as `ens192` over a MAC address is, unless the
/// card is in another slot.
fn is_likely(name: &str, claim: &NameClaim, cards: &[Card]) -> bool {
    let tells_place = name.starts_with("ens") || name.starts_with("enp") || name.starts_with("eno");
    let own = |card: &&Card| claim.macs.iter().any(|spot| Some(spot.mac) == card.mac);
    tells_place && cards.iter().find(own).is_none_or(|card| card.fits(name) != Some(false))
}

#[cfg(test)]
mod tests {
    use super::super::forms::{Form, Text, read};
    use super::super::place::tests::cards;
    use super::*;

    fn survey(files: &[(Form, &str)]) -> Survey {
        let text = |(index, (form, text)): (usize, &(Form, &str))| Text {
            form: *form,
            path: format!("/etc/{index}"),
            text: (*text).to_owned(),
        };
        let files: Vec<_> = files.iter().enumerate().map(text).collect();
        Survey::of(&read(&files.iter().collect::<Vec<_>>()), &cards(&[192, 224]))
    }

    fn names(survey: &Survey) -> Vec<&str> {
        survey.subjects.iter().map(|subject| subject.name.as_deref().unwrap_or("-")).collect()
    }

    #[test]
    fn files_are_merged_by_name_and_software_is_left_out() {
        let survey = survey(&[
            (Form::Ifupdown, "auto lo bond0\niface bond0 inet dhcp\n  bond-slaves ens192 ens224\n"),
            (
                Form::Ifupdown,
                "iface ens192 inet static\n  address 192.0.2.7/24\niface br0 inet dhcp\n",
            ),
            (Form::Rules, "ATTR{address}==\"00:50:56:aa:bb:02\", NAME=\"ens224\"\n"),
        ]);
        assert_eq!(names(&survey), ["ens192", "ens224"]);
        assert_eq!(survey.subjects[0].addresses, ["192.0.2.7/24"]);
        assert_eq!(survey.subjects[1].ruled_macs.len(), 1);
        assert!(survey.is_configured && survey.taken.contains("bond0"));
    }

    #[test]
    fn a_profile_by_mac_alone_finds_the_name_of_its_card() {
        let profile = "[connection]\ntype=ethernet\n[ethernet]\nmac-address=00:50:56:aa:bb:01\n[ipv4]\naddress1=192.0.2.7/24\n";
        let survey = survey(&[
            (Form::Profile, profile),
            (Form::Rules, "ATTR{address}==\"00:50:56:aa:bb:01\", NAME=\"lan0\"\n"),
        ]);
        assert_eq!(names(&survey), ["lan0"]);
        assert_eq!(survey.subjects[0].addresses, ["192.0.2.7/24"]);
    }

    #[test]
    fn a_vlan_on_another_card_tells_of_no_card_of_its_own_name() {
        for (form, text, found) in [
            (Form::Ifcfg, "DEVICE=dmz.100\nVLAN=yes\nPHYSDEV=ens192\n", vec!["ens192"]),
            (
                Form::Profile,
                "[connection]\ntype=vlan\ninterface-name=dmz.100\n[vlan]\nparent=ens192\n",
                vec!["ens192"],
            ),
            (Form::NetDev, "[NetDev]\nName=dmz.100\nKind=vlan\n", vec![]),
            (
                Form::Netplan,
                "network:\n  ethernets:\n    lan: {match: {macaddress: '00:50:56:aa:bb:01'}}\n  vlans:\n    lan.5: {id: 5, link: lan}\n",
                vec!["-"],
            ),
            (
                Form::Ifupdown,
                "auto dmz.100\niface dmz.100 inet static\n  vlan-raw-device ens192\n",
                vec!["ens192"],
            ),
            // The card is named by the VLAN alone, or elsewhere as well.
            (Form::Ifcfg, "DEVICE=ens192.5\nVLAN=yes\n", vec!["ens192"]),
            (
                Form::Ifupdown,
                "iface ens192.5 inet static\n  address 192.0.2.7/24\n  vlan-raw-device ens192\n",
                vec!["ens192"],
            ),
        ] {
            assert_eq!(names(&survey(&[(form, text)])), found, "{text}");
        }
    }

    #[test]
    fn labels_are_names_only_where_they_fit() {
        for (id, mac, found) in [
            ("ens192", "00:50:56:aa:bb:01", "ens192"),
            ("ens192", "00:50:56:aa:bb:02", "-"),
            ("lan", "00:50:56:aa:bb:01", "-"),
            ("ens192", "00:50:56:00:00:99", "ens192"),
        ] {
            let text =
                format!("network: {{ethernets: {{{id}: {{match: {{macaddress: '{mac}'}}}}}}}}\n");
            assert_eq!(names(&survey(&[(Form::Netplan, &text)])), [found], "{id}");
        }
    }

    #[test]
    fn patterns_and_hardware_select_without_a_name() {
        let survey = survey(&[
            (Form::Network, "[Match]\nName=en*\n[Network]\nDHCP=yes\n"),
            (Form::Network, "[Match]\nPath=pci-0000:0b:00.0\n[Network]\nDHCP=yes\n"),
            (Form::Network, "[Match]\nName=br0\nDriver=bridge\n[Network]\nDHCP=yes\n"),
        ]);
        assert!(names(&survey).is_empty(), "{survey:?}");
        let by_pattern = Selection { patterns: vec!["en*".to_owned()], cards: None };
        let by_place = Selection { patterns: Vec::new(), cards: Some(vec![0]) };
        assert_eq!(survey.selections, [by_pattern, by_place]);
        assert_eq!(survey.selected.keys().copied().collect::<Vec<_>>(), [0]);
        assert!(survey.is_configured);
    }

    #[test]
    fn only_leases_are_no_configuration() {
        let lease = "lease {\n interface \"ens192\";\n fixed-address 192.0.2.7;\n}\n";
        let survey = survey(&[(Form::DhclientLeases, lease)]);
        assert!(!survey.is_configured && !survey.subjects[0].is_configured);
        assert_eq!(survey.subjects[0].leased, ["192.0.2.7"]);
    }
}
