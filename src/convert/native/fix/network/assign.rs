//! Which card of the VM has which name, the surest evidence first. A function of what is known.

use std::collections::{BTreeMap, BTreeSet};

use super::place::{Card, kernel_order};
use super::survey::{Subject, Survey};

/// What told that a name is of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// A rule that gives the name to the card's MAC address.
    Rule,
    /// The MAC address in a configuration.
    Mac,
    /// The MAC address in a lease.
    LeasedMac,
    /// The place on VMware's bus.
    Slot,
    /// A selection by place or driver, without a name.
    Hardware,
    /// An address that the guest's tools reported.
    Address,
    /// One name and one card.
    Alone,
    /// All other cards have their names.
    LastOne,
    /// The order of names and of cards.
    Order,
}

impl How {
    /// For the report.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "a rule of the guest",
            Self::Mac => "its configuration",
            Self::LeasedMac => "its DHCP lease",
            Self::Slot => "its slot",
            Self::Hardware => "its hardware",
            Self::Address => "its address",
            Self::Alone => "there is only one",
            Self::LastOne => "the other cards have their names",
            Self::Order => "the order of the cards",
        }
    }
}

/// A subject and its card, by their indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tie {
    pub(super) subject: usize,
    pub(super) card: usize,
    pub(super) how: How,
}

/// Which subject is of which card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Assigned {
    pub(super) ties: Vec<Tie>,
    /// Subjects whose tie is a guess.
    pub(super) in_doubt: Vec<usize>,
}

impl Assigned {
    /// The card of a subject.
    pub(super) fn card_of(&self, subject: usize) -> Option<usize> {
        self.ties.iter().find(|tie| tie.subject == subject).map(|tie| tie.card)
    }

    /// The card of each name.
    pub(super) fn by_name<'a>(&self, survey: &'a Survey) -> BTreeMap<&'a str, usize> {
        let name = |tie: &Tie| Some((survey.subjects[tie.subject].name.as_deref()?, tie.card));
        self.ties.iter().filter_map(name).collect()
    }

    /// The ties of a card.
    pub(super) fn of_card(&self, card: usize) -> impl Iterator<Item = &Tie> {
        self.ties.iter().filter(move |tie| tie.card == card)
    }
}

/// Ties subjects to cards; `kernel_names` says whether the guest uses the kernel's names.
pub(super) fn assign(survey: &Survey, cards: &[Card], kernel_names: bool) -> Assigned {
    let mut assigning = Assigning { survey, cards, done: Assigned::default() };
    assigning.by_mac();
    assigning.by_place(kernel_names);
    assigning.by_address();
    assigning.by_elimination();
    assigning.by_order();
    assigning.by_memory();
    assigning.done
}

struct Assigning<'a> {
    survey: &'a Survey,
    cards: &'a [Card],
    done: Assigned,
}

impl Assigning<'_> {
    fn by_mac(&mut self) {
        self.each(How::Rule, |subject, card| has(card, &subject.ruled_macs));
        self.each(How::Mac, |subject, card| has(card, &subject.macs));
        // The configuration names the address that --new-mac replaced; it is rewritten.
        self.each(How::Mac, |subject, card| {
            had(card, &subject.macs) || had(card, &subject.ruled_macs)
        });
    }

    fn by_place(&mut self, kernel_names: bool) {
        let cards = self.cards;
        let index = |card: &Card| cards.iter().position(|own| std::ptr::eq(own, card));
        self.each(How::Slot, |subject, card| {
            let places: BTreeSet<_> = subject.places.iter().collect();
            places.len() == 1 && places.first().copied().copied() == index(card)
        });
        self.each(How::Slot, |subject, card| {
            let name = subject.name.as_deref().filter(|_| subject.is_configured);
            name.is_some_and(|name| card.fits(name) == Some(true))
        });
        if let Some(order) = kernel_order(cards).filter(|_| kernel_names) {
            self.each(How::Slot, |subject, card| {
                let name = subject.name.as_deref().and_then(eth_number);
                name.is_some_and(|number| order.get(number).copied() == index(card))
            });
        }
    }

    fn by_address(&mut self) {
        self.each(How::LeasedMac, |subject, card| {
            subject.is_configured && has(card, &subject.leased_macs)
        });
        self.by_address_of(|subject| &subject.addresses);
        self.by_address_of(|subject| &subject.leased);
    }

    fn by_address_of(&mut self, list: fn(&Subject) -> &[String]) {
        let cards = self.cards;
        self.each(How::Address, |subject, card| {
            let on = |card: &Card| share(list(subject), &card.addresses);
            // An address on two cards tells neither.
            subject.is_configured && on(card) && cards.iter().filter(|card| on(card)).count() == 1
        });
    }

    /// Names that only leases know, for cards that no configuration names.
    fn by_memory(&mut self) {
        self.each(How::LeasedMac, |subject, card| has(card, &subject.leased_macs));
    }

    fn by_elimination(&mut self) {
        let open = self.open();
        let [subject] = open.as_slice() else { return };
        let free = self.free();
        let fitting: Vec<_> = free.iter().filter(|card| self.may_be(*subject, **card)).collect();
        let is_alone = self.cards.len() == 1;
        let how = if is_alone { How::Alone } else { How::LastOne };
        match (fitting.as_slice(), free.as_slice()) {
            ([card], [_]) => self.tie(*subject, **card, how),
            // The name is of another slot, and there is nothing else that it could be of.
            ([], [card]) if is_alone && self.named_ties().next().is_none() => {
                self.tie(*subject, *card, How::Order);
                self.done.in_doubt.push(*subject);
            }
            _ => {}
        }
    }

    /// Names and cards in their order, where there are as many of the one as of the other and the
    /// names are alike. Two kinds of names have no order among each other.
    fn by_order(&mut self) {
        let (mut open, free) = (self.open(), self.free());
        let name = |index: usize| self.survey.subjects[index].name.as_deref().unwrap_or_default();
        open.sort_by_key(|index| natural(name(*index)));
        let stems: BTreeSet<_> = open.iter().map(|index| stem(name(*index))).collect();
        let is_numbered =
            open.iter().all(|index| name(*index).ends_with(|c: char| c.is_ascii_digit()));
        // Where other cards are known by their MAC addresses, these cards are not what they were.
        let stale =
            open.iter().any(|index| self.survey.subjects[*index].identities().next().is_some());
        let known = self.done.ties.iter().any(|tie| [How::Rule, How::Mac].contains(&tie.how));
        let pairs: Vec<_> = open.iter().copied().zip(free.iter().copied()).collect();
        let fits = pairs.iter().all(|(subject, card)| self.may_be(*subject, *card));
        if open.len() < 2 || open.len() != free.len() || stems.len() > 1 {
            return;
        }
        if !is_numbered || !fits || stale && known {
            return;
        }
        for (subject, card) in pairs {
            self.tie(subject, card, How::Order);
            self.done.in_doubt.push(subject);
        }
    }

    /// Ties every subject that is open to the one card that it has this evidence for.
    fn each(&mut self, how: How, is_evidence: impl Fn(&Subject, &Card) -> bool) {
        for (index, subject) in self.survey.subjects.iter().enumerate() {
            if self.done.card_of(index).is_some() {
                continue;
            }
            let found = self.cards.iter().position(|card| is_evidence(subject, card));
            if let Some(card) = found.filter(|card| self.is_free(subject, *card)) {
                self.tie(index, card, how);
            }
        }
    }

    fn tie(&mut self, subject: usize, card: usize, how: How) {
        self.done.ties.push(Tie { subject, card, how });
    }

    /// A card has one name; configurations without a name may share it.
    fn is_free(&self, subject: &Subject, card: usize) -> bool {
        subject.name.is_none() || !self.named_ties().any(|tie| tie.card == card)
    }

    fn named_ties(&self) -> impl Iterator<Item = &Tie> {
        self.done.ties.iter().filter(|tie| self.survey.subjects[tie.subject].name.is_some())
    }

    /// Configured subjects without a card; where there are more of them than cards, those that come up at
    /// the start of the guest: the others are of cards that are gone.
    fn open(&self) -> Vec<usize> {
        let subjects = self.survey.subjects.iter().enumerate();
        let open = subjects
            .filter(|(index, own)| own.is_configured && self.done.card_of(*index).is_none());
        let open: Vec<_> = open.map(|(index, _)| index).collect();
        let active: Vec<_> =
            open.iter().copied().filter(|index| self.survey.subjects[*index].is_active).collect();
        let chosen = !active.is_empty() && open.len() > self.free().len();
        if chosen { active } else { open }
    }

    /// Cards without a name: those that nothing else configures, else all.
    fn free(&self) -> Vec<usize> {
        let nameless = |card: &usize| !self.named_ties().any(|tie| tie.card == *card);
        let all: Vec<_> = (0..self.cards.len()).filter(nameless).collect();
        let is_bare = |card: &&usize| {
            !self.survey.selected.contains_key(card) && self.done.of_card(**card).next().is_none()
        };
        let bare: Vec<_> = all.iter().filter(is_bare).copied().collect();
        if bare.is_empty() { all } else { bare }
    }

    /// Whether nothing speaks against the tie.
    fn may_be(&self, subject: usize, card: usize) -> bool {
        let name = self.survey.subjects[subject].name.as_deref();
        name.is_none_or(|name| self.cards[card].fits(name) != Some(false))
    }
}

fn had(card: &Card, macs: &[crate::model::MacAddress]) -> bool {
    card.source_mac.is_some_and(|mac| macs.contains(&mac))
}

fn has(card: &Card, macs: &[crate::model::MacAddress]) -> bool {
    card.mac.is_some_and(|mac| macs.contains(&mac))
}

/// Whether two lists share an address, the length of the prefix left aside.
fn share(own: &[String], seen: &[String]) -> bool {
    let bare = |text: &str| text.split('/').next().unwrap_or(text).to_ascii_lowercase();
    own.iter().any(|own| seen.iter().any(|seen| bare(own) == bare(seen)))
}

/// The number of a name of the kernel's.
pub(super) fn eth_number(name: &str) -> Option<usize> {
    let digits = name.strip_prefix("eth")?;
    let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number && (digits == "0" || !digits.starts_with('0')))
}

/// `ens9` before `ens192`, `enp11s0` before `enp19s0`.
pub(super) fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let word = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let tail = &rest[word..];
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        parts.push((rest[..word].to_owned(), tail[..end].parse().unwrap_or(u64::MAX)));
        rest = &tail[end..];
    }
    parts
}

fn stem(name: &str) -> String {
    name.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::place::tests::{card, cards};
    use super::*;
    use crate::model::MacAddress;

    fn named(name: &str) -> Subject {
        Subject { name: Some(name.to_owned()), is_configured: true, ..Subject::default() }
    }

    fn mac(last: u8) -> MacAddress {
        format!("00:50:56:aa:bb:{last:02x}").parse().expect("an address")
    }

    fn survey(subjects: Vec<Subject>) -> Survey {
        Survey { subjects, is_configured: true, ..Survey::default() }
    }

    /// Name, index of the card, evidence.
    fn ties(subjects: Vec<Subject>, cards: &[Card], kernel: bool) -> Vec<(String, usize, How)> {
        let survey = survey(subjects);
        let assigned = assign(&survey, cards, kernel);
        let name = |tie: &Tie| survey.subjects[tie.subject].name.clone().unwrap_or("-".to_owned());
        let mut ties: Vec<_> =
            assigned.ties.iter().map(|tie| (name(tie), tie.card, tie.how)).collect();
        ties.sort_by_key(|(_, card, _)| *card);
        ties
    }

    fn tie(name: &str, card: usize, how: How) -> (String, usize, How) {
        (name.to_owned(), card, how)
    }

    #[test]
    fn one_name_and_one_card_belong_together() {
        let alone = [card(1, None)];
        assert_eq!(ties(vec![named("ens192")], &alone, false), [tie("ens192", 0, How::Alone)]);
        assert_eq!(ties(vec![named("lan")], &cards(&[192]), false), [tie("lan", 0, How::Alone)]);
    }

    #[test]
    fn the_slot_is_exact() {
        let subjects = || vec![named("ens192"), named("ens224")];
        let swapped = cards(&[224, 192]);
        assert_eq!(
            ties(subjects(), &swapped, false),
            [tie("ens224", 0, How::Slot), tie("ens192", 1, How::Slot)]
        );
        let many = cards(&[1184, 192, 224, 256]);
        let names = ["ens161", "enp11s0", "eno50336512", "ens256"].map(named).to_vec();
        let found = ties(names, &many, false);
        assert!(found.iter().all(|(.., how)| *how == How::Slot) && found.len() == 4, "{found:?}");
    }

    #[test]
    fn a_mac_address_goes_before_the_slot_and_the_slot_before_addresses() {
        let by_mac = Subject { macs: vec![mac(1)], ..named("ens224") };
        let by_address = Subject { addresses: vec!["192.0.2.7/24".to_owned()], ..named("ens192") };
        let mut two = cards(&[192, 224]);
        two[1].addresses = vec!["fe80::1/64".to_owned(), "192.0.2.7/24".to_owned()];
        assert_eq!(
            ties(vec![by_mac, by_address.clone()], &two, false),
            [tie("ens224", 0, How::Mac), tie("ens192", 1, How::Address)]
        );
        assert_eq!(ties(vec![by_address], &two, false), [tie("ens192", 0, How::Slot)]);
    }

    #[test]
    fn addresses_of_tools_and_leases_tell_the_card() {
        let mut two = [card(1, None), card(2, None)];
        two[1].addresses = vec!["192.0.2.7/24".to_owned()];
        let leased = Subject { leased: vec!["192.0.2.7".to_owned()], ..named("lan") };
        assert_eq!(
            ties(vec![leased, named("wan")], &two, false),
            [tie("wan", 0, How::LastOne), tie("lan", 1, How::Address)]
        );
        let by_lease = Subject { leased_macs: vec![mac(2)], ..named("wan") };
        assert_eq!(ties(vec![by_lease], &two, false), [tie("wan", 1, How::LeasedMac)]);
        two[0].addresses = vec!["192.0.2.7/24".to_owned()];
        let both = Subject { addresses: vec!["192.0.2.7/24".to_owned()], ..named("lan") };
        assert!(ties(vec![both], &two, false).is_empty(), "an address on two cards");
    }

    #[test]
    fn the_address_that_a_new_one_replaced_tells_the_card() {
        let mut two = cards(&[192, 224]);
        two[1].source_mac = Some(mac(77));
        let old = Subject { macs: vec![mac(77)], ..named("lan") };
        assert_eq!(ties(vec![old], &two, false), [tie("lan", 1, How::Mac)]);
    }

    #[test]
    fn a_stale_mac_falls_through_to_the_next_evidence() {
        let stale = |name: &str| Subject { macs: vec![mac(99)], ..named(name) };
        assert_eq!(
            ties(vec![stale("ens192")], &cards(&[224, 192]), false),
            [tie("ens192", 1, How::Slot)]
        );
        assert_eq!(ties(vec![stale("lan")], &cards(&[192]), false), [tie("lan", 0, How::Alone)]);
        let other = Subject { macs: vec![mac(1)], ..named("lan0") };
        let two = [card(1, None), card(2, None)];
        assert_eq!(
            ties(vec![stale("lan1"), other.clone()], &two, false),
            [tie("lan0", 0, How::Mac), tie("lan1", 1, How::LastOne)]
        );
        let three = [card(1, None), card(2, None), card(3, None)];
        let doubtful = ties(vec![stale("lan1"), stale("lan2"), other], &three, false);
        assert_eq!(doubtful, [tie("lan0", 0, How::Mac)]);
    }

    #[test]
    fn order_needs_as_many_names_of_one_kind_as_cards() {
        let two = [card(1, None), card(2, None)];
        assert_eq!(
            ties(vec![named("ens224"), named("ens192")], &two, false),
            [tie("ens192", 0, How::Order), tie("ens224", 1, How::Order)]
        );
        for names in [
            vec!["ens224"],
            vec!["ens192", "ens224", "ens256"],
            vec!["eth0", "ens192"],
            vec!["lan", "wan"],
        ] {
            let subjects = names.iter().map(|name| named(name)).collect();
            assert!(ties(subjects, &two, false).is_empty(), "{names:?}");
        }
    }

    #[test]
    fn a_name_that_stays_down_makes_way_where_there_are_too_few_cards() {
        let active = |name: &str| Subject { is_active: true, ..named(name) };
        let names = || vec![named("ens33"), active("ens192")];
        assert_eq!(ties(names(), &[card(1, None)], false), [tie("ens192", 0, How::Alone)]);
        let two = [card(1, None), card(2, None)];
        assert_eq!(ties(names(), &two, false).len(), 2, "there is a card for each");
        assert!(ties(vec![active("ens33"), active("ens192")], &two[..1], false).is_empty());
    }

    #[test]
    fn a_name_of_another_slot_is_not_given_to_a_card() {
        // ens256 is of a card that was removed, and nothing names the card in slot 224.
        let subjects = vec![named("ens192"), named("ens256")];
        assert_eq!(ties(subjects, &cards(&[192, 224]), false), [tie("ens192", 0, How::Slot)]);
        let survey = survey(vec![named("ens192")]);
        let assigned = assign(&survey, &cards(&[160]), false);
        assert_eq!((assigned.ties[0].how, assigned.in_doubt.len()), (How::Order, 1));
    }

    #[test]
    fn names_of_the_kernel_follow_the_bus() {
        let subjects = || vec![named("eth0"), named("eth1")];
        assert_eq!(
            ties(subjects(), &cards(&[224, 192]), true),
            [tie("eth1", 0, How::Slot), tie("eth0", 1, How::Slot)]
        );
        assert_eq!(
            ties(subjects(), &cards(&[224, 192]), false),
            [tie("eth0", 0, How::Order), tie("eth1", 1, How::Order)]
        );
    }

    #[test]
    fn a_configuration_without_a_name_shares_its_card() {
        let nameless = Subject { macs: vec![mac(1)], is_configured: true, ..Subject::default() };
        let parent = named("lan0");
        assert_eq!(
            ties(vec![nameless.clone(), parent.clone()], &[card(1, None)], false),
            [tie("-", 0, How::Mac), tie("lan0", 0, How::Alone)]
        );
        assert_eq!(
            ties(vec![nameless, parent], &[card(1, None), card(2, None)], false),
            [tie("-", 0, How::Mac), tie("lan0", 1, How::LastOne)]
        );
    }

    #[test]
    fn names_are_ordered_as_people_count() {
        let mut names = ["enp19s0", "enp11s0", "enp3s0", "ens192", "ens9"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["enp3s0", "enp11s0", "enp19s0", "ens9", "ens192"]);
        assert_eq!(
            ["eth0", "eth12", "eth", "eth01", "lan0"].map(eth_number),
            [Some(0), Some(12), None, None, None]
        );
    }
}
