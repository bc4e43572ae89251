//! Commands in ifupdown's stanzas that make interfaces or put cards below them: ip-link(8),
//! ip-tuntap(8), brctl(8), ifenslave(8), vconfig(8), ovs-vsctl(8), teamdctl(8), tunctl(8),
//! openvpn(8), and writing to `/sys/class/net/BOND/bonding/slaves` (Linux, networking/bonding.rst).

use super::super::claim::{Says, Spot};
use super::ifupdown::is_name;

/// The operators that separate commands of a shell.
const OPERATORS: [&str; 5] = ["&&", "||", ";", "|", "&"];

/// Reads the interfaces that the commands of a line create, and their cards.
pub(super) fn made_by(line: &[Spot<String>], says: &mut Says) {
    let mut command = Vec::new();
    for word in line {
        let is_operator = OPERATORS.contains(&word.value.as_str());
        let bare = word.value.trim_end_matches(';');
        if !is_operator {
            let end = word.at.end.saturating_sub(word.value.len() - bare.len());
            command.push(Spot::new(bare.to_owned(), word.at.start..end));
        }
        if is_operator || bare != word.value {
            made_by_one(&command, says);
            command.clear();
        }
    }
    made_by_one(&command, says);
}

fn made_by_one(line: &[Spot<String>], says: &mut Says) {
    let has = |names: &[&str]| line.iter().any(|word| names.contains(&program(word)));
    let after = |name: &str| arguments(line, name).first().cloned();
    if has(&["tunctl"]) {
        says.makes.extend(after("-t").map(|word| word.value));
    } else if has(&["openvpn"]) {
        says.makes.extend(after("--dev").map(|word| word.value));
    } else if has(&["brctl"]) {
        says.makes.extend(after("addbr").map(|word| word.value));
        ports_of(arguments(line, "addif"), says);
    } else if has(&["ifenslave", "ifenslave-2.6"]) {
        let program = line.iter().position(|word| program(word).starts_with("ifenslave"));
        ports_of(&line[program.map_or(0, |at| at + 1)..], says);
    } else if has(&["ovs-vsctl"]) {
        says.makes.extend(after("add-br").map(|word| word.value));
        ports_of(arguments(line, "add-port"), says);
        ports_of(arguments(line, "add-bond"), says);
    } else if has(&["teamdctl"]) {
        let ports = line.windows(2).position(
            |words| matches!(words, [port, add] if port.value == "port" && add.value == "add"),
        );
        says.mention_all(ports.map(|at| line[at + 2..].to_vec()).unwrap_or_default());
    } else if has(&["vconfig"]) {
        let number = line.last().map_or("", |word| word.value.as_str());
        if let Some(card) = after("add") {
            says.makes.extend([format!("{}.{number}", card.value), format!("vlan{number}")]);
            says.mention(card);
        }
    } else if let Some(at) = line.windows(2).position(is_link_add) {
        link_add(&line[at + 2..], says);
    } else if let Some(at) = line.windows(2).position(is_link_set) {
        link_set(&line[at + 2..], says);
    } else if let Some(bond) = line.iter().find_map(bond_of) {
        says.makes.push(bond);
        let ports = line.iter().filter(|word| word.value.starts_with('+'));
        says.mention_all(ports.map(|word| behind(word, 1)).collect());
    }
}

/// The words after a word of a command.
fn arguments<'a>(line: &'a [Spot<String>], name: &str) -> &'a [Spot<String>] {
    let at = line.iter().position(|word| word.value == name);
    at.map(|at| &line[at + 1..]).unwrap_or_default()
}

/// Reads an interface that is created elsewhere, and the cards below it: `bond0 ens192 ens224`. The
/// words after `--` are another command.
fn ports_of(words: &[Spot<String>], says: &mut Says) {
    let words = words.iter().take_while(|word| word.value != "--");
    let mut names = words.filter(|word| !word.value.starts_with('-') && !word.value.contains('='));
    makes(names.next(), says);
    says.mention_all(names.cloned().collect());
}

/// Records once that an interface is created.
fn makes(word: Option<&Spot<String>>, says: &mut Says) {
    let name = word.map(|word| &word.value).filter(|name| is_name(name));
    says.makes.extend(name.filter(|name| !says.makes.contains(name)).cloned());
}

/// Whether two words are `ip link set` or an abbreviation.
fn is_link_set(words: &[Spot<String>]) -> bool {
    let [object, verb] = words else { return false };
    ["link", "l"].contains(&object.value.as_str()) && ["set", "s"].contains(&verb.value.as_str())
}

/// Reads the words after `set`: `dev ens192 master br0`.
fn link_set(line: &[Spot<String>], says: &mut Says) {
    let Some(above) = arguments(line, "master").first() else { return };
    makes(Some(above), says);
    let card = line.iter().find(|word| word.value != "dev");
    says.mention_all(card.cloned().into_iter().collect());
}

/// The bond whose `slaves` file a word names.
fn bond_of(word: &Spot<String>) -> Option<String> {
    let path = word.value.trim_start_matches('>');
    let bond = path.strip_prefix("/sys/class/net/")?.strip_suffix("/bonding/slaves")?;
    Some(bond.to_owned()).filter(|name| is_name(name))
}

/// A word without its first bytes.
fn behind(word: &Spot<String>, bytes: usize) -> Spot<String> {
    Spot::new(word.value[bytes..].to_owned(), word.at.start + bytes..word.at.end)
}

/// A word of a command without the folder of a program.
fn program(word: &Spot<String>) -> &str {
    word.value.rsplit('/').next().unwrap_or_default()
}

/// Whether two words add a link: adding an address or a route creates no interface.
fn is_link_add(words: &[Spot<String>]) -> bool {
    let [object, verb] = words else { return false };
    ["link", "l", "tuntap"].contains(&object.value.as_str()) && verb.value == "add"
}

/// Reads the words after `add`: `ip link add link ens192 name storage type vlan id 5`, `ip tuntap
/// add dev vpn mode tap`.
fn link_add(line: &[Spot<String>], says: &mut Says) {
    let mut words = line.iter();
    let mut made = None;
    while let Some(word) = words.next() {
        match word.value.as_str() {
            "type" | "mode" => break,
            "link" => says.mention_all(words.next().cloned().into_iter().collect()),
            "name" | "dev" => made = words.next(),
            _ => made = made.or(Some(word)),
        }
    }
    says.makes.extend(made.map(|word| word.value.clone()).filter(|word| is_name(word)));
}
