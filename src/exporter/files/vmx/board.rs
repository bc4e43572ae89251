//! The identity of a VMX's VM, and its minor devices.

use super::Vmx;
use super::devices::ControllerUnit;
use crate::exporter::identity;
use crate::model::{Board, NotKept, OsFamily, SmbiosText, SoundCard};

/// Maximum number of floppy drives of a VM.
const MOST_FLOPPIES: usize = 2;
/// Maximum length of a serial number, in bytes.
const LONGEST_SERIAL: usize = 64;

impl Vmx {
    pub(super) fn board(&self, family: OsFamily) -> Board {
        let get = |key: &str| self.get(key).unwrap_or_default();
        let (uuid, hardware) = (get("uuid.bios"), get("virtualhw.version"));
        Board {
            smbios: self.serial(uuid).into_iter().collect(),
            sound: self.sound(),
            not_kept: self.floppies().chain(self.media()).chain(self.passed_through()).collect(),
            ..identity::board(uuid, family, hardware, get("vm.genid"), get("vm.genidx"))
        }
    }

    /// The VM's own serial number, as VMs with macOS have one, else the number that VMware derives
    /// from the UUID. A serial number of the host (`serialNumber.reflectHost`) is not in the VMX.
    fn serial(&self, uuid: &str) -> Option<SmbiosText> {
        if self.is("serialnumber.reflecthost") {
            return None;
        }
        let made = identity::serial(uuid);
        let is_plain =
            |text: &&str| text.len() <= LONGEST_SERIAL && !text.contains(char::is_control);
        match self.get("serialnumber").filter(is_plain) {
            Some(own) => Some(SmbiosText {
                table: "system".to_owned(),
                name: "serial".to_owned(),
                value: own.to_owned(),
            }),
            None => made,
        }
    }

    fn sound(&self) -> Option<SoundCard> {
        if !self.is("sound.present") {
            return None;
        }
        Some(match self.get("sound.virtualdev").unwrap_or_default().to_ascii_lowercase().as_str() {
            "sb16" => SoundCard::Sb16,
            "hdaudio" => SoundCard::Hda,
            _ => SoundCard::Ensoniq,
        })
    }

    fn floppies(&self) -> impl Iterator<Item = NotKept> {
        let labels = (0..MOST_FLOPPIES).map(|index| format!("floppy{index}"));
        let there = labels.filter(|label| self.is(&format!("{label}.present")));
        there.map(|label| NotKept::floppy(&label))
    }

    /// Images in drives that are connected when the VM starts.
    fn media(&self) -> impl Iterator<Item = NotKept> {
        self.units().filter_map(|(prefix, ..)| {
            let file = self.get(&format!("{prefix}.filename"))?;
            let is_image = self.unit(&prefix) == ControllerUnit::Cdrom
                && file.to_ascii_lowercase().ends_with(".iso")
                && !self.get(&format!("{prefix}.startconnected")).is_some_and(is_false);
            is_image.then(|| NotKept::medium(&prefix, file))
        })
    }
}

fn is_false(value: &str) -> bool {
    value.eq_ignore_ascii_case("false")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(lines: &str) -> Board {
        Vmx::read(lines).board(OsFamily::Linux)
    }

    #[test]
    fn identity_and_lesser_devices_are_read() {
        let found = board(
            "virtualHW.version = \"19\"\nuuid.bios = \"56 4d 12 34 ab cd ef 01-23 45 67 89 ab cd ef 01\"\n\
             vm.genid = \"81985529216486895\"\nvm.genidX = \"-81985529216486896\"\n\
             sound.present = \"TRUE\"\nsound.virtualDev = \"hdaudio\"\nfloppy0.present = \"TRUE\"\n\
             floppy1.present = \"FALSE\"\nsata0:1.present = \"TRUE\"\n\
             sata0:1.deviceType = \"cdrom-image\"\nsata0:1.fileName = \"/isos/x.ISO\"\n",
        );
        assert_eq!(found.uuid.as_deref(), Some("34124d56-cdab-01ef-2345-6789abcdef01"));
        assert!(found.smbios[0].value.starts_with("VMware-56 4d 12 34"));
        assert_eq!(found.genid.as_deref(), Some("89abcdef-4567-0123-1032-547698badcfe"));
        assert_eq!(found.sound, Some(SoundCard::Hda));
        let codes: Vec<_> = found.not_kept.iter().map(|lost| lost.code.as_str()).collect();
        assert_eq!(codes, ["floppy-not-kept", "cdrom-medium-not-kept"]);
        assert!(found.not_kept[1].text.contains("/isos/x.ISO"));
    }

    #[test]
    fn what_is_not_told_is_not_made_up() {
        assert!(board("displayName = \"vm\"\nsound.virtualDev = \"es1371\"\n").is_empty());
        let quiet = board(
            "sata0:1.present = \"TRUE\"\nsata0:1.deviceType = \"cdrom-image\"\n\
             sata0:1.fileName = \"x.iso\"\nsata0:1.startConnected = \"FALSE\"\n",
        );
        assert!(quiet.is_empty());
        let own = board("serialNumber = \"C02XG0FDH7JY\"\n");
        assert_eq!(own.smbios[0].value, "C02XG0FDH7JY");
        assert_eq!(board("sound.present = \"TRUE\"\n").sound, Some(SoundCard::Ensoniq));
        assert_eq!(
            board("sound.present = \"true\"\nsound.virtualDev = \"sb16\"\n").sound,
            Some(SoundCard::Sb16)
        );
    }
}
