//! The hardware profiles of `vendor-xml/`: domain-XML fragments that `build.rs` embeds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::{Family, Profile};

use super::devices::{Device, Devices};
use super::features::{Clock, Enlightenment, Features, Pm};
use super::{XmlError, read};

include!(concat!(env!("OUT_DIR"), "/profiles.rs"));

/// A `<domain>` with only the parts that do not depend on the VM. An unknown element is an error
/// and is not ignored: every domain would lack it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileXml {
    /// Hypervisor features.
    pub features: Features,
    /// Clock and timers.
    pub clock: Option<Clock>,
    /// Support for ACPI sleep states.
    pub pm: Option<Pm>,
    /// Devices of the profile.
    pub devices: Devices,
}

fn name(family: Family) -> &'static str {
    match family {
        Family::Linux => "linux",
        Family::LinuxLegacy => "linux-legacy",
        Family::Windows => "windows",
        Family::WindowsLegacy => "windows-legacy",
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

    /// Parses a user's own profile. The error names the element or attribute and its line.
    pub fn parse(text: &str) -> Result<Self, String> {
        read("domain", text).map_err(|error| match error {
            XmlError::Read { source, .. } => located(&source.to_string(), text),
            other => other.to_string(),
        })
    }

    /// The hardware profile of a plan.
    pub fn of(profile: &Profile) -> Result<Self, XmlError> {
        match &profile.custom {
            Some(text) => read("domain", text),
            None => Self::load(profile.family),
        }
    }

    /// The elements of the profile that a host may not support.
    pub fn wishes(&self, family: Family, custom: Option<Arc<str>>) -> Profile {
        let devices = &self.devices.list;
        let video = devices.iter().find_map(|device| match device {
            Device::Video(video) => Some(video.model.kind.clone()),
            _ => None,
        });
        let panic = devices.iter().find_map(|device| match device {
            Device::Panic(panic) => Some(panic.model.clone()),
            _ => None,
        });
        let hyperv = self.features.hyperv.iter().flat_map(|hyperv| &hyperv.list);
        let hyperv = hyperv.flat_map(Enlightenment::names).collect();
        Profile { family, custom, video, hyperv, panic }
    }
}

/// Why a profile that was parsed cannot be used for a plan; `None` if it can.
pub fn fault(profile: &ProfileXml) -> Option<String> {
    let devices = &profile.devices.list;
    let planned = devices.iter().find_map(|device| match device {
        Device::Emulator(_) => Some("emulator"),
        Device::Disk(_) => Some("disk"),
        Device::Interface(_) => Some("interface"),
        Device::Tpm(_) => Some("tpm"),
        Device::Controller(controller) if controller.kind != "usb" => Some("controller"),
        _ => None,
    });
    if let Some(name) = planned {
        return Some(format!("<{name}> depends on the VM and is planned for it"));
    }
    let count = |is: fn(&&Device) -> bool| devices.iter().filter(is).count();
    let twice = [
        ("video", count(|device| matches!(device, Device::Video(_)))),
        ("panic", count(|device| matches!(device, Device::Panic(_)))),
    ];
    let twice = twice.iter().find(|(_, count)| *count > 1);
    twice.map(|(name, _)| format!("there is more than one <{name}>"))
}

/// The deserializer's message in terms of XML, with the line number of the element.
fn located(message: &str, text: &str) -> String {
    let mut quoted = message.split('`');
    let (before, name) = (quoted.next().unwrap_or_default(), quoted.next());
    let known = ["unknown", "missing"].iter().any(|word| message.starts_with(word));
    let Some(name) = name.filter(|_| known) else {
        let line = text.lines().count().max(1);
        return format!("line {line}: {message}");
    };
    let (shown, sought) = match name.strip_prefix('@') {
        Some(attribute) => (format!("attribute '{attribute}'"), format!("{attribute}=")),
        None => (format!("<{name}>"), format!("<{name}")),
    };
    let problem = if before.starts_with("missing") { "is missing" } else { "is not known" };
    match text.find(&sought).filter(|_| problem == "is not known") {
        Some(at) => format!("line {}: {shown} {problem}", text[..at].matches('\n').count() + 1),
        None => format!("{shown} {problem}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::xml::write;

    const FAMILIES: [Family; 5] = [
        Family::Linux,
        Family::LinuxLegacy,
        Family::Windows,
        Family::WindowsLegacy,
        Family::Generic,
    ];

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
                "<serial type=\"pty\"",
                "<memballoon",
                "listen=\"127.0.0.1\"",
                "<video>",
                "<acpi/>",
            ] {
                assert!(text.contains(part), "{family:?} lacks {part}");
            }
            // A legacy guest has no driver for devices that exist only as virtio.
            let old = matches!(family, Family::LinuxLegacy | Family::WindowsLegacy);
            for part in ["org.qemu.guest_agent.0", "/dev/urandom"] {
                assert_eq!(!text.contains(part), old, "{family:?}: {part}");
            }
            assert_eq!(text.contains("offset=\"localtime\""), family.is_windows());
            let wishes = profile.wishes(family, None);
            assert_eq!(text.contains("hypervclock"), family == Family::Windows);
            assert_eq!(!wishes.hyperv.is_empty(), family == Family::Windows);
            assert!(wishes.video.is_some());
        }
    }

    #[test]
    fn what_the_types_do_not_know_is_not_dropped() {
        for text in [
            "<domain><features/><devices><hub type='usb'/></devices></domain>",
            "<domain><features><pae/></features><devices/></domain>",
            "<domain><features/><devices/><cputune/></domain>",
        ] {
            assert!(read::<ProfileXml>("domain", text).is_err(), "{text}");
        }
    }
}
