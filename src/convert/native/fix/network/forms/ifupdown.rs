//! interfaces(5) of ifupdown, and what its companions add: bonds, bridges, VLANs, ifupdown-ng,
//! ifupdown2.

use super::super::claim::{Claim, MacSpot, Says, Spot, is_pattern, words};
use super::super::place::{By, Hardware};

/// Options whose values are interfaces below this one, `-` and `_` being the same. The interface
/// itself is made by the system then.
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
/// Options whose values are interfaces, which say nothing about the interface itself.
const MENTIONS: [&str; 5] =
    ["bond-primary", "ovs-ports", "bridge-hw", "requires", "tunnel-physdev"];
/// Options that only interfaces have which the system makes.
const MADE: [&str; 9] = [
    "bond-mode",
    "bridge-stp",
    "bridge-fd",
    "bridge-vlan-aware",
    "vlan-id",
    "tunnel-mode",
    "vxlan-id",
    "ovs-type",
    "link-type",
];
/// Methods of interfaces that are no cards.
const METHODS: [&str; 8] =
    ["loopback", "tunnel", "v4tunnel", "6to4", "ppp", "wvdial", "can", "gre"];
/// Words among the values that are no interfaces.
const NO_NAMES: [&str; 5] = ["none", "all", "regex", "noregex", "null"];

/// One line with the lines that continue it.
struct Line {
    words: Vec<Spot<String>>,
}

impl Line {
    fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", |word| word.value.as_str())
    }

    /// The words from an index on.
    fn rest(&self, from: usize) -> Vec<Spot<String>> {
        self.words.iter().skip(from).cloned().collect()
    }
}

/// What a file says.
pub(super) fn read(text: &str) -> Says {
    let mut reader = Reader::default();
    for line in lines(text) {
        reader.line(&line);
    }
    reader.finish()
}

fn lines(text: &str) -> Vec<Line> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let mut end = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
        while text[at..end].trim_end_matches(['\n', '\r']).ends_with('\\') && end < text.len() {
            end = text[end..].find('\n').map_or(text.len(), |next| end + next + 1);
        }
        // A comment takes its whole line; behind words there is none.
        if !text[at..end].trim_start().starts_with('#') {
            let words = words(&text[at..end], at, |c| c.is_whitespace() || c == '\\');
            found.extend(Some(Line { words }).filter(|line| !line.words.is_empty()));
        }
        at = end;
    }
    found
}

#[derive(Default)]
struct Reader {
    says: Says,
    /// The stanza that is being read, and whether the system makes its interface.
    current: Option<Claim>,
    is_made: bool,
    /// Whether the stanza has options of such interfaces. cloud-init and curtin write those of a bond
    /// into the stanzas of its ports too.
    looks_made: bool,
    is_port_of_bond: bool,
    /// Names that are only templates or logical names.
    logical: Vec<String>,
}

impl Reader {
    fn line(&mut self, line: &Line) {
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
                self.says.mention_all(plain.collect());
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

    fn iface(&mut self, line: &Line) {
        let Some(name) = line.words.get(1).cloned() else { return };
        let rest = line.rest(2);
        let mut words = rest.iter().map(|word| word.value.as_str());
        let mut claim = Claim::named(name);
        if rest.iter().any(|word| word.value == "dhcp") {
            claim.addresses.push("dhcp".to_owned());
        }
        self.is_made = words.clone().any(|word| METHODS.contains(&word));
        if let Some(at) = words.position(|word| word == "inherits") {
            self.logical.extend(rest.get(at + 1).map(|word| word.value.clone()));
        }
        self.current = Some(claim);
    }

    /// `auto ens192 /eth*=lan mac/00:50:56:aa:bb:01=dmz`: interfaces, and what they are called in
    /// this file.
    fn selection(&mut self, line: &Line) {
        self.close();
        for word in line.rest(1) {
            let (selected, logical) = split(&word);
            self.logical.extend(logical.map(|name| name.value));
            self.says.claims.push(selection(&selected));
        }
    }

    fn rename(&mut self, word: &Spot<String>) {
        let (selected, name) = split(word);
        let Some(name) = name else { return };
        // ifup renames when the card is found already; the name before tells which card is meant.
        let mut claim = selection(&selected);
        let before = claim.names.drain(..).map(|before| before.value).collect::<Vec<_>>();
        if !before.is_empty() {
            claim.hardware.push(Hardware::evidence(By::PlaceName, before));
        }
        claim.names = vec![name];
        self.says.claims.push(claim);
    }

    fn option(&mut self, line: &Line) {
        let Some(claim) = &mut self.current else { return };
        let key = line.word(0).replace('_', "-");
        let values = line.rest(1).into_iter().filter(|word| is_name(&word.value));
        match key.as_str() {
            "address" => claim.addresses.extend(line.words.get(1).map(|word| word.value.clone())),
            key if BELOW.contains(&key) => {
                self.is_made = true;
                self.says.mention_all(values.collect());
            }
            key if MENTIONS.contains(&key) => self.says.mention_all(values.collect()),
            key if MADE.contains(&key) => self.looks_made = true,
            "bond-master" | "vrf" | "ovs-bridge" => {
                self.is_port_of_bond |= key == "bond-master";
                self.says.makes.extend(values.map(|word| word.value));
            }
            "pre-up" | "up" | "post-up" => link_add(line, &mut self.says),
            _ => {}
        }
    }

    fn close(&mut self) {
        if let Some(claim) = self.current.take() {
            if self.is_made || self.looks_made && !self.is_port_of_bond {
                claim.names.into_iter().for_each(|name| self.says.make(name));
            } else {
                self.says.claims.push(claim);
            }
        }
        (self.is_made, self.looks_made, self.is_port_of_bond) = (false, false, false);
    }

    fn finish(mut self) -> Says {
        self.close();
        self.says.makes.append(&mut self.logical);
        self.says
    }
}

fn is_name(word: &str) -> bool {
    !NO_NAMES.contains(&word) && !is_pattern(word) && !word.contains('/')
}

/// `CURRENT=NAME`.
fn split(word: &Spot<String>) -> (Spot<String>, Option<Spot<String>>) {
    let Some((before, after)) = word.value.split_once('=') else { return (word.clone(), None) };
    let (start, end) = (word.at.start, word.at.end);
    let before = Spot::new(before.to_owned(), start..start + before.len());
    (before, Some(Spot::new(after.to_owned(), end - after.len()..end)))
}

/// A name, `/PATTERN`, or `mac/ADDRESS`.
fn selection(word: &Spot<String>) -> Claim {
    let mut claim = Claim::default();
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

/// Paths are below the folder of the file, which is /etc/network for most.
fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/etc/network/{path}") }
}

/// `ip link add link ens192 name storage type vlan id 5`: an interface that a command makes.
fn link_add(line: &Line, says: &mut Says) {
    let mut words = line.words.iter().skip_while(|word| word.value != "add").skip(1);
    if !line.words.iter().any(|word| word.value == "link" || word.value == "l") {
        return;
    }
    let mut made = None;
    while let Some(word) = words.next() {
        match word.value.as_str() {
            "type" => break,
            "link" => says.mention_all(words.next().cloned().into_iter().collect()),
            "name" | "dev" => made = words.next(),
            _ => made = made.or(Some(word)),
        }
    }
    says.makes.extend(made.map(|word| word.value.clone()).filter(|word| is_name(word)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(says: &Says) -> Vec<&str> {
        let names = says.claims.iter().flat_map(|claim| &claim.names);
        let mut names: Vec<_> = names.map(|name| name.value.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    #[test]
    fn stanzas_have_names_and_addresses() {
        let text = "# iface no inet dhcp\nauto lo ens192\niface lo inet loopback\niface ens192 inet static\n  address 192.0.2.7/24\n  hwaddress ether 02:00:00:00:00:77\niface ens192 inet6 auto\nallow-hotplug ens224\niface ens224 \\\n  inet dhcp\n";
        let says = read(text);
        assert_eq!(names(&says), ["ens192", "ens224", "lo"]);
        assert_eq!(says.makes, ["lo"]);
        assert!(says.claims.iter().all(|claim| claim.macs.is_empty()), "hwaddress sets");
        let addresses: Vec<_> = says.claims.iter().flat_map(|claim| &claim.addresses).collect();
        assert_eq!(addresses, ["192.0.2.7/24", "dhcp"]);
    }

    #[test]
    fn bonds_bridges_and_vlans_are_made_of_cards() {
        let text = "auto bond0\niface bond0 inet static\n  bond-slaves ens192 ens224\n  bond_primary ens192\niface lan inet manual\n  bridge_ports ens256 tap0\niface storage inet static\n  vlan_raw_device lan\niface nobr inet manual\n  bridge-ports none\niface allbr inet dhcp\n  bridge_ports regex ens.* noregex\niface ens161 inet manual\n  bond-master bond0\n";
        let says = read(text);
        assert_eq!(names(&says), ["bond0", "ens161", "ens192", "ens224", "ens256", "lan", "tap0"]);
        assert_eq!(says.makes, ["bond0", "lan", "storage", "nobr", "allbr", "bond0"]);
        assert_eq!(
            names(&read("iface ens192.5 inet dhcp\n  vlan-raw-device ens192\n")),
            ["ens192", "ens192.5"]
        );
        let old = "iface bond0 inet dhcp\n  slaves eth0 eth1\n";
        assert_eq!(names(&read(old)), ["eth0", "eth1"]);
    }

    #[test]
    fn a_port_with_the_options_of_its_bond_is_a_card() {
        let text = "auto ens192\niface ens192 inet manual\n  bond-master bond0\n  bond-mode active-backup\niface ens224 inet manual\n  bond_mode active-backup\n  bond_master bond0\niface bond0 inet dhcp\n  bond-mode active-backup\n  bond-slaves none\niface ens256.7 inet manual\n  bond-master bond1\n  vlan-raw-device ens256\n";
        let says = read(text);
        assert_eq!(says.makes, ["bond0", "bond0", "bond0", "bond1", "ens256.7"]);
        assert_eq!(names(&says), ["ens192", "ens224", "ens256", "ens256.7"]);
    }

    #[test]
    fn patterns_and_logical_names_are_no_cards() {
        let text = "auto /eth*=dhcp mac/00:50:56:AA:BB:01=lan ens192=home\niface dhcp inet dhcp\niface lan inet dhcp\niface base inet static\n  mtu 9000\niface ens224 inet static inherits base\n  address 192.0.2.9/24\nmapping ens256\n  script /bin/x\n  map work ens256-work\n";
        let says = read(text);
        assert_eq!(says.makes, ["dhcp", "lan", "home", "base", "ens256-work"]);
        let claims: Vec<_> = says.claims.iter().take(3).collect();
        assert_eq!(claims[0].patterns, ["eth*"]);
        assert_eq!(&text[claims[1].macs[0].edit.at.clone()], "00:50:56:AA:BB:01");
        assert_eq!(claims[2].names[0].value, "ens192");
        assert!(names(&says).contains(&"ens224") && names(&says).contains(&"ens256"));
    }

    #[test]
    fn renames_and_sources_are_followed() {
        let text = "rename mac/00:50:56:aa:bb:01=lan0 foo=bar\nauto lan0\nsource interfaces.d/*.cfg\nsource-directory /etc/net.d\n";
        let says = read(text);
        assert_eq!(names(&says), ["bar", "lan0"]);
        assert_eq!(says.claims[0].macs.len(), 1);
        assert_eq!(says.sources, ["/etc/network/interfaces.d/*.cfg", "/etc/net.d/*"]);
    }

    #[test]
    fn commands_make_interfaces() {
        let text = "iface storage inet static\n  pre-up ip link add link ens192 name storage type vlan id 5\n  up ip link add dum type dummy\n  up ip -6 route add default dev ens192\n";
        let says = read(text);
        assert_eq!(says.makes, ["storage", "dum"]);
        assert_eq!(names(&says), ["ens192", "storage"]);
    }
}
