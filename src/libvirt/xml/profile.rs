//! The hardware profiles of `vendor-xml/`: domain-XML fragments that `build.rs` embeds.

use serde::{Deserialize, Serialize};

use crate::domain::{Family, Profile};

use super::devices::{Device, Devices};
use super::features::{Clock, Features, Pm};
use super::{XmlError, read};

include!(concat!(env!("OUT_DIR"), "/profiles.rs"));

/// A `<domain>` that has only what does not depend on the VM. An element that these types do not
/// know is an error, not dropped: it would be missing in every domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileXml {
    /// What the mainboard can do.
    pub features: Features,
    /// Clock and timers.
    pub clock: Option<Clock>,
    /// Sleep states.
    pub pm: Option<Pm>,
    /// Devices.
    pub devices: Devices,
}

fn name(family: Family) -> &'static str {
    match family {
        Family::Linux => "linux",
        Family::Windows => "windows",
        Family::Generic => "generic",
    }
}

impl ProfileXml {
    /// The embedded profile of a family.
    pub fn load(family: Family) -> Result<Self, XmlError> {
        let name = name(family);
        let text = PROFILES.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text);
        read("domain", text)
    }

    /// What it wishes that a host may not have.
    pub fn wishes(&self, family: Family) -> Profile {
        let video = self.devices.list.iter().find_map(|device| match device {
            Device::Video(video) => Some(video.model.kind.clone()),
            _ => None,
        });
        let hyperv = self.features.hyperv.iter().flat_map(|hyperv| &hyperv.list);
        Profile { family, video, hyperv: hyperv.map(|e| e.name().to_owned()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::xml::write;

    const FAMILIES: [Family; 3] = [Family::Linux, Family::Windows, Family::Generic];

    #[test]
    fn every_profile_is_read_whole_and_belongs_to_a_family() {
        for family in FAMILIES {
            let profile = ProfileXml::load(family).expect("it parses");
            let again: ProfileXml =
                read("domain", &write("domain", &profile).expect("writes")).expect("reads");
            assert_eq!(again, profile, "{family:?}");
        }
        let names: Vec<_> = PROFILES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), FAMILIES.len(), "{names:?}");
    }

    #[test]
    fn every_profile_has_what_the_owner_asks_for() {
        for family in FAMILIES {
            let profile = ProfileXml::load(family).expect("it parses");
            let text = write("domain", &profile).expect("writes");
            for part in [
                "<input type=\"tablet\"",
                "org.qemu.guest_agent.0",
                "/dev/urandom",
                "<serial type=\"pty\"",
                "<memballoon",
                "listen=\"127.0.0.1\"",
                "<video>",
                "<acpi/>",
            ] {
                assert!(text.contains(part), "{family:?} lacks {part}");
            }
            let windows = family == Family::Windows;
            assert_eq!(text.contains("offset=\"localtime\""), windows);
            assert_eq!(text.contains("hypervclock"), windows);
            assert_eq!(!profile.wishes(family).hyperv.is_empty(), windows);
        }
    }

    #[test]
    fn what_the_types_do_not_know_is_not_dropped() {
        for text in [
            "<domain><features/><devices><watchdog model='i6300esb'/></devices></domain>",
            "<domain><features><pae/></features><devices/></domain>",
            "<domain><features/><devices/><cputune/></domain>",
        ] {
            assert!(read::<ProfileXml>("domain", text).is_err(), "{text}");
        }
    }
}
