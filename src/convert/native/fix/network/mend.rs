//! Edits the guest's files: MAC addresses that no card has, selections by VMware's hardware, and
//! names that change. A pure function of what is known.

use std::collections::BTreeMap;

use crate::model::MacAddress;

use super::assign::Assigned;
use super::claim::{ClaimRole, Edit, MacSpot, NOWHERE, NameClaim, Says, Spot};
use super::forms::{Form, Text};
use super::naming::Naming;
use super::place::{By, Card, Meant, meant_by_all};
use super::survey::Survey;

/// Facts about the guest when its files are edited.
pub(super) struct KnownGuest<'a> {
    pub(super) cards: &'a [Card],
    pub(super) survey: &'a Survey,
    pub(super) assigned: &'a Assigned,
    /// The card of each name.
    pub(super) by_name: &'a BTreeMap<&'a str, usize>,
    /// Names that change, with the new names.
    pub(super) renames: &'a BTreeMap<String, String>,
    /// Names whose ifcfg file gets the MAC address.
    pub(super) hwaddr: &'a BTreeMap<String, MacAddress>,
}

/// The edits of a file, and the problems found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mended {
    pub(super) edits: Vec<Edit>,
    /// MAC addresses that were replaced, each with its replacement.
    pub(super) stale: Vec<(MacAddress, MacAddress)>,
    /// MAC addresses that no card has, and that cannot be assigned to a card.
    pub(super) unknown: Vec<MacAddress>,
    /// Selections by hardware that could not be replaced.
    pub(super) lost: Vec<String>,
    /// A name within the name of the file, and the new name.
    pub(super) moved: Option<(String, String)>,
    /// Whether a changed name is in a place that no edit can reach.
    pub(super) is_stuck: bool,
}

/// Decides how to change one file.
pub(super) fn mend(file: &Text, says: &Says, known: &KnownGuest<'_>) -> Mended {
    let mut mended = Mended::default();
    for claim in says.claims.iter().filter(|claim| claim.role != ClaimRole::Remembers) {
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

/// A name, and the index of its card.
#[derive(Debug, Clone, Copy)]
pub(super) struct NamedCard<'a> {
    pub(super) name: &'a str,
    pub(super) card: usize,
}

/// Whether a rule of the guest gives `name` to `card` on KVM too, edits included.
pub(super) fn holds(
    file: &Text,
    claim: &NameClaim,
    naming: Naming,
    NamedCard { name, card }: NamedCard<'_>,
    cards: &[Card],
) -> bool {
    let works = match file.form {
        Form::Rules => naming.rules,
        // FIX makes cloud-init leave the network unchanged.
        Form::CloudInit => false,
        // Programs that rename a card that is up count where no udev rules exist.
        Form::Mactab | Form::Ifupdown => !naming.rules,
        Form::CommandLine => false,
        _ => naming.links,
    };
    let is_rule = claim.role == ClaimRole::Renames && !claim.is_doubtful;
    if !works || !is_rule || claim.names.iter().all(|own| own.value != name) {
        return false;
    }
    let has = |mac: MacAddress| cards.iter().any(|card| card.mac == Some(mac));
    let is_own = claim.macs.iter().any(|spot| Some(spot.mac) == cards[card].mac);
    // Such an address is replaced by the card's own; of several only the one that the card had.
    let is_replaced = |spot: &MacSpot| {
        let is_it = claim.macs.len() == 1 || cards[card].source_mac == Some(spot.mac);
        !has(spot.mac) && is_it && spot.edit.at != NOWHERE
    };
    let is_stale = claim.macs.iter().any(is_replaced);
    let is_selected = claim.macs.is_empty() && !claim.hardware.is_empty();
    let is_helped = claim.hardware.iter().all(|hardware| match hardware.meant(cards) {
        Meant::Holds => hardware.by != By::KernelName || hardware.selected(cards) == [card],
        Meant::Cards(_) => reaches(&hardware.instead) && !hardware.instead.is_empty(),
    });
    cards[card].mac.is_some() && (is_own || is_stale || is_selected) && is_helped
}

/// Whether edits apply to the file's own text.
fn reaches(edits: &[Edit]) -> bool {
    edits.iter().all(|edit| edit.at != NOWHERE)
}

/// The cards of a claim's names.
fn named(claim: &NameClaim, known: &KnownGuest<'_>) -> Vec<usize> {
    let names = claim.names.iter().map(|name| known.survey.card_of(&name.value));
    let names = names.chain(claim.likely.as_deref());
    names.filter_map(|name| known.by_name.get(name).copied()).collect()
}

/// The card of a MAC address that a configuration without a name selects.
fn nameless(mac: MacAddress, known: &KnownGuest<'_>) -> Option<usize> {
    let is_own = |index: &usize| known.survey.subjects[*index].macs.contains(&mac);
    let subject = (0..known.survey.subjects.len()).find(is_own)?;
    known.assigned.card_of(subject)
}

/// Replaces MAC addresses that no card has; returns whether the claim selects by an address that a
/// card has.
fn stale(claim: &NameClaim, known: &KnownGuest<'_>, mended: &mut Mended) -> bool {
    let has = |spot: &&MacSpot| known.cards.iter().any(|card| card.mac == Some(spot.mac));
    let mut is_live = claim.macs.iter().any(|spot| has(&spot));
    if claim.role == ClaimRole::Renames && has_live_rule(claim, known) {
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
            // A rule for a removed card does no harm.
            None if claim.role == ClaimRole::Configures => mended.unknown.push(spot.mac),
            None => {}
        }
    }
    is_live
}

/// The card that a MAC address means although no card has the address. Of several addresses, only
/// the source shows which card each belongs to: names would give all of them the same card.
fn successor(spot: &MacSpot, claim: &NameClaim, known: &KnownGuest<'_>) -> Option<usize> {
    let had = known.cards.iter().position(|card| card.source_mac == Some(spot.mac));
    if had.is_some() || claim.macs.len() != 1 {
        return had;
    }
    named(claim, known).first().copied().or_else(|| nameless(spot.mac, known))
}

/// Whether another rule gives the name to a MAC address that a card has.
fn has_live_rule(claim: &NameClaim, known: &KnownGuest<'_>) -> bool {
    let mut subjects = known.survey.subjects.iter();
    let name = claim.names.first().map(|name| name.value.as_str());
    let own = subjects.find(|subject| subject.name.as_deref() == name);
    let macs = own.map_or(&[][..], |subject| &subject.ruled_macs);
    known.cards.iter().any(|card| card.mac.is_some_and(|mac| macs.contains(&mac)))
}

fn hardware(claim: &NameClaim, by_mac: bool, known: &KnownGuest<'_>, mended: &mut Mended) {
    let own = named(claim, known);
    let mut is_selected = by_mac || claim.selects_by_name() && own.len() >= claim.names.len();
    let Meant::Cards(meant) = meant_by_all(&claim.hardware, known.cards) else { return };
    let meant = if own.is_empty() { meant } else { own };
    for hardware in &claim.hardware {
        if hardware.meant(known.cards) == Meant::Holds || hardware.is_of_software() {
            continue;
        }
        let macs: Vec<_> = meant.iter().filter_map(|card| known.cards[*card].mac).collect();
        let is_few = macs.len() == 1 || hardware.takes_list && !macs.is_empty();
        if is_selected || hardware.by == By::Host {
            mended.edits.extend(hardware.without.iter().cloned());
            if !reaches(&hardware.without) {
                mended.lost.push(hardware.words.clone());
            }
        } else if is_few
            && reaches(&hardware.instead)
            && macs.len() == meant.len()
            && !hardware.instead.is_empty()
        {
            mended.edits.extend(hardware.instead.iter().map(|edit| edit.with(&macs)));
            is_selected = true;
        } else {
            mended.lost.push(hardware.words.clone());
        }
    }
}

fn rename(name: &Spot<String>, file: &Text, known: &KnownGuest<'_>, mended: &mut Mended) {
    let own = known.survey.card_of(&name.value);
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
mod tests;
