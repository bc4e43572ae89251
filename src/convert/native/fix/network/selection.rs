//! Configurations that select cards without naming one: by patterns, by hardware, by MAC address.
//! All conditions of one configuration must match; of several configurations any one may match.

use super::claim::NameClaim;
use super::place::{Card, Meant, accepts, meant_by_all};

/// The cards that a configuration selects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// Patterns for the name; empty where any name matches.
    pub(super) patterns: Vec<String>,
    /// The cards that match by hardware and MAC address; `None` for all.
    pub(super) cards: Option<Vec<usize>>,
}

impl Selection {
    /// The selection of a claim; `None` where only its names select.
    pub(super) fn of(claim: &NameClaim, has_names: bool, cards: &[Card]) -> Option<Self> {
        let has_pattern = claim.patterns.iter().any(|pattern| !is_negated(pattern));
        if has_names && !has_pattern || !claim.selects() {
            return None;
        }
        let cards = match meant_by_all(&claim.hardware, cards) {
            _ if !claim.macs.is_empty() => Some(by_mac(claim, cards)),
            Meant::Holds => None,
            Meant::Cards(meant) => Some(meant),
        };
        Some(Self { patterns: claim.patterns.clone(), cards })
    }

    /// Whether the selection matches the card, ignoring its name.
    pub(super) fn is_of(&self, card: usize) -> bool {
        self.cards.as_ref().is_none_or(|cards| cards.contains(&card))
    }

    /// Whether a card of that name is selected.
    pub(super) fn fits(&self, name: &str) -> bool {
        let (negated, plain): (Vec<_>, Vec<_>) = self.patterns.iter().partition(|p| is_negated(p));
        let is_taken = plain.is_empty() || plain.iter().any(|pattern| accepts(pattern, name));
        is_taken && negated.iter().all(|pattern| accepts(pattern, name))
    }

    /// Whether the selection of a card changes when its name is replaced by one of `later`.
    pub(super) fn needs(&self, name: &str, later: &[&str]) -> bool {
        let is_refused = self.patterns.iter().any(|p| is_negated(p) && !accepts(p, name));
        match self.fits(name) {
            true => !later.iter().all(|later| self.fits(later)),
            false => is_refused && later.iter().any(|later| self.fits(later)),
        }
    }
}

/// Statements of configurations without a name about a card that they select by its hardware.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selected {
    addresses: Vec<String>,
    /// Name and addresses of the first of the files that take turns.
    first: Option<(String, Vec<String>)>,
}

impl Selected {
    pub(super) fn add(&mut self, claim: &NameClaim) {
        let addresses = claim.addresses.iter().cloned();
        match (&claim.turn, &self.first) {
            (None, _) => self.addresses.extend(addresses),
            (Some(turn), Some((first, _))) if first <= turn => {}
            (Some(turn), _) => self.first = Some((turn.clone(), addresses.collect())),
        }
    }

    /// The addresses of a card that files with these names match as well.
    pub(super) fn addresses<'a>(
        &'a self,
        others: impl Iterator<Item = &'a String>,
    ) -> impl Iterator<Item = &'a String> {
        let earliest = others.min();
        let is_first = |first: &&(String, Vec<String>)| earliest.is_none_or(|own| first.0 <= *own);
        let first = self.first.as_ref().filter(is_first);
        self.addresses.iter().chain(first.into_iter().flat_map(|(_, addresses)| addresses))
    }
}

fn is_negated(pattern: &str) -> bool {
    pattern.starts_with('!')
}

/// The cards of a claim's MAC addresses. An address that no card has means the only card.
fn by_mac(claim: &NameClaim, cards: &[Card]) -> Vec<usize> {
    let has = |card: &Card| {
        let macs = [card.mac, card.source_mac];
        claim.macs.iter().any(|spot| macs.contains(&Some(spot.mac)))
    };
    let found: Vec<_> = (0..cards.len()).filter(|index| has(&cards[*index])).collect();
    if found.is_empty() && cards.len() == 1 { vec![0] } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(patterns: &[&str]) -> Selection {
        let patterns = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        Selection { patterns, cards: None }
    }

    #[test]
    fn one_pattern_must_fit_and_no_negation_refuse() {
        for (patterns, fitting, other) in [
            (&["ens*", "!ens224"][..], "ens192", "ens224"),
            (&["ens*", "!ens224"], "ens192", "enp1s0"),
            (&["!ens224"], "enp1s0", "ens224"),
            (&["ens*", "lan?"], "lan0", "enp1s0"),
        ] {
            assert!(selection(patterns).fits(fitting), "{patterns:?} {fitting}");
            assert!(!selection(patterns).fits(other), "{patterns:?} {other}");
        }
        assert!(selection(&[]).fits("anything"));
    }

    #[test]
    fn a_name_is_needed_where_another_changes_what_is_selected() {
        let later = ["enp1s0", "ens3"];
        for (patterns, name, is_needed) in [
            (&["ens*"][..], "ens192", true),
            (&["en*"], "ens192", false),
            (&["ens*", "!ens224"], "ens224", true),
            (&["!ens224"], "ens224", true),
            (&["!ens224"], "ens192", false),
            (&["wl*"], "ens192", false),
            (&[], "ens192", false),
        ] {
            assert_eq!(selection(patterns).needs(name, &later), is_needed, "{patterns:?} {name}");
        }
    }
}
