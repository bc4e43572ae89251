//! Maps networks of the source to networks of the host: the entries of `--network-map`.
//!
//! An entry is `SOURCE=TARGET`. Names of source networks are free text and may contain `=`, commas
//! and quotes; names of targets may not. The last `=` before a target keyword is therefore the
//! separator.

use std::fmt;
use std::str::FromStr;

use crate::model::{MacAddress, SourceNic};

use super::Error;

/// Matches every network that no other entry names.
const OTHERS: &str = "*";
/// Prefix of a source that is one card, by its MAC address.
const MAC: &str = "mac:";

/// Maximum length of the name of a network interface, in bytes (Linux, `IFNAMSIZ` minus the NUL).
const LONGEST_INTERFACE: usize = 15;

/// Connection of a network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// A Linux bridge.
    Bridge {
        /// Name of the bridge.
        name: String,
        /// VLAN ID that the host tags frames with, 1 to 4094.
        vlan: Option<u16>,
    },
    /// An Open vSwitch bridge.
    Ovs {
        /// Name of the bridge.
        name: String,
        /// VLAN ID that the host tags frames with, 1 to 4094.
        vlan: Option<u16>,
    },
    /// A libvirt network, by its name.
    Network(String),
    /// A private user network: the guest can reach others, and nobody can reach the guest.
    User,
    /// No connection: the domain does not get the interface.
    Nothing,
}

/// Cards that an entry matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MappedSource {
    /// The card with this MAC address.
    Mac(MacAddress),
    /// All cards in the network or port group of this name.
    Network(String),
    /// All cards that no other entry matches.
    Others,
}

impl fmt::Display for MappedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "{MAC}{mac}"),
            Self::Network(name) => f.write_str(name),
            Self::Others => f.write_str(OTHERS),
        }
    }
}

/// One entry of the network map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkMapping {
    /// Cards that the entry matches.
    pub source: MappedSource,
    /// Connection of these cards.
    pub target: Attachment,
}

/// All entries of the map, with distinct sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkMap(Vec<NetworkMapping>);

/// An invalid entry of the network map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMapping {
    /// There is no `=`, or no valid target follows it.
    #[error("'{entry}' is not SOURCE=TARGET with a TARGET of {FORMS}")]
    Form {
        /// Text of the entry.
        entry: String,
    },
    /// A target with an unknown keyword.
    #[error("'{text}' is not {FORMS}")]
    Target {
        /// Text of the target.
        text: String,
    },
    /// An invalid MAC address after `mac:`.
    #[error("'{mac}' in '{entry}' is not a MAC address such as 00:50:56:aa:bb:01")]
    Mac {
        /// Text of the entry.
        entry: String,
        /// Text after `mac:`.
        mac: String,
    },
    /// The source before `=` is empty.
    #[error("'{entry}' names no network of the source; '*' stands for all others")]
    NoSource {
        /// Text of the entry.
        entry: String,
    },
    /// An invalid name of a target.
    #[error("'{name}' in '{entry}' cannot be the name of a {what}: {problem}")]
    Name {
        /// Text of the entry.
        entry: String,
        /// Name of the target.
        name: String,
        /// `bridge` or `network`.
        what: &'static str,
        /// What is wrong with the name.
        problem: &'static str,
    },
    /// Text after a comma that is no VLAN of a bridge.
    #[error("'{option}' in '{entry}' is not vlan=N with N from 1 to 4094")]
    Option {
        /// Text of the entry.
        entry: String,
        /// Text after the comma.
        option: String,
    },
    /// Two entries for the same cards.
    #[error("two entries are for '{entry_source}'")]
    Twice {
        /// Source of both entries: the text before `=`.
        entry_source: String,
    },
}

const FORMS: &str = "bridge:NAME[,vlan=N], ovs:NAME[,vlan=N], network:NAME, user or none";

impl NetworkMap {
    /// Creates a map from entries.
    ///
    /// # Errors
    /// [`BadMapping::Twice`] if two entries have the same source.
    pub fn new(entries: Vec<NetworkMapping>) -> Result<Self, BadMapping> {
        for (index, entry) in entries.iter().enumerate() {
            if entries[..index].iter().any(|earlier| earlier.source == entry.source) {
                return Err(BadMapping::Twice { entry_source: entry.source.to_string() });
            }
        }
        Ok(Self(entries))
    }

    /// The connection of a card; `None` if the map does not specify it. An entry with the card's
    /// MAC address comes first, then an entry with its network. Next is the user's choice for the
    /// card itself (`--nic bridge:br0`), and last `*`.
    pub fn target(&self, nic: &SourceNic) -> Option<Attachment> {
        let entry = |test: &dyn Fn(&MappedSource) -> bool| {
            self.0.iter().find(|entry| test(&entry.source)).map(|entry| entry.target.clone())
        };
        let typed = || nic.asked.as_ref().and_then(|_| nic.network.parse().ok());
        entry(&|source| has_mac(source, nic))
            .or_else(|| entry(&|source| is_network(source, nic)))
            .or_else(typed)
            .or_else(|| entry(&|source| *source == MappedSource::Others))
    }

    /// Targets of all entries.
    pub fn targets(&self) -> impl Iterator<Item = &Attachment> {
        self.0.iter().map(|entry| &entry.target)
    }

    /// Whether the map has an entry for every card.
    pub fn is_complete(&self) -> bool {
        self.0.iter().any(|entry| entry.source == MappedSource::Others)
    }

    /// Refuses entries that match no card. `*` may match none.
    ///
    /// # Errors
    /// [`Error::UnusedMapping`] with these entries and all cards.
    pub fn check(&self, nics: &[SourceNic]) -> Result<(), Error> {
        let matches = |source: &MappedSource| {
            *source == MappedSource::Others
                || nics.iter().any(|nic| has_mac(source, nic) || is_network(source, nic))
        };
        let sources = self.0.iter().map(|entry| &entry.source).filter(|source| !matches(source));
        let unused: Vec<_> = sources.map(ToString::to_string).collect();
        if unused.is_empty() {
            return Ok(());
        }
        Err(Error::UnusedMapping { unused, cards: nics.iter().map(describe).collect() })
    }
}

/// The user may also identify a card by its MAC address at the source.
fn has_mac(source: &MappedSource, nic: &SourceNic) -> bool {
    matches!(source, MappedSource::Mac(mac) if [nic.mac, nic.source_mac].contains(&Some(*mac)))
}

fn is_network(source: &MappedSource, nic: &SourceNic) -> bool {
    matches!(source, MappedSource::Network(name) if *name == nic.network)
}

/// Describes a card: `nic-0 (00:50:56:aa:bb:01) in 'VM Network'`.
fn describe(nic: &SourceNic) -> String {
    let mac = nic.mac.map_or_else(|| "no MAC address".to_owned(), |mac| mac.to_string());
    format!("{} ({mac}) in '{}'", nic.id, nic.network)
}

impl FromStr for NetworkMapping {
    type Err = BadMapping;

    fn from_str(entry: &str) -> Result<Self, BadMapping> {
        let divided = entry
            .rmatch_indices('=')
            .find_map(|(at, _)| Some((&entry[..at], attachment(entry, &entry[at + 1..])?)));
        let (source, target) =
            divided.ok_or_else(|| BadMapping::Form { entry: entry.to_owned() })?;
        Ok(Self { source: mapped_source(entry, source)?, target: target? })
    }
}

fn mapped_source(entry: &str, text: &str) -> Result<MappedSource, BadMapping> {
    match (text, text.strip_prefix(MAC)) {
        ("", _) => Err(BadMapping::NoSource { entry: entry.to_owned() }),
        (OTHERS, _) => Ok(MappedSource::Others),
        (_, Some(mac)) => mac
            .trim()
            .parse()
            .map(MappedSource::Mac)
            .map_err(|_| BadMapping::Mac { entry: entry.to_owned(), mac: mac.to_owned() }),
        (name, None) => Ok(MappedSource::Network(name.to_owned())),
    }
}

impl FromStr for Attachment {
    type Err = BadMapping;

    /// Parses a TARGET of `--network-map`.
    fn from_str(text: &str) -> Result<Self, BadMapping> {
        attachment(text, text).unwrap_or_else(|| Err(BadMapping::Target { text: text.to_owned() }))
    }
}

/// Parses `text`, a part of `entry`, as a target; `None` if it does not begin with a target
/// keyword.
fn attachment(entry: &str, text: &str) -> Option<Result<Attachment, BadMapping>> {
    match text {
        "none" => return Some(Ok(Attachment::Nothing)),
        "user" => return Some(Ok(Attachment::User)),
        _ => {}
    }
    let (kind, rest) = text.split_once(':')?;
    Some(match kind {
        "network" => network(entry, rest),
        "bridge" => bridge(entry, rest).map(|(name, vlan)| Attachment::Bridge { name, vlan }),
        "ovs" => bridge(entry, rest).map(|(name, vlan)| Attachment::Ovs { name, vlan }),
        _ => return None,
    })
}

fn network(entry: &str, name: &str) -> Result<Attachment, BadMapping> {
    let problem = match name {
        "" => "it is empty",
        _ if name.contains(['/', '\n']) => "it has a slash or a line break",
        _ => return Ok(Attachment::Network(name.to_owned())),
    };
    let (entry, name) = (entry.to_owned(), name.to_owned());
    Err(BadMapping::Name { entry, name, what: "network", problem })
}

fn bridge(entry: &str, text: &str) -> Result<(String, Option<u16>), BadMapping> {
    let (name, option) = text.split_once(',').map_or((text, None), |(n, o)| (n, Some(o)));
    let problem = match name {
        "" => Some("it is empty"),
        _ if name.len() > LONGEST_INTERFACE => Some("it is longer than 15 bytes"),
        _ if name
            .contains(|c: char| c == '/' || c == '=' || c.is_whitespace() || c.is_control()) =>
        {
            Some("it has a slash, an equals sign or a space")
        }
        _ => None,
    };
    if let Some(problem) = problem {
        let (entry, name) = (entry.to_owned(), name.to_owned());
        return Err(BadMapping::Name { entry, name, what: "bridge", problem });
    }
    let bad =
        |option: &str| BadMapping::Option { entry: entry.to_owned(), option: option.to_owned() };
    let vlan = |option: &str| {
        let number = option.strip_prefix("vlan=").and_then(|number| number.parse::<u16>().ok());
        number.filter(|number| (1..=4094).contains(number)).ok_or_else(|| bad(option))
    };
    Ok((name.to_owned(), option.map(vlan).transpose()?))
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name, vlan) = match self {
            Self::Bridge { name, vlan } => ("bridge", name, vlan),
            Self::Ovs { name, vlan } => ("Open vSwitch bridge", name, vlan),
            Self::Network(name) => ("network", name, &None),
            Self::User => return f.write_str("a user network"),
            Self::Nothing => return f.write_str("nothing"),
        };
        write!(f, "{kind} {name}")?;
        vlan.map_or(Ok(()), |vlan| write!(f, ", VLAN {vlan}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixture::nic;
    use crate::model::AskedNic;
    use crate::model::Hint;

    fn read(entry: &str) -> Result<(String, String), String> {
        let read: Result<NetworkMapping, _> = entry.parse();
        read.map(|entry| (entry.source.to_string(), entry.target.to_string()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_target_and_every_name_is_understood() {
        for (entry, source, target) in [
            ("VM Network=bridge:br0", "VM Network", "bridge br0"),
            ("Lab=network:default", "Lab", "network default"),
            ("DMZ=bridge:br1,vlan=20", "DMZ", "bridge br1, VLAN 20"),
            ("Storage=ovs:ovsbr0", "Storage", "Open vSwitch bridge ovsbr0"),
            ("S=ovs:ovsbr0,vlan=4094", "S", "Open vSwitch bridge ovsbr0, VLAN 4094"),
            ("*=none", "*", "nothing"),
            ("a=b, 'c' \"\u{1f980}\"=bridge:br0", "a=b, 'c' \"\u{1f980}\"", "bridge br0"),
            ("a==none", "a=", "nothing"),
            ("*=user", "*", "a user network"),
            ("Lab=network:user", "Lab", "network user"),
            ("vlan=20=bridge:b,vlan=1", "vlan=20", "bridge b, VLAN 1"),
            ("x=network:a b,c:d", "x", "network a b,c:d"),
            ("mac:00:50:56:aa:bb:01=bridge:br1", "mac:00:50:56:aa:bb:01", "bridge br1"),
            ("mac:00-50-56-AA-BB-01=none", "mac:00:50:56:aa:bb:01", "nothing"),
            ("mac:0050.56AA.bb01=network:x", "mac:00:50:56:aa:bb:01", "network x"),
            ("Mac: lab=none", "Mac: lab", "nothing"),
        ] {
            assert_eq!(read(entry), Ok((source.to_owned(), target.to_owned())), "{entry}");
        }
    }

    #[test]
    fn every_mistake_is_named_with_its_entry() {
        for (entry, said) in [
            ("Lab", "'Lab' is not SOURCE=TARGET with a TARGET of bridge:NAME[,vlan=N], "),
            ("", "'' is not SOURCE=TARGET"),
            ("Lab=br0", "'Lab=br0' is not SOURCE=TARGET"),
            ("Lab=None", "'Lab=None' is not SOURCE=TARGET"),
            ("Lab=vswitch:x", "'Lab=vswitch:x' is not SOURCE=TARGET"),
            ("=none", "'=none' names no network of the source"),
            ("a=bridge:", "'' in 'a=bridge:' cannot be the name of a bridge: it is empty"),
            ("a=bridge:a b", "cannot be the name of a bridge: it has a slash, an equals sign"),
            ("a=ovs:0123456789abcdef", "it is longer than 15 bytes"),
            ("a=network:x/y", "cannot be the name of a network: it has a slash"),
            ("a=bridge:b,vlan=0", "'vlan=0' in 'a=bridge:b,vlan=0' is not vlan=N"),
            ("a=bridge:b,vlan=4095", "is not vlan=N with N from 1 to 4094"),
            ("a=bridge:b,", "'' in 'a=bridge:b,' is not vlan=N"),
            ("a=ovs:b,vlan=1,vlan=2", "'vlan=1,vlan=2' in"),
            ("mac:00:50=none", "'00:50' in 'mac:00:50=none' is not a MAC address"),
            ("mac:=bridge:b", "'' in 'mac:=bridge:b' is not a MAC address"),
        ] {
            let error = read(entry).expect_err(entry);
            assert!(error.contains(said), "{entry}: {error}");
        }
    }

    fn map(texts: &[&str]) -> NetworkMap {
        let entries = texts.iter().map(|text| text.parse().expect("valid")).collect();
        NetworkMap::new(entries).expect("valid")
    }

    fn card(network: &str) -> SourceNic {
        SourceNic { network: network.to_owned(), ..nic(1) }
    }

    #[test]
    fn an_address_comes_before_a_name_and_a_name_before_the_star() {
        let map = map(&["*=none", "Lab=network:lab", "mac:00:50:56:00:00:01=bridge:br1"]);
        let target = |nic: &SourceNic| map.target(nic).map(|target| target.to_string());
        assert_eq!(target(&card("Lab")).as_deref(), Some("bridge br1"));
        let other = SourceNic { network: "Lab".to_owned(), ..nic(2) };
        assert_eq!(target(&other).as_deref(), Some("network lab"));
        let replaced = SourceNic { source_mac: card("Lab").mac, ..other };
        assert_eq!(target(&replaced).as_deref(), Some("bridge br1"), "named by its old address");
        let third = SourceNic { network: "lab".to_owned(), ..nic(3) };
        assert_eq!(target(&third).as_deref(), Some("nothing"), "names differ by case");
        assert!(map.is_complete());
        assert_eq!(NetworkMap::default().target(&card("Lab")), None);
    }

    #[test]
    fn what_is_typed_for_a_card_comes_before_the_star_alone() {
        let asked =
            |network: &str| SourceNic { asked: Some(AskedNic { card: None }), ..card(network) };
        let target = |map: &NetworkMap, nic: &SourceNic| map.target(nic).map(|t| t.to_string());
        let star = map(&["*=none"]);
        assert_eq!(
            target(&star, &asked("bridge:br0,vlan=7")).as_deref(),
            Some("bridge br0, VLAN 7")
        );
        assert_eq!(target(&star, &asked("LAN")).as_deref(), Some("nothing"));
        assert_eq!(target(&star, &card("bridge:br0")).as_deref(), Some("nothing"), "a name");
        assert_eq!(target(&map(&["LAN=network:x"]), &asked("LAN")).as_deref(), Some("network x"));
        assert_eq!(target(&NetworkMap::default(), &asked("LAN")), None);
    }

    #[test]
    fn entries_that_no_card_matches_are_refused_with_all_cards() {
        let nics = [card("VM Network"), SourceNic { mac: None, ..card("Lab") }];
        let refused = |texts: &[&str], nics: &[SourceNic]| {
            let error = map(texts).check(nics).expect_err("refused");
            assert!(error.hint().expect("a hint").contains("--network-map"));
            error.to_string()
        };
        assert_eq!(
            refused(&["X=none", "mac:00:50:56:00:00:09=none", "Lab=none"], &nics),
            "no network card of the VM matches 'X', 'mac:00:50:56:00:00:09'; its cards: nic-1 \
             (00:50:56:00:00:01) in 'VM Network', nic-1 (no MAC address) in 'Lab'"
        );
        assert_eq!(
            refused(&["Lab=none"], &[]),
            "no network card of the VM matches 'Lab'; it has no network card"
        );
        map(&["*=none", "Lab=none", "mac:00:50:56:00:00:01=none"]).check(&nics).expect("all match");
        map(&["*=none"]).check(&[]).expect("nothing is left for it");
    }

    #[test]
    fn no_card_has_two_entries() {
        let twice = |texts: [&str; 2]| {
            let entries = texts.map(|text| text.parse().expect("valid"));
            NetworkMap::new(entries.to_vec()).map_err(|error| error.to_string())
        };
        assert_eq!(twice(["Lab=none", "Lab=bridge:br0"]), Err("two entries are for 'Lab'".into()));
        assert_eq!(
            twice(["mac:00:50:56:AA:bb:01=none", "mac:005056aabb01=bridge:b"]),
            Err("two entries are for 'mac:00:50:56:aa:bb:01'".into())
        );
    }
}
