//! Commands in ifupdown's stanzas that make interfaces: ip-link(8), ip-tuntap(8), brctl(8), vconfig(8),
//! tunctl(8), openvpn(8).

use super::super::claim::{Says, Spot};
use super::ifupdown::is_name;

/// The interface that a command makes, and the card that it is on.
pub(super) fn made_by(line: &[Spot<String>], says: &mut Says) {
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
    } else if has(&["link", "l", "tuntap"]) {
        link_add(line, says);
    }
}

/// A word of a command without the folder of a program.
fn program(word: &Spot<String>) -> &str {
    word.value.rsplit('/').next().unwrap_or_default()
}

/// `ip link add link ens192 name storage type vlan id 5`, `ip tuntap add dev vpn mode tap`.
fn link_add(line: &[Spot<String>], says: &mut Says) {
    let mut words = line.iter().skip_while(|word| word.value != "add").skip(1);
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
