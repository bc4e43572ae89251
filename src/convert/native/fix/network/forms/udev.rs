//! Rules of udev that name a card: udev(7), "RULES FILES".

use std::ops::Range;

use super::super::claim::{
    BARE_MAC, ClaimRole, Edit, MAC, MacSpot, NameClaim, Says, Spot, is_pattern, mac,
};
use super::super::place::{By, HardwareSelection};

/// One `KEY{attribute}==value` of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token<'a> {
    key: &'a str,
    attribute: &'a str,
    operator: &'a str,
    /// Whether the comparison ignores case.
    ignores_case: bool,
    value: Spot<String>,
    /// Place of the token, from the key to the closing quote.
    at: Range<usize>,
}

impl Token<'_> {
    fn is(&self, keys: &[&str], attribute: &str) -> bool {
        keys.contains(&self.key) && self.attribute == attribute && self.operator == "=="
    }
}

/// Reads a file of rules.
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

/// The tokens of a rule; the text after an invalid token is ignored, as udev does.
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
    // e"…" is a string with escapes, i"…" one whose case is ignored.
    let before = rest.trim_start_matches(['e', 'i']);
    let ignores_case = rest[..rest.len() - before.len()].contains('i');
    rest = before;
    let inner = rest.strip_prefix('"')?;
    let close = closing_quote(inner)?;
    let start = text.len() - inner.len();
    let value = Spot::new(inner[..close].to_owned(), base + start..base + start + close);
    let length = start + close + 1;
    let at = base..base + length;
    let token = Token { key, attribute, operator, ignores_case, value, at };
    (!key.is_empty()).then_some((token, length))
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
fn claim(rule: &[Token<'_>]) -> Option<NameClaim> {
    let name = rule.iter().rev().find(|token| {
        token.key == "NAME" && token.attribute.is_empty() && ["=", ":="].contains(&token.operator)
    })?;
    // A rule with a substitution does not name one single card.
    let is_plain = !name.value.value.is_empty() && !name.value.value.contains(['$', '%']);
    let other = rule.iter().any(|token| {
        ["SUBSYSTEM", "SUBSYSTEMS"].contains(&token.key)
            && token.operator == "=="
            && !["net", "pci", "virtio"].contains(&token.value.value.as_str())
    });
    if !is_plain || other {
        return None;
    }
    let is_net =
        rule.iter().any(|token| token.is(&["SUBSYSTEM"], "") && token.value.value == "net");
    let mut claim = NameClaim { role: ClaimRole::Renames, ..NameClaim::named(name.value.clone()) };
    for token in rule.iter().filter(|token| token.operator == "==") {
        let value = token.value.value.as_str();
        // SYSFS is the old word for ATTRS.
        if token.is(&["ATTR", "ATTRS", "SYSFS"], "address") {
            let Some(spot) = MacSpot::read(&token.value) else { continue };
            // The kernel writes an address in one way, and udev compares letter by letter: a rule
            // with another spelling has never named a card.
            if !token.ignores_case && value != spot.mac.to_string() {
                return None;
            }
            claim.macs.push(spot);
        } else if let Some(spot) = mac_in_name(token) {
            claim.macs.push(spot);
        } else if let Some((by, patterns)) = by(token) {
            // Devices of other kinds have kernel names, too.
            let is_card = is_net || value.starts_with("eth") || value.starts_with("en");
            if by == By::KernelName && !is_card {
                return None;
            }
            claim.hardware.push(hardware(by, token, patterns));
        } else {
            claim.is_doubtful |= !is_met(token);
        }
    }
    (!claim.macs.is_empty() || !claim.hardware.is_empty()).then_some(claim)
}

/// `ENV{ID_NET_NAME_MAC}=="enx005056aabb01"`: systemd's name, made from the address.
fn mac_in_name(token: &Token<'_>) -> Option<MacSpot> {
    let digits = token.value.value.strip_prefix("enx").filter(|digits| digits.len() == 12)?;
    let is_name = token.key == "ENV" && token.attribute.starts_with("ID_NET_NAME");
    let pairs: Vec<_> = digits.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
    let mac = mac(&pairs.join(":")).filter(|_| is_name)?;
    let at = token.value.at.start + "enx".len()..token.value.at.end;
    Some(MacSpot { mac, edit: Edit::new(at, BARE_MAC) })
}

/// Whether a card on KVM meets a condition as one on VMware does.
fn is_met(token: &Token<'_>) -> bool {
    let value = token.value.value.as_str();
    let is_anything = !value.is_empty() && value.chars().all(|c| c == '*' || c == '?');
    let is_same = match token.key {
        "ATTR" | "ATTRS" | "SYSFS" => SAME_ATTRIBUTES.contains(&(token.attribute, value)),
        "ENV" => SAME_PROPERTIES.contains(&token.attribute) || token.attribute.contains("NAME_MAC"),
        // The condition does not concern the hardware.
        _ => true,
    };
    is_anything || is_same
}

/// Attributes that every Ethernet card has.
const SAME_ATTRIBUTES: [(&str, &str); 5] = [
    ("type", "1"),
    ("dev_id", "0x0"),
    ("dev_port", "0"),
    ("addr_assign_type", "0"),
    ("addr_len", "6"),
];
/// Properties that do not depend on the hardware.
const SAME_PROPERTIES: [&str; 5] = ["ACTION", "SUBSYSTEM", "ID_BUS", "INTERFACE", "DEVTYPE"];

/// The kind and the patterns of a token that selects a card by hardware that KVM does not have.
fn by(token: &Token<'_>) -> Option<(By, Vec<String>)> {
    let value = token.value.value.as_str();
    let by = match (token.key, token.attribute) {
        ("KERNELS" | "ID" | "DEVPATH", "") => value.contains(':').then_some(By::Address),
        ("DRIVERS" | "DRIVER", "") => Some(By::Driver),
        ("KERNEL", "") => (!is_pattern(value)).then_some(By::KernelName),
        ("ATTRS" | "ATTR" | "SYSFS", name) => attribute(name, value),
        ("ENV", name) => return property(name, value),
        _ => None,
    };
    Some((by?, patterns(by?, value)))
}

fn attribute(name: &str, value: &str) -> Option<By> {
    match name {
        "vendor" | "subsystem_vendor" => (value == VMWARE).then_some(By::Vendor),
        "device" | "subsystem_device" => Some(By::Model),
        "label" => Some(By::Label),
        _ => None,
    }
}

/// VMware's vendor id.
const VMWARE: &str = "0x15ad";

/// The kind and the patterns of a udev property that selects a card by hardware that KVM does not
/// have.
pub(super) fn property(name: &str, value: &str) -> Option<(By, Vec<String>)> {
    let by = match name {
        "ID_NET_DRIVER" => By::Driver,
        "ID_PATH" => By::Path,
        // The path with other separators.
        "ID_PATH_TAG" => return Some((By::Path, patterns(By::Path, &value.replace('_', "?")))),
        "ID_VENDOR_ID" if value == VMWARE => By::Vendor,
        "ID_MODEL_ID" => By::Model,
        "ID_NET_LABEL_ONBOARD" => By::Label,
        // A name made from the MAC address is the same on KVM.
        name if name.starts_with("ID_NET_NAME") && !value.starts_with("enx") => By::PlaceName,
        _ => return None,
    };
    Some((by, patterns(by, value)))
}

fn hardware(by: By, token: &Token<'_>, patterns: Vec<String>) -> HardwareSelection {
    // Without DRIVERS the rule would also match VLANs, which have the address of their card.
    let instead = format!("ATTR{{address}}==\"{MAC}\", DRIVERS==\"?*\"");
    HardwareSelection {
        by,
        patterns,
        instead: vec![Edit::new(token.at.clone(), instead)],
        without: vec![Edit::new(token.at.clone(), "DRIVERS==\"?*\"")],
        takes_list: false,
        words: format!("{}=={:?}", token.key, token.value.value),
    }
}

/// Alternatives are separated by `|`. In a path through the device tree the last place counts.
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

    fn one(text: &str) -> NameClaim {
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
        let spaces = "SUBSYSTEM==\"net\" ATTRS{address}==\"00:50:56:aa:bb:01\" NAME=\"lan0\"\n";
        let any_case = "ATTR{address}==i\"00:50:56:AA:BB:01\", NAME=\"lan0\"\n";
        let old = "SUBSYSTEM==\"net\", SYSFS{address}==\"00:50:56:aa:bb:01\", NAME=\"lan0\"\n";
        for text in [debian, tight, wide, lines, spaces, any_case, old] {
            let claim = one(text);
            assert_eq!(claim.names[0].value, "lan0");
            assert_eq!(&text[claim.names[0].at.clone()], "lan0");
            assert_eq!(claim.macs[0].mac.to_string(), "00:50:56:aa:bb:01", "{text}");
            assert_eq!(claim.role, ClaimRole::Renames);
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
            ("DEVPATH==\"*:0b:00.0/*\"", By::Address, "*:0b:00.0"),
            ("ATTRS{device}==\"0x07b0\"", By::Model, "0x07b0"),
            ("ATTRS{subsystem_device}==\"0x07b0\"", By::Model, "0x07b0"),
            ("ENV{ID_MODEL_ID}==\"0x07b0\"", By::Model, "0x07b0"),
            ("ENV{ID_VENDOR_ID}==\"0x15ad\"", By::Vendor, "0x15ad"),
            ("ATTRS{label}==\"Ethernet0\"", By::Label, "Ethernet0"),
            ("ENV{ID_NET_LABEL_ONBOARD}==\"Ethernet0\"", By::Label, "Ethernet0"),
            ("ENV{ID_PATH_TAG}==\"pci-0000_0b_00_0\"", By::Path, "pci-0000?0b?00?0"),
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
    fn a_name_made_of_the_address_identifies() {
        let text = "SUBSYSTEM==\"net\", ENV{ID_NET_NAME_MAC}==\"enx005056aabb01\", NAME=\"lan0\"\n";
        let claim = one(text);
        assert_eq!(claim.macs[0].mac.to_string(), "00:50:56:aa:bb:01");
        let mac = "00:50:56:aa:bb:02".parse().expect("an address");
        let edit = claim.macs[0].edit.with(&[mac]);
        assert_eq!((&text[edit.at], edit.text.as_str()), ("005056aabb01", "005056aabb02"));
        assert!(!claim.is_doubtful);
    }

    #[test]
    fn conditions_that_kvm_may_not_meet_are_doubtful() {
        let rule = |condition: &str| {
            one(&format!("ATTR{{address}}==\"00:50:56:aa:bb:01\", {condition}, NAME=\"lan0\"\n"))
        };
        for condition in ["ATTRS{vendor}==\"0x8086\"", "ENV{ID_X}==\"1\"", "ATTR{mtu}==\"1500\""] {
            assert!(rule(condition).is_doubtful, "{condition}");
        }
        for condition in [
            "ATTR{type}==\"1\"",
            "ATTR{dev_id}==\"0x0\"",
            "ATTRS{vendor}==\"?*\"",
            "ENV{ID_BUS}==\"pci\"",
            "ENV{ID_X}!=\"1\"",
            "ACTION==\"add\"",
        ] {
            assert!(!rule(condition).is_doubtful, "{condition}");
        }
    }

    #[test]
    fn rules_that_name_no_one_card_are_passed_over() {
        for text in [
            // The kernel writes its addresses in lower case and with colons.
            "ATTR{address}==\"00:50:56:AA:BB:01\", NAME=\"lan0\"\n",
            "ATTR{address}==\"00-50-56-aa-bb-01\", NAME=\"lan0\"\n",
            "KERNEL==\"hw_random\", NAME=\"hwrng\"\n",
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
