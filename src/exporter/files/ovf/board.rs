//! The identity of an OVF's VM, and its minor devices.

use super::schema::{HardwareSection, Item, setting};
use crate::exporter::identity;
use crate::model::{Board, NotKept, OsFamily, SoundCard};

/// Maximum number of floppy drives: a controller has two.
const MOST_FLOPPIES: usize = 2;

/// The facts of a hardware section. By design, a package is a template: only VMware's VMX lines,
/// which the exporter of the package has to request, identify the source VM.
pub(super) fn board(hardware: &HardwareSection, family: OsFamily) -> Board {
    let line = |key| setting(&hardware.extra_config, key).unwrap_or_default();
    let version = hardware.system.virtual_system_type.as_deref().unwrap_or_default();
    let is_floppy = |item: &&Item| item.kind.trim() == "14";
    let floppies = hardware.item.iter().filter(is_floppy).take(MOST_FLOPPIES);
    Board {
        sound: hardware.item.iter().find_map(sound),
        not_kept: floppies.map(|item| NotKept::floppy(&label(item))).collect(),
        ..identity::board(line("uuid.bios"), family, version, line("vm.genid"), line("vm.genidX"))
    }
}

fn label(item: &Item) -> String {
    let name = item.name.as_deref().unwrap_or_default().trim();
    if name.is_empty() { "an item".to_owned() } else { name.chars().take(100).collect() }
}

/// VMware's `vmware.soundcard.hdaudio` and its kind, VirtualBox's `ensoniq1371` of the type 35.
fn sound(item: &Item) -> Option<SoundCard> {
    let kind = item.subtype.first().map(|kind| kind.trim().to_ascii_lowercase());
    let kind = kind.unwrap_or_default();
    if item.kind.trim() != "35" && !kind.contains("soundcard") {
        return None;
    }
    Some(match kind.as_str() {
        kind if kind.contains("sb16") || kind.contains("soundblaster") => SoundCard::Sb16,
        kind if kind.contains("ac97") => SoundCard::Ac97,
        kind if kind.contains("hda") => SoundCard::Hda,
        _ => SoundCard::Ensoniq,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter::files::ovf::schema::Setting;

    fn item(kind: &str, subtype: &str, name: &str) -> Item {
        Item {
            kind: kind.to_owned(),
            subtype: vec![subtype.to_owned()],
            name: Some(name.to_owned()),
            ..Item::default()
        }
    }

    #[test]
    fn lesser_devices_and_lines_of_the_vmx_are_read() {
        for (kind, subtype, card) in [
            ("1", "vmware.soundcard.hdaudio", Some(SoundCard::Hda)),
            ("1", "vmware.soundcard.ensoniq1371", Some(SoundCard::Ensoniq)),
            ("1", "vmware.soundcard.sb16", Some(SoundCard::Sb16)),
            ("35", "ensoniq1371", Some(SoundCard::Ensoniq)),
            ("35", "hda", Some(SoundCard::Hda)),
            ("35", "ac97", Some(SoundCard::Ac97)),
            ("1", "vmware.vmci", None),
        ] {
            let mut hardware = HardwareSection::default();
            hardware.item.push(item(kind, subtype, "x"));
            assert_eq!(board(&hardware, OsFamily::Linux).sound, card, "{subtype}");
        }
        let mut hardware = HardwareSection::default();
        hardware.item.push(item("14", "vmware.floppy.remotedevice", "Floppy 1"));
        let told =
            |key: &str, value: &str| Setting { key: key.to_owned(), value: value.to_owned() };
        hardware.extra_config = vec![
            told("vm.genid", "81985529216486895"),
            told("vm.genidX", "-81985529216486896"),
            told("uuid.bios", "56 4d 12 34 ab cd ef 01-23 45 67 89 ab cd ef 01"),
        ];
        let found = board(&hardware, OsFamily::Linux);
        assert!(found.not_kept[0].text.starts_with("Floppy 1 is a floppy drive"));
        assert_eq!(found.genid.as_deref(), Some("89abcdef-4567-0123-1032-547698badcfe"));
        assert_eq!(found.uuid.as_deref(), Some("34124d56-cdab-01ef-2345-6789abcdef01"));
    }
}
