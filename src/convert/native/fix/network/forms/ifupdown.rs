//! interfaces(5) of ifupdown, and the extensions of its companions: bonds, bridges, VLANs,
//! ifupdown-ng, ifupdown2.

use std::collections::BTreeSet;

use super::super::claim::{ClaimRole, MacSpot, NameClaim, Says, Spot, is_pattern, words};
use super::super::place::{By, HardwareSelection};
use super::commands;

/// Options whose values are interfaces below this one, with `-` and `_` as equals. The system then
/// creates the interface itself.
const BELOW: [&str; 11] = [
    "bridge-ports",
    "bond-slaves",
    "bond-members",
    "slaves",
    "vlan-raw-device",
    "vrf-members",
    "macvlan-raw-device",
    "vxlan-physdev",
    "ovs-bonds",
    "batman-ifaces",
    "dual-hsr-slaves",
];
/// Options whose values are interfaces, and which do not concern the interface itself.
const MENTIONS: [&str; 5] =
    ["bond-primary", "ovs-ports", "bridge-hw", "requires", "tunnel-physdev"];
/// Options that only interfaces created by the system have.
const MADE: [&str; 8] = [
    "bond-mode",
    "bridge-stp",
    "bridge-fd",
    "bridge-vlan-aware",
    "vlan-id",
    "tunnel-mode",
    "vxlan-id",
    "link-type",
];
/// Executors of ifupdown-ng (`use NAME`) that create their interface.
const USES: [&str; 14] = [
    "batman",
    "bond",
    "bridge",
    "dummy",
    "gre",
    "mpls",
    "ppp",
    "pppoe",
    "tunnel",
    "veth",
    "vlan",
    "vrf",
    "vxlan",
    "wireguard",
];
/// Methods of interfaces that are no cards.
const METHODS: [&str; 8] =
    ["loopback", "tunnel", "v4tunnel", "6to4", "ppp", "wvdial", "can", "gre"];
/// Words among the values that name no interface.
const NO_NAMES: [&str; 5] = ["none", "all", "regex", "noregex", "null"];

/// A line with its continuation lines.
struct IfupdownLine {
    words: Vec<Spot<String>>,
}

impl IfupdownLine {
    fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", |word| word.value.as_str())
    }

    /// The words from an index on.
    fn rest(&self, from: usize) -> Vec<Spot<String>> {
        self.words.iter().skip(from).cloned().collect()
    }
}

/// Reads all files together: an interface named in one file may be started in another.
pub(super) fn read(texts: &[&str]) -> Vec<Says> {
    let readers: Vec<_> = texts.iter().map(|text| Reader::of(text)).collect();
    let started: BTreeSet<_> = readers.iter().flat_map(|reader| reader.started.clone()).collect();
    readers.into_iter().map(|reader| reader.finish(&started)).collect()
}

fn lines(text: &str) -> Vec<IfupdownLine> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let mut end = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
        while text[at..end].trim_end_matches(['\n', '\r']).ends_with('\\') && end < text.len() {
            end = text[end..].find('\n').map_or(text.len(), |next| end + next + 1);
        }
        // A comment takes a complete line; no comment can follow words.
        if !text[at..end].trim_start().starts_with('#') {
            let words = words(&text[at..end], at, |c| c.is_whitespace() || c == '\\');
            found.extend(Some(IfupdownLine { words }).filter(|line| !line.words.is_empty()));
        }
        at = end;
    }
    found
}

#[derive(Default)]
struct Reader {
    says: Says,
    /// The stanza that is being read, and whether the system creates its interface.
    current: Option<NameClaim>,
    is_made: bool,
    /// Whether the stanza has options of created interfaces. cloud-init and curtin also write the
    /// options of a bond into the stanzas of its ports.
    looks_made: bool,
    is_port_of_bond: bool,
    /// Whether the stanza names the card below its interface.
    has_parent: bool,
    /// Claims of stanzas, which something else starts.
    stanzas: Vec<usize>,
    /// Interfaces that are started: `auto`, `allow-hotplug` and similar words, and `mapping`.
    started: Vec<String>,
    /// Names that are only templates or logical names, unless they are started as well.
    logical: Vec<String>,
}

impl Reader {
    fn of(text: &str) -> Self {
        let mut reader = Self::default();
        lines(text).iter().for_each(|line| reader.line(line));
        reader.close();
        reader
    }

    fn line(&mut self, line: &IfupdownLine) {
        match line.word(0) {
            "iface" => {
                self.close();
                self.iface(line);
            }
            "auto" | "no-auto-down" | "no-scripts" => self.selection(line),
            word if word.starts_with("allow-") => self.selection(line),
            "rename" => {
                self.close();
                line.rest(1).iter().for_each(|word| self.rename(word));
            }
            "mapping" => {
                self.close();
                let plain = line.rest(1).into_iter().filter(|word| !is_pattern(&word.value));
                let plain: Vec<_> = plain.collect();
                self.started.extend(plain.iter().map(|word| word.value.clone()));
                self.says.mention_all(plain);
            }
            // `map HOME eth0-home`: the last word is a logical name.
            "map" => self.logical.extend(line.words.last().map(|word| word.value.clone())),
            "source" | "source-directory" => {
                self.close();
                let suffix = if line.word(0) == "source-directory" { "/*" } else { "" };
                let rest = line.rest(1).into_iter();
                self.says.sources.extend(rest.map(|word| absolute(&word.value) + suffix));
            }
            "template" => self.close(),
            _ => self.option(line),
        }
    }

    fn iface(&mut self, line: &IfupdownLine) {
        let Some(name) = line.words.get(1).cloned() else { return };
        let rest = line.rest(2);
        let mut words = rest.iter().map(|word| word.value.as_str());
        let mut claim = NameClaim::named(name);
        if rest.iter().any(|word| word.value == "dhcp") {
            claim.addresses.push("dhcp".to_owned());
        }
        self.is_made = words.clone().any(|word| METHODS.contains(&word));
        if let Some(at) = words.position(|word| word == "inherits") {
            self.logical.extend(rest.get(at + 1).map(|word| word.value.clone()));
        }
        self.current = Some(claim);
    }

    /// `auto ens192 /eth*=lan mac/00:50:56:aa:bb:01=dmz`: interfaces, and their names in this file.
    fn selection(&mut self, line: &IfupdownLine) {
        self.close();
        for word in line.rest(1) {
            let (selected, logical) = split(&word);
            self.logical.extend(logical.map(|name| name.value));
            let claim = selection(&selected);
            self.started.extend(claim.names.iter().map(|name| name.value.clone()));
            self.says.claims.push(claim);
        }
    }

    fn rename(&mut self, word: &Spot<String>) {
        let (selected, name) = split(word);
        let Some(name) = name else { return };
        // ifup renames once the card is found; the original name shows which card is meant.
        let mut claim = NameClaim { role: ClaimRole::Renames, ..selection(&selected) };
        let before = claim.names.drain(..).map(|before| before.value).collect::<Vec<_>>();
        if !before.is_empty() {
            claim.hardware.push(HardwareSelection::evidence(By::PlaceName, before));
        }
        claim.names = vec![name];
        self.says.claims.push(claim);
    }

    fn option(&mut self, line: &IfupdownLine) {
        let Some(claim) = &mut self.current else { return };
        let key = line.word(0).replace('_', "-");
        let values = line.rest(1).into_iter().filter(|word| is_name(&word.value));
        match key.as_str() {
            "address" => claim.addresses.extend(line.words.get(1).map(|word| word.value.clone())),
            key if BELOW.contains(&key) => {
                self.is_made = true;
                self.has_parent = true;
                self.says.mention_all(values.collect());
            }
            // A port is a card, or an interface that another stanza creates.
            "ovs-type" => self.is_made |= !line.word(1).eq_ignore_ascii_case("OVSPort"),
            "use" => self.is_made |= USES.contains(&line.word(1)),
            key if MENTIONS.contains(&key) => self.says.mention_all(values.collect()),
            key if MADE.contains(&key) => self.looks_made = true,
            "bond-master" | "vrf" | "ovs-bridge" => {
                self.is_port_of_bond |= key == "bond-master";
                self.says.makes.extend(values.map(|word| word.value));
            }
            "pre-up" | "up" | "post-up" => {
                let own = claim.names.first().map_or("", |name| name.value.as_str());
                let line: Vec<_> = line.words.iter().map(|word| with_own_name(word, own)).collect();
                commands::made_by(&line, &mut self.says);
            }
            _ => {}
        }
    }

    fn close(&mut self) {
        if let Some(claim) = self.current.take() {
            if self.is_made || self.looks_made && !self.is_port_of_bond {
                let is_placed = self.has_parent;
                claim.names.into_iter().for_each(|name| self.says.make(name, is_placed));
            } else {
                self.stanzas.push(self.says.claims.len());
                self.says.claims.push(claim);
            }
        }
        (self.is_made, self.looks_made) = (false, false);
        (self.is_port_of_bond, self.has_parent) = (false, false);
    }

    /// The statements of the file, given the interfaces that are started: the interface of a stanza
    /// that nothing starts stays down.
    fn finish(mut self, started: &BTreeSet<String>) -> Says {
        for index in self.stanzas {
            let claim = &mut self.says.claims[index];
            let is_started = |name: &Spot<String>| {
                let alias = name.value.split(':').next().unwrap_or_default();
                started.contains(&name.value) || started.contains(alias)
            };
            claim.is_idle = !claim.names.iter().any(is_started);
        }
        self.logical.retain(|name| !started.contains(name));
        self.says.makes.append(&mut self.logical);
        self.says
    }
}

pub(super) fn is_name(word: &str) -> bool {
    !NO_NAMES.contains(&word) && !is_pattern(word) && !word.contains('/')
}

/// A word of a command, with the stanza's interface in place of the variable `$IFACE`.
fn with_own_name(word: &Spot<String>, own: &str) -> Spot<String> {
    let bare = word.value.trim_end_matches(';');
    match ["$IFACE", "${IFACE}"].contains(&bare) {
        true => Spot::new(word.value.replace(bare, own), word.at.clone()),
        false => word.clone(),
    }
}

/// `CURRENT=NAME`.
fn split(word: &Spot<String>) -> (Spot<String>, Option<Spot<String>>) {
    let Some((before, after)) = word.value.split_once('=') else { return (word.clone(), None) };
    let (start, end) = (word.at.start, word.at.end);
    let before = Spot::new(before.to_owned(), start..start + before.len());
    (before, Some(Spot::new(after.to_owned(), end - after.len()..end)))
}

/// A name, `/PATTERN`, or `mac/ADDRESS`.
fn selection(word: &Spot<String>) -> NameClaim {
    let mut claim = NameClaim::default();
    match word.value.split_once('/') {
        None => claim.names.push(word.clone()),
        Some(("mac", rest)) => {
            let mac = rest.split('/').next().unwrap_or(rest);
            let start = word.at.start + "mac/".len();
            let spot = Spot::new(mac.to_owned(), start..start + mac.len());
            claim.macs.extend(MacSpot::read(&spot));
        }
        Some(("", rest)) => {
            claim.patterns.push(rest.split('/').next().unwrap_or(rest).to_owned());
        }
        Some(_) => {}
    }
    claim
}

/// Resolves a path relative to the folder of the file, which is /etc/network for most.
fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/etc/network/{path}") }
}

#[cfg(test)]
mod tests;
