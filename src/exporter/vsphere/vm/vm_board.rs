//! The identity of a VM in vSphere, and its minor devices.

use super::super::soap::node::Node;
use super::super::soap::properties::Object;
use super::hardware::ExtraConfig;
use crate::exporter::identity;
use crate::model::{Board, NotKept, OsFamily, SoundCard};

/// The facts of `config.uuid`, `config.version`, `config.hardware` and `config.extraConfig`.
pub(in crate::exporter::vsphere) fn board(object: &Object, family: OsFamily) -> Board {
    let extra = ExtraConfig(object.get("config.extraConfig"));
    let genid = |key| extra.get(key).unwrap_or_default();
    let (uuid, hardware) = (object.text("config.uuid"), object.text("config.version"));
    let devices = object.get("config.hardware").map(devices).unwrap_or_default();
    Board {
        sound: devices.sound,
        not_kept: devices.not_kept,
        ..identity::board(uuid, family, hardware, genid("vm.genid"), genid("vm.genidX"))
    }
}

/// The sound card, and the devices that are not migrated (vim25, subtypes of `VirtualDevice`).
fn devices(hardware: &Node) -> Board {
    let mut board = Board::default();
    for device in hardware.all("device") {
        let label = device.at(&["deviceInfo", "label"]).map_or("", |node| node.text.as_str());
        match device.xsi_type.as_deref().unwrap_or_default() {
            "VirtualHdAudioCard" => board.sound = Some(SoundCard::Hda),
            "VirtualEnsoniq1371" => board.sound = Some(SoundCard::Ensoniq),
            "VirtualSoundBlaster16" => board.sound = Some(SoundCard::Sb16),
            "VirtualFloppy" => board.not_kept.push(NotKept::floppy(label)),
            "VirtualCdrom" => board.not_kept.extend(medium(device, label)),
            "VirtualPCIPassthrough" | "VirtualSCSIPassthrough" | "VirtualUSB" => {
                let text = format!("{label} is a device of the source's host: the domain has none");
                board.not_kept.push(NotKept::host_device(text));
            }
            _ => {}
        }
    }
    board
}

/// The image in a drive that is connected when the VM starts.
fn medium(drive: &Node, label: &str) -> Option<NotKept> {
    let starts = drive.child("connectable").is_none_or(|how| how.flag("startConnected"));
    let file = drive.at(&["backing", "fileName"]).map(|node| node.text.trim())?;
    (starts && !file.is_empty()).then(|| NotKept::medium(label, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lesser_devices_are_seen() {
        let device = |kind: &str, label: &str, inner: &str| {
            format!(
                "<device xsi:type=\"{kind}\"><deviceInfo><label>{label}</label></deviceInfo>{inner}\
                 </device>"
            )
        };
        let iso = |starts: bool| {
            format!(
                "<backing><fileName>[ds] x.iso</fileName></backing><connectable><startConnected>{starts}\
                 </startConnected></connectable>"
            )
        };
        let text = [
            device("VirtualHdAudioCard", "Sound card", ""),
            device("VirtualFloppy", "Floppy drive 1", ""),
            device("VirtualCdrom", "CD/DVD drive 1", &iso(true)),
            device("VirtualCdrom", "CD/DVD drive 2", &iso(false)),
            device("VirtualCdrom", "CD/DVD drive 3", ""),
            device("VirtualPCIPassthrough", "PCI device 0", ""),
        ]
        .concat();
        let xsi = "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"";
        let found =
            devices(&Node::parse(&format!("<val {xsi}>{text}</val>")).expect("well-formed"));
        assert_eq!(found.sound, Some(SoundCard::Hda));
        let codes: Vec<_> = found.not_kept.iter().map(|lost| lost.code.as_str()).collect();
        assert_eq!(codes, ["floppy-not-kept", "cdrom-medium-not-kept", "host-device-not-kept"]);
        assert!(found.not_kept[1].text.starts_with("CD/DVD drive 1 contains [ds] x.iso"));
    }
}
