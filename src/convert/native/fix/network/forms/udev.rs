//! Rules of udev that name a card: udev(7), "RULES FILES".

use std::ops::Range;

use super::super::claim::{Claim, Edit, MAC, MacSpot, Role, Says, Spot, is_pattern};
use super::super::place::{By, Hardware};

/// One `KEY{attribute}==value` of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token<'a> {
    key: &'a str,
    attribute: &'a str,
    operator: &'a str,
    value: Spot<String>,
    /// From the key to the closing quote.
    at: Range<usize>,
}

impl Token<'_> {
    fn is(&self, keys: &[&str], attribute: &str) -> bool {
        keys.contains(&self.key) && self.attribute == attribute && self.operator == "=="
    }
}

/// What a file of rules says.
pub(super) fn read(text: &str) -> Says {
    Says { claims: rules(text).iter().filter_map(|rule| claim(rule)).collect(), ..Says::default() }
}

/// The tokens of each rule.
fn rules(text: &str) -> Vec<Vec<Token<'_>>> {
    let (mut rules, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let mut end = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
        let is_comment = text[at..end].trim_start().starts_with('#');
        // A backslash at its end continues a line.
        while !is_comment
            && text[at..end].trim_end_matches(['\n', '\r']).ends_with('\\')
            && end < text.len()
        {
            end = text[end..].find('\n').map_or(text.len(), |next| end + next + 1);
        }
        if !is_comment {
            rules.push(tokens(&text[at..end], at));
        }
        at = end;
    }
    rules
}

/// The tokens of a rule; what comes after something that is none is passed over, as udev does.
fn tokens(rule: &str, base: usize) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        let is_between = |c: char| c.is_whitespace() || c == ',' || c == '\\';
        at += rule[at..].len() - rule[at..].trim_start_matches(is_between).len();
        let Some((token, length)) = token(&rule[at..], base + at) else { return tokens };
        tokens.push(token);
        at += length;
    }
}

fn token(text: &str, base: usize) -> Option<(Token<'_>, usize)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let (key, mut rest) = text.split_at(end);
    let mut attribute = "";
    if let Some(inner) = rest.strip_prefix('{') {
        (attribute, rest) = inner.split_once('}')?;
    }
    rest = rest.trim_start();
    let operator =
        ["==", "!=", "+=", "-=", ":=", "="].into_iter().find(|op| rest.starts_with(op))?;
    rest = rest[operator.len()..].trim_start();
    // e"…" is a string with escapes, i"…" one without regard to case.
    rest = rest.trim_start_matches(['e', 'i']);
    let inner = rest.strip_prefix('"')?;
    let close = closing_quote(inner)?;
    let start = text.len() - inner.len();
    let value = Spot::new(inner[..close].to_owned(), base + start..base + start + close);
    let length = start + close + 1;
    let at = base..base + length;
    (!key.is_empty()).then_some((Token { key, attribute, operator, value, at }, length))
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return Some(at),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

/// The claim of a rule that names a card.
fn claim(rule: &[Token<'_>]) -> Option<Claim> {
    let name = rule.iter().rev().find(|token| {
        token.key == "NAME" && token.attribute.is_empty() && ["=", ":="].contains(&token.operator)
    })?;
    // With a substitution the rule names no one card.
    let is_plain = !name.value.value.is_empty() && !name.value.value.contains(['$', '%']);
    let other = rule.iter().any(|token| {
        ["SUBSYSTEM", "SUBSYSTEMS"].contains(&token.key)
            && token.operator == "=="
            && !["net", "pci", "virtio"].contains(&token.value.value.as_str())
    });
    if !is_plain || other {
        return None;
    }
    let mut claim = Claim { role: Role::Renames, ..Claim::named(name.value.clone()) };
    for token in rule {
        // SYSFS is the old word for ATTRS.
        if token.is(&["ATTR", "ATTRS", "SYSFS"], "address") {
            claim.macs.extend(MacSpot::read(&token.value));
        } else {
            claim.hardware.extend(by(token).map(|by| hardware(by, token)));
        }
    }
    (!claim.macs.is_empty() || !claim.hardware.is_empty()).then_some(claim)
}

/// How a token selects a card by what KVM has not.
fn by(token: &Token<'_>) -> Option<By> {
    if token.operator != "==" {
        return None;
    }
    let value = token.value.value.as_str();
    match (token.key, token.attribute) {
        ("KERNELS" | "ID", "") => value.contains(':').then_some(By::Address),
        ("DEVPATH", "") => value.contains("0000:").then_some(By::Address),
        ("DRIVERS" | "DRIVER", "") => Some(By::Driver),
        ("ENV", "ID_NET_DRIVER") => Some(By::Driver),
        ("ENV", "ID_PATH") => Some(By::Path),
        // A name made of the MAC address is the same on KVM.
        ("ENV", name) if name.starts_with("ID_NET_NAME") => {
            (!value.starts_with("enx")).then_some(By::PlaceName)
        }
        ("KERNEL", "") => (!is_pattern(value)).then_some(By::KernelName),
        ("ATTRS" | "ATTR", name) if name.ends_with("vendor") => {
            (value == "0x15ad").then_some(By::Vendor)
        }
        _ => None,
    }
}

fn hardware(by: By, token: &Token<'_>) -> Hardware {
    // Without DRIVERS the rule would take VLANs too, which have the address of their card.
    let instead = format!("ATTR{{address}}==\"{MAC}\", DRIVERS==\"?*\"");
    Hardware {
        by,
        patterns: patterns(by, &token.value.value),
        instead: vec![Edit::new(token.at.clone(), instead)],
        without: vec![Edit::new(token.at.clone(), "DRIVERS==\"?*\"")],
        takes_list: false,
        words: format!("{}=={:?}", token.key, token.value.value),
    }
}

/// Alternatives are separated by `|`. Of a path through the tree of devices the last place counts.
fn patterns(by: By, value: &str) -> Vec<String> {
    let place = |value: &str| match by {
        By::Address => {
            let part = value.split('/').rev().find(|part| part.contains(':'));
            part.unwrap_or(value).to_owned()
        }
        _ => value.to_owned(),
    };
    value.split('|').map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Claim {
        let says = read(text);
        assert_eq!(says.claims.len(), 1, "{text}: {says:?}");
        says.claims.into_iter().next().expect("one")
    }

    #[test]
    fn rules_are_read_in_any_spacing() {
        let debian = "SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", ATTR{address}==\"00:50:56:aa:bb:01\", ATTR{dev_id}==\"0x0\", ATTR{type}==\"1\", KERNEL==\"eth*\", NAME=\"lan0\"\n";
        let tight =
            "SUBSYSTEM==\"net\",ACTION==\"add\",ATTR{address}==\"00:50:56:aa:bb:01\",NAME=\"lan0\"";
        let wide =
            "  SUBSYSTEM == \"net\" , ATTR{address} == \"00:50:56:aa:bb:01\" , NAME = \"lan0\"\r\n";
        let lines = "# note\nSUBSYSTEM==\"net\", \\\n  ATTR{address}==\"00:50:56:aa:bb:01\", \\\n  NAME:=\"lan0\"\n";
        let spaces = "SUBSYSTEM==\"net\" ATTRS{address}==\"00:50:56:AA:BB:01\" NAME=\"lan0\"\n";
        let old = "SUBSYSTEM==\"net\", SYSFS{address}==\"00:50:56:aa:bb:01\", NAME=\"lan0\"\n";
        for text in [debian, tight, wide, lines, spaces, old] {
            let claim = one(text);
            assert_eq!(claim.names[0].value, "lan0");
            assert_eq!(&text[claim.names[0].at.clone()], "lan0");
            assert_eq!(claim.macs[0].mac.to_string(), "00:50:56:aa:bb:01", "{text}");
            assert_eq!(claim.role, Role::Renames);
        }
    }

    #[test]
    fn places_select_a_card() {
        for (key, by, pattern) in [
            ("KERNELS==\"0000:0b:00.0\"", By::Address, "0000:0b:00.0"),
            ("ENV{ID_PATH}==\"pci-0000:0b:00.0\"", By::Path, "pci-0000:0b:00.0"),
            ("ENV{ID_NET_NAME_SLOT}==\"ens192\"", By::PlaceName, "ens192"),
            ("ENV{ID_NET_NAME}==\"ens192\"", By::PlaceName, "ens192"),
            ("DRIVERS==\"vmxnet3\"", By::Driver, "vmxnet3"),
            ("ATTRS{vendor}==\"0x15ad\"", By::Vendor, "0x15ad"),
            ("KERNEL==\"eth1\"", By::KernelName, "eth1"),
            (
                "DEVPATH==\"/devices/pci0000:00/0000:00:16.0/0000:0b:00.0/*\"",
                By::Address,
                "0000:0b:00.0",
            ),
            ("BUS==\"pci\", ID==\"0000:02:00.0\"", By::Address, "0000:02:00.0"),
        ] {
            let text = format!("SUBSYSTEM==\"net\",{key},NAME=\"lan0\"\n");
            let hardware = &one(&text).hardware[0];
            assert_eq!((hardware.by, hardware.patterns[0].as_str()), (by, pattern), "{key}");
        }
        let text = "KERNELS==\"0000:0b:00.0\", NAME=\"lan0\"\n";
        let edit = &one(text).hardware[0].instead[0];
        let mac = "00:50:56:aa:bb:01".parse().expect("an address");
        assert_eq!(
            (edit.at.clone(), edit.with(&[mac]).text.as_str()),
            (0..23, "ATTR{address}==\"00:50:56:aa:bb:01\", DRIVERS==\"?*\"")
        );
    }

    #[test]
    fn rules_that_name_no_one_card_are_passed_over() {
        for text in [
            "SUBSYSTEM==\"net\", NAME=\"$env{ID_NET_NAME}\"\n",
            "SUBSYSTEM==\"net\", ATTR{address}==\"00:50:56:aa:bb:01\", RUN+=\"/bin/x\"\n",
            "KERNEL==\"sda\", SUBSYSTEM==\"block\", NAME=\"disk\"\n",
            "#SUBSYSTEM==\"net\", ATTR{address}==\"00:50:56:aa:bb:01\", NAME=\"eth0\"\n",
            "NAME==\"eth0\", ATTR{address}==\"00:50:56:aa:bb:01\"\n",
            "SUBSYSTEM==\"net\", NAME=\"lan0\"\n",
            "broken \"",
            "NAME=\"open",
            "",
            "\\",
        ] {
            assert!(read(text).claims.is_empty(), "{text}");
        }
    }
}
