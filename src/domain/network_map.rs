//! Which network of the source becomes what on the host: the entries of `--network-map`.
//!
//! An entry is `SOURCE=TARGET`. Names of source networks are free text and may hold `=`, commas
//! and quotes; names of targets may not, so that the last `=` before a target's word divides.

use std::fmt;
use std::str::FromStr;

/// Stands for every network that no other entry names.
const OTHERS: &str = "*";

/// Longest name of a network interface in bytes (Linux, `IFNAMSIZ` less the NUL).
const LONGEST_INTERFACE: usize = 15;

/// What the interfaces of one source network are connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// A Linux bridge.
    Bridge {
        /// Its name.
        name: String,
        /// The VLAN whose frames the host tags, 1 to 4094.
        vlan: Option<u16>,
    },
    /// A bridge of Open vSwitch.
    Ovs {
        /// Its name.
        name: String,
        /// The VLAN whose frames the host tags, 1 to 4094.
        vlan: Option<u16>,
    },
    /// A libvirt network, by its name.
    Network(String),
    /// Nothing: the domain does not get the interface.
    Nothing,
}

/// One entry of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkMapping {
    /// Name of the source's network or port group, or `*`.
    pub source: String,
    /// What takes its place.
    pub target: Attachment,
}

/// All entries, no source twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkMap(Vec<NetworkMapping>);

/// An entry that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMapping {
    /// There is no `=`, or what follows is no target.
    #[error("'{entry}' is not SOURCE=TARGET with a TARGET of {FORMS}")]
    Form {
        /// The entry.
        entry: String,
    },
    /// Nothing before the `=`.
    #[error("'{entry}' names no network of the source; '*' stands for all others")]
    NoSource {
        /// The entry.
        entry: String,
    },
    /// The name of a target that cannot exist.
    #[error("'{name}' in '{entry}' cannot be the name of a {what}: {problem}")]
    Name {
        /// The entry.
        entry: String,
        /// The name.
        name: String,
        /// `bridge` or `network`.
        what: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Something after a comma that is not a VLAN of a bridge.
    #[error("'{option}' in '{entry}' is not vlan=N with N from 1 to 4094")]
    Option {
        /// The entry.
        entry: String,
        /// What stands after the comma.
        option: String,
    },
    /// Two entries for one network.
    #[error("two entries are for the network '{source_network}'")]
    Twice {
        /// Its name.
        source_network: String,
    },
}

const FORMS: &str = "bridge:NAME[,vlan=N], ovs:NAME[,vlan=N], network:NAME or none";

impl NetworkMap {
    /// A map of these entries.
    ///
    /// # Errors
    /// [`BadMapping::Twice`] when two name the same network.
    pub fn new(entries: Vec<NetworkMapping>) -> Result<Self, BadMapping> {
        for (index, entry) in entries.iter().enumerate() {
            if entries[..index].iter().any(|earlier| earlier.source == entry.source) {
                return Err(BadMapping::Twice { source_network: entry.source.clone() });
            }
        }
        Ok(Self(entries))
    }

    /// What a network of the source becomes; `None` when the map says nothing about it.
    pub fn target(&self, network: &str) -> Option<&Attachment> {
        let named = |source: &str| self.0.iter().find(|entry| entry.source == source);
        named(network).or_else(|| named(OTHERS)).map(|entry| &entry.target)
    }

    /// Whether it says something about every network.
    pub fn is_complete(&self) -> bool {
        self.0.iter().any(|entry| entry.source == OTHERS)
    }

    /// The networks of entries that none of `networks` is.
    pub fn strangers<'a>(&'a self, networks: &[&str]) -> Vec<&'a str> {
        let sources = self.0.iter().map(|entry| entry.source.as_str());
        sources.filter(|source| *source != OTHERS && !networks.contains(source)).collect()
    }
}

impl FromStr for NetworkMapping {
    type Err = BadMapping;

    fn from_str(entry: &str) -> Result<Self, BadMapping> {
        let target = |text: &str| -> Option<Result<Attachment, BadMapping>> {
            if text == "none" {
                return Some(Ok(Attachment::Nothing));
            }
            let (kind, rest) = text.split_once(':')?;
            Some(match kind {
                "network" => network(entry, rest),
                "bridge" => {
                    bridge(entry, rest).map(|(name, vlan)| Attachment::Bridge { name, vlan })
                }
                "ovs" => bridge(entry, rest).map(|(name, vlan)| Attachment::Ovs { name, vlan }),
                _ => return None,
            })
        };
        let divided = entry
            .rmatch_indices('=')
            .find_map(|(at, _)| target(&entry[at + 1..]).map(|target| (&entry[..at], target)));
        match divided {
            None => Err(BadMapping::Form { entry: entry.to_owned() }),
            Some(("", _)) => Err(BadMapping::NoSource { entry: entry.to_owned() }),
            Some((source, target)) => Ok(Self { source: source.to_owned(), target: target? }),
        }
    }
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
            Self::Nothing => return f.write_str("nothing"),
        };
        write!(f, "{kind} {name}")?;
        vlan.map_or(Ok(()), |vlan| write!(f, ", VLAN {vlan}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entry: &str) -> Result<(String, String), String> {
        let read: Result<NetworkMapping, _> = entry.parse();
        read.map(|entry| (entry.source, entry.target.to_string()))
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
            ("vlan=20=bridge:b,vlan=1", "vlan=20", "bridge b, VLAN 1"),
            ("x=network:a b,c:d", "x", "network a b,c:d"),
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
        ] {
            let error = read(entry).expect_err(entry);
            assert!(error.contains(said), "{entry}: {error}");
        }
    }

    #[test]
    fn a_name_comes_before_the_star_and_no_name_comes_twice() {
        let entries = |texts: &[&str]| texts.iter().map(|t| t.parse().expect("valid")).collect();
        let map = NetworkMap::new(entries(&["*=none", "Lab=network:lab"])).expect("valid");
        assert_eq!(map.target("Lab"), Some(&Attachment::Network("lab".to_owned())));
        assert_eq!(map.target("lab"), Some(&Attachment::Nothing));
        assert_eq!(map.strangers(&["VM Network"]), ["Lab"]);
        assert!(map.is_complete());
        let twice = NetworkMap::new(entries(&["Lab=none", "Lab=bridge:br0"]));
        assert_eq!(twice, Err(BadMapping::Twice { source_network: "Lab".to_owned() }));
        assert_eq!(NetworkMap::default().target("Lab"), None);
    }
}
