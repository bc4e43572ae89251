//! Assigns names to the VM's cards, the strongest evidence first. A pure function of what is known.

use std::collections::{BTreeMap, BTreeSet};

use super::place::{Card, bus_order, kernel_order};
use super::survey::{Subject, Survey};
use super::virtual_names::is_well_known;

/// The evidence that a name belongs to a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameEvidence {
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
    /// An address that VMware Tools reported.
    Address,
    /// The only name and the only card.
    Alone,
    /// The last name and the last card, when all others are assigned.
    LastOne,
    /// The same position in the order of names and of cards.
    Order,
}

impl NameEvidence {
    /// The text for the report.
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
    pub(super) how: NameEvidence,
}

/// The card of each subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Assigned {
    pub(super) ties: Vec<Tie>,
    /// Subjects whose card is a guess.
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

/// Assigns subjects to cards; `kernel_names` is true where the guest uses the kernel's names.
pub(super) fn assign(survey: &Survey, cards: &[Card], kernel_names: bool) -> Assigned {
    let mut assigning = Assigning { survey, cards, done: Assigned::default() };
    assigning.by_mac();
    assigning.by_place(kernel_names);
    assigning.by_address();
    assigning.by_elimination();
    assigning.by_order(kernel_names);
    assigning.by_memory();
    assigning.by_only_rule();
    assigning.done
}

struct Assigning<'a> {
    survey: &'a Survey,
    cards: &'a [Card],
    done: Assigned,
}

impl Assigning<'_> {
    fn by_mac(&mut self) {
        self.each(NameEvidence::Rule, |subject, card| has(card, &subject.ruled_macs));
        self.each(NameEvidence::Mac, |subject, card| has(card, &subject.macs));
        let named_after = |subject: &Subject| subject.name.as_deref().and_then(mac_in);
        self.each(NameEvidence::Mac, |subject, card| {
            let mac = named_after(subject).filter(|_| subject.is_configured);
            mac.is_some() && [card.mac, card.source_mac].contains(&mac)
        });
        // The configuration names the address that --new-mac replaced; it is rewritten.
        self.each(NameEvidence::Mac, |subject, card| {
            had(card, &subject.macs) || had(card, &subject.ruled_macs)
        });
    }

    fn by_place(&mut self, kernel_names: bool) {
        let cards = self.cards;
        let index = |card: &Card| cards.iter().position(|own| std::ptr::eq(own, card));
        self.each(NameEvidence::Slot, |subject, card| {
            let places: BTreeSet<_> = subject.places.iter().collect();
            places.len() == 1 && places.first().copied().copied() == index(card)
        });
        self.each(NameEvidence::Slot, |subject, card| {
            let name = subject.name.as_deref().filter(|_| subject.is_configured);
            name.is_some_and(|name| card.fits(name) == Some(true))
        });
        if let Some(order) = kernel_order(cards).filter(|_| kernel_names) {
            self.each(NameEvidence::Slot, |subject, card| {
                let name = subject.name.as_deref().and_then(eth_number);
                name.is_some_and(|number| order.get(number).copied() == index(card))
            });
        }
    }

    fn by_address(&mut self) {
        self.each(NameEvidence::LeasedMac, |subject, card| {
            subject.is_configured && has(card, &subject.leased_macs)
        });
        self.by_address_of(|subject| &subject.addresses);
        self.by_address_of(|subject| &subject.leased);
    }

    fn by_address_of(&mut self, list: fn(&Subject) -> &[String]) {
        let cards = self.cards;
        self.each(NameEvidence::Address, |subject, card| {
            let on = |card: &Card| share(list(subject), &card.addresses);
            // An address on two cards identifies neither.
            subject.is_configured && on(card) && cards.iter().filter(|card| on(card)).count() == 1
        });
    }

    /// Assigns names that only leases contain to cards that no configuration names.
    fn by_memory(&mut self) {
        self.each(NameEvidence::LeasedMac, |subject, card| has(card, &subject.leased_macs));
    }

    /// Handles one card, and one rule that gives a name to a MAC address which no card has: the
    /// rule was for this card. Where a configuration selects the card by another name, such as
    /// `en*`, the rule was for a template's card. Under the rule's name nothing would configure the
    /// card.
    fn by_only_rule(&mut self) {
        let subjects = self.survey.subjects.iter().enumerate();
        let ruled = subjects.filter(|(_, own)| {
            let is_cards = own.name.as_deref().is_some_and(|name| !is_well_known(name));
            is_cards && !own.ruled_macs.is_empty()
        });
        let ruled: Vec<_> = ruled.map(|(index, _)| index).collect();
        let is_open = self.cards.len() == 1 && self.named_ties().next().is_none();
        if let ([subject], true) = (ruled.as_slice(), is_open)
            && self.may_be(*subject, 0)
            && !self.is_lost_to(*subject, 0)
        {
            self.tie(*subject, 0, NameEvidence::Alone);
        }
    }

    /// Whether a configuration that selects the card by a pattern would no longer match under the
    /// subject's name.
    fn is_lost_to(&self, subject: usize, card: usize) -> bool {
        let name = self.survey.subjects[subject].name.as_deref().unwrap_or_default();
        self.survey.selections.iter().any(|own| own.is_of(card) && !own.fits(name))
    }

    fn by_elimination(&mut self) {
        let open = self.open();
        let [subject] = open.as_slice() else { return };
        let free = self.free();
        let fitting: Vec<_> = free.iter().filter(|card| self.may_be(*subject, **card)).collect();
        let is_alone = self.cards.len() == 1;
        let how = if is_alone { NameEvidence::Alone } else { NameEvidence::LastOne };
        match (fitting.as_slice(), free.as_slice()) {
            ([card], [_]) => self.tie(*subject, **card, how),
            // The name is of another slot, but no other card exists.
            ([], [card]) if is_alone && self.named_ties().next().is_none() => {
                self.tie(*subject, *card, NameEvidence::Order);
                self.done.in_doubt.push(*subject);
            }
            _ => {}
        }
    }

    /// Assigns names to cards by their order, where both are equal in number and the names are of
    /// one kind. Names of two kinds have no common order.
    fn by_order(&mut self, kernel_names: bool) {
        let (mut open, mut free) = (self.open(), self.free());
        let name = |index: usize| self.survey.subjects[index].name.as_deref().unwrap_or_default();
        open.sort_by_key(|index| natural(name(*index)));
        if let Some(order) = bus_order(self.cards).filter(|_| kernel_names) {
            free.sort_by_key(|card| order.iter().position(|at| at == card));
        }
        let stems: BTreeSet<_> = open.iter().map(|index| stem(name(*index))).collect();
        let is_numbered =
            open.iter().all(|index| name(*index).ends_with(|c: char| c.is_ascii_digit()));
        // Where MAC addresses identify other cards, these cards have been replaced.
        let stale =
            open.iter().any(|index| self.survey.subjects[*index].identities().next().is_some());
        let known = self
            .done
            .ties
            .iter()
            .any(|tie| [NameEvidence::Rule, NameEvidence::Mac].contains(&tie.how));
        let pairs: Vec<_> = open.iter().copied().zip(free.iter().copied()).collect();
        let fits = pairs.iter().all(|(subject, card)| self.may_be(*subject, *card));
        if open.len() < 2 || open.len() != free.len() || stems.len() > 1 {
            return;
        }
        if !is_numbered || !fits || stale && known {
            return;
        }
        for (subject, card) in pairs {
            self.tie(subject, card, NameEvidence::Order);
            self.done.in_doubt.push(subject);
        }
    }

    /// Assigns every open subject to the one card that has this evidence.
    fn each(&mut self, how: NameEvidence, is_evidence: impl Fn(&Subject, &Card) -> bool) {
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

    fn tie(&mut self, subject: usize, card: usize, how: NameEvidence) {
        self.done.ties.push(Tie { subject, card, how });
    }

    /// Whether the card can take the subject: a card has one name, and configurations without a
    /// name may share it.
    fn is_free(&self, subject: &Subject, card: usize) -> bool {
        subject.name.is_none() || !self.named_ties().any(|tie| tie.card == card)
    }

    fn named_ties(&self) -> impl Iterator<Item = &Tie> {
        self.done.ties.iter().filter(|tie| self.survey.subjects[tie.subject].name.is_some())
    }

    /// Configured subjects without a card. Where they outnumber the cards, only those that come up
    /// at the guest's start: the others belong to removed cards.
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

    /// Cards without a name: those that nothing else configures, or else all.
    fn free(&self) -> Vec<usize> {
        let nameless = |card: &usize| !self.named_ties().any(|tie| tie.card == *card);
        let all: Vec<_> = (0..self.cards.len()).filter(nameless).collect();
        let is_bare = |card: &&usize| {
            !self.survey.selected.contains_key(card) && self.done.of_card(**card).next().is_none()
        };
        let bare: Vec<_> = all.iter().filter(is_bare).copied().collect();
        if bare.is_empty() { all } else { bare }
    }

    /// Whether no evidence contradicts the tie.
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

/// The MAC address in a name of systemd such as `enx005056aabb01`.
fn mac_in(name: &str) -> Option<crate::model::MacAddress> {
    let digits = name.strip_prefix("enx").filter(|digits| digits.len() == 12)?;
    let is_hex = digits.chars().all(|c| c.is_ascii_hexdigit());
    let number = u64::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    let [_, _, bytes @ ..] = number.to_be_bytes();
    Some(crate::model::MacAddress(bytes))
}

/// Whether two lists share an address, ignoring the length of the prefix.
fn share(own: &[String], seen: &[String]) -> bool {
    let bare = |text: &str| text.split('/').next().unwrap_or(text).to_ascii_lowercase();
    own.iter().any(|own| seen.iter().any(|seen| bare(own) == bare(seen)))
}

/// The number in a name of the kernel such as `eth0`.
pub(super) fn eth_number(name: &str) -> Option<usize> {
    let digits = name.strip_prefix("eth")?;
    let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number && (digits == "0" || !digits.starts_with('0')))
}

/// Sort key of a name: `ens9` before `ens192`, `enp11s0` before `enp19s0`.
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
mod tests;
