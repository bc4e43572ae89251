//! The statements of a guest's file about network cards. Every word records its place in the file,
//! so that one word can be replaced while comments, order and spaces stay.

use std::ops::Range;

use crate::model::MacAddress;

pub(super) use super::super::edits::{Edit, NOWHERE};
use super::place::HardwareSelection;
use super::virtual_names::base;

/// Placeholder in a replacement for the MAC address, in lower case.
pub(super) const MAC: &str = "{mac}";
/// Placeholder in a replacement for the MAC address, in upper case.
pub(super) const UPPER_MAC: &str = "{MAC}";
/// Placeholder in a replacement for the digits of the MAC address, without colons.
pub(super) const BARE_MAC: &str = "{digits}";

/// A value and the bytes of the file that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot<T> {
    pub(super) value: T,
    pub(super) at: Range<usize>,
}

impl<T> Spot<T> {
    pub(super) fn new(value: T, at: Range<usize>) -> Self {
        Self { value, at }
    }
}

impl Edit {
    /// The edit with MAC addresses filled in, separated by spaces: its text may contain [`MAC`],
    /// [`UPPER_MAC`] or [`BARE_MAC`].
    pub(super) fn with(&self, macs: &[MacAddress]) -> Self {
        let macs: Vec<_> = macs.iter().map(MacAddress::to_string).collect();
        let macs = macs.join(" ");
        let text = self.text.replace(MAC, &macs).replace(UPPER_MAC, &macs.to_uppercase());
        let text = text.replace(BARE_MAC, &macs.replace(':', ""));
        Self { at: self.at.clone(), text }
    }
}

/// A MAC address of the configuration, with the notation for a replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MacSpot {
    pub(super) mac: MacAddress,
    pub(super) edit: Edit,
}

impl MacSpot {
    /// Reads a MAC address in any notation of systemd.link(5); a replacement is written in the same
    /// case.
    pub(super) fn read(word: &Spot<String>) -> Option<Self> {
        let mac = mac(&word.value)?;
        let is_upper = word.value.chars().any(|c| c.is_ascii_uppercase());
        let text = if is_upper { UPPER_MAC } else { MAC };
        Some(Self { mac, edit: Edit::new(word.at.clone(), text) })
    }
}

/// Reads `00:50:56:aa:bb:01`, `00-50-56-AA-BB-01`, `0050.56aa.bb01` and `"00:50:56:aa:bb:01"`.
pub(super) fn mac(word: &str) -> Option<MacAddress> {
    word.trim().trim_matches(['"', '\'']).parse().ok()
}

/// What a claim does to an interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ClaimRole {
    /// Gives an interface addresses, a master or a VLAN.
    #[default]
    Configures,
    /// Gives a card its name when the kernel finds the card: a `.link` file, a rule of udev.
    Renames,
    /// Names an interface without configuring it: a list of interfaces that a program ignores.
    Mentions,
    /// Records a state of the running guest: a lease.
    Remembers,
}

/// One section, stanza, profile or rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NameClaim {
    pub(super) role: ClaimRole,
    /// Names of interfaces, as the guest knows them.
    pub(super) names: Vec<Spot<String>>,
    /// Names that are only likely: the id of a netplan section that selects by MAC address.
    pub(super) likely: Option<String>,
    /// Shell patterns that select interfaces by name.
    pub(super) patterns: Vec<String>,
    /// MAC addresses that identify a card. Addresses that the configuration *sets* are not
    /// included.
    pub(super) macs: Vec<MacSpot>,
    /// Selections by driver or place, all of which must match.
    pub(super) hardware: Vec<HardwareSelection>,
    /// `dhcp`, or addresses with or without the length of the prefix.
    pub(super) addresses: Vec<String>,
    /// Whether the claim selects every existing card.
    pub(super) any: bool,
    /// Whether the guest leaves the interface down at its start, as the configuration of a removed
    /// card does.
    pub(super) is_idle: bool,
    /// Name of the file where files take turns: only the first file that matches a card applies
    /// (systemd.network(5)).
    pub(super) turn: Option<String>,
    /// Whether a rule has further conditions whose result on KVM is unknown.
    pub(super) is_doubtful: bool,
}

impl NameClaim {
    /// A claim about one interface.
    pub(super) fn named(name: Spot<String>) -> Self {
        Self { names: vec![name], ..Self::default() }
    }

    /// Whether the name selects the interface, so that the claim applies as long as the card has
    /// the name.
    pub(super) fn selects_by_name(&self) -> bool {
        self.role == ClaimRole::Configures && !self.names.is_empty()
    }

    /// Removes the places but not the values: the words are in another file than the claim.
    pub(super) fn forget_places(&mut self) {
        self.names.iter_mut().for_each(|name| name.at = NOWHERE);
        self.macs.iter_mut().for_each(|spot| spot.edit.at = NOWHERE);
        for hardware in &mut self.hardware {
            let edits = hardware.instead.iter_mut().chain(&mut hardware.without);
            edits.for_each(|edit| edit.at = NOWHERE);
        }
    }

    /// Whether the claim identifies or selects cards at all.
    pub(super) fn selects(&self) -> bool {
        let selectors = [self.names.len(), self.macs.len(), self.hardware.len()];
        self.any || !self.patterns.is_empty() || selectors.iter().any(|count| *count > 0)
    }
}

/// All statements of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Says {
    pub(super) claims: Vec<NameClaim>,
    /// Interfaces that the file creates: bonds, bridges, VLANs, tunnels, and names that are no
    /// interfaces at all.
    pub(super) makes: Vec<String>,
    /// Created interfaces whose card is named separately: `dmz.100` need not be on a card `dmz`.
    pub(super) placed: Vec<String>,
    /// Patterns of further files to read.
    pub(super) sources: Vec<String>,
    /// Why the file could not be read.
    pub(super) fault: Option<String>,
}

impl Says {
    /// Adds a claim about a card that is only mentioned: a port of a bond, the parent of a VLAN.
    pub(super) fn mention(&mut self, word: Spot<String>) {
        self.claims.push(NameClaim::named(word));
    }

    /// Adds an interface that the system creates. `ens192.5` mentions the card that it is on;
    /// `is_placed` is true where the card is named separately.
    pub(super) fn make(&mut self, word: Spot<String>, is_placed: bool) {
        self.makes.push(word.value.clone());
        if base(&word.value) != word.value {
            self.placed.extend(Some(word.value.clone()).filter(|_| is_placed));
            self.mention(word);
        }
    }

    /// Adds the statements that another reader found.
    pub(super) fn append(&mut self, other: Self) {
        self.claims.extend(other.claims);
        self.makes.extend(other.makes);
        self.placed.extend(other.placed);
        self.sources.extend(other.sources);
        self.fault = self.fault.take().or(other.fault);
    }

    pub(super) fn mention_all(&mut self, words: Vec<Spot<String>>) {
        words.into_iter().for_each(|word| self.mention(word));
    }
}

/// Sorts words into the names and the patterns of a claim.
pub(super) fn sort_names(claim: &mut NameClaim, words: impl IntoIterator<Item = Spot<String>>) {
    for word in words {
        if is_pattern(&word.value) {
            claim.patterns.push(word.value);
        } else {
            claim.names.push(word);
        }
    }
}

/// Whether the word is a shell pattern or a negation of one.
pub(super) fn is_pattern(word: &str) -> bool {
    word.starts_with('!') || word.contains(['*', '?', '['])
}

/// The words of `text` and their places; `base` is where `text` begins in its file.
pub(super) fn words(
    text: &str,
    base: usize,
    separator: impl Fn(char) -> bool,
) -> Vec<Spot<String>> {
    let mut words = Vec::new();
    let mut start = None;
    let ends = text.char_indices().chain([(text.len(), '\n')]);
    for (at, c) in ends {
        let is_end = at == text.len() || separator(c);
        match start {
            Some(from) if is_end => {
                let quotes = ['"', '\''];
                let word = text[from..at].trim_end_matches(quotes);
                let bare = word.trim_start_matches(quotes);
                let from = base + from + (word.len() - bare.len());
                if !bare.is_empty() {
                    words.push(Spot::new(bare.to_owned(), from..from + bare.len()));
                }
                start = None;
            }
            None if !is_end => start = Some(at),
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_are_read_in_every_notation() {
        let right: MacAddress = "00:50:56:aa:bb:01".parse().expect("an address");
        for word in [
            "00:50:56:aa:bb:01",
            "00:50:56:AA:BB:01",
            "00-50-56-aa-bb-01",
            "0050.56aa.bb01",
            "\"00:50:56:aa:bb:01\"",
            " 00:50:56:aa:bb:01 ",
        ] {
            assert_eq!(mac(word), Some(right), "{word}");
        }
        for word in [
            "",
            "permanent",
            "stable",
            "0050.56aa.bb0g",
            "0050.56aa.bb+1",
            "00:50:56:aa:bb:+1",
            "00:50:56:aa:bb",
            "é050.56aa.bb0",
        ] {
            assert_eq!(mac(word), None, "{word}");
        }
    }

    #[test]
    fn words_keep_their_places() {
        let found = words("ens192  \"ens224\" ", 10, char::is_whitespace);
        assert_eq!(
            found,
            [Spot::new("ens192".to_owned(), 10..16), Spot::new("ens224".to_owned(), 19..25)]
        );
    }

    #[test]
    fn another_address_is_written_in_the_case_of_the_old_one() {
        let word = Spot::new("00:0C:29:11:22:33".to_owned(), 4..21);
        let spot = MacSpot::read(&word).expect("an address");
        let mac = "00:50:56:aa:bb:01".parse().expect("an address");
        assert_eq!(spot.edit.with(&[mac]), Edit::new(4..21, "00:50:56:AA:BB:01"));
    }
}
