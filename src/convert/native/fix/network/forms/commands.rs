//! Commands in ifupdown's stanzas that make interfaces: ip-link(8), ip-tuntap(8), brctl(8), vconfig(8),
//! tunctl(8), openvpn(8).

use super::super::claim::{Says, Spot};
use super::ifupdown::is_name;

/// The words that part commands of a shell.
const OPERATORS: [&str; 5] = ["&&", "||", ";", "|", "&"];

/// The interfaces that the commands of a line make, and the cards that they are on.
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
    let after = |name: &str| {
        let at = line.iter().position(|word| word.value == name);
        at.and_then(|at| line.get(at + 1)).cloned()
    };
    if has(&["tunctl"]) {
        says.makes.extend(after("-t").map(|word| word.value));
    } else if has(&["openvpn"]) {
        says.makes.extend(after("--dev").map(|word| word.value));
    } else if has(&["brctl"]) {
        says.makes.extend(after("addbr").map(|word| word.value));
    } else if has(&["vconfig"]) {
        let number = line.last().map_or("", |word| word.value.as_str());
        if let Some(card) = after("add") {
            says.makes.extend([format!("{}.{number}", card.value), format!("vlan{number}")]);
            says.mention(card);
        }
    } else if let Some(at) = line.windows(2).position(is_link_add) {
        link_add(&line[at + 2..], says);
    }
}

/// A word of a command without the folder of a program.
fn program(word: &Spot<String>) -> &str {
    word.value.rsplit('/').next().unwrap_or_default()
}

/// Whether two words add a link: an address or a route that is added makes no interface.
fn is_link_add(words: &[Spot<String>]) -> bool {
    let [object, verb] = words else { return false };
    ["link", "l", "tuntap"].contains(&object.value.as_str()) && verb.value == "add"
}

/// What follows `add`: `ip link add link ens192 name storage type vlan id 5`, `ip tuntap add dev vpn mode tap`.
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
