//! Reads identity, processors and minor devices from the XML of a domain.

use super::super::xml::source_domain::{DomainDisk, SourceDomain};
use crate::model::{Board, CpuTopology, NotKept, SoundCard, WarningCode};

/// Prefixes of CPU models that nobody chose: if the XML names no model, libvirt writes QEMU's
/// default.
const DEFAULT_MODELS: [&str; 2] = ["qemu", "kvm"];

/// Numbers of sockets, cores and threads.
pub(in crate::libvirt) fn topology(found: &SourceDomain) -> CpuTopology {
    let topology = &found.cpu.topology;
    let parts = [topology.dies, topology.clusters, topology.cores, topology.threads];
    let of_socket =
        parts.iter().fold(1_u32, |product, part| product.saturating_mul((*part).max(1)));
    CpuTopology::new(found.vcpu.value, of_socket).with_threads(topology.threads)
}

pub(in crate::libvirt) fn board(found: &SourceDomain) -> Board {
    let from_sysinfo = found.os.smbios.mode == "sysinfo";
    let smbios = found.sysinfo.iter().filter(|info| info.kind == "smbios" && from_sysinfo);
    Board {
        uuid: Some(found.uuid.clone()).filter(|uuid| !uuid.is_empty()),
        smbios: smbios.flat_map(|info| info.texts()).collect(),
        genid: found.genid.clone().map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()),
        sound: found.devices.sound.first().and_then(|sound| sound_card(&sound.model)),
        cpu_model: cpu_model(found),
        not_kept: not_kept(found, &[]),
    }
}

/// The CPU model that was chosen: by name, or the host's own.
fn cpu_model(found: &SourceDomain) -> Option<String> {
    let name = found.cpu.model.name.trim();
    let is_default = DEFAULT_MODELS.iter().any(|start| name.starts_with(start));
    match found.cpu.mode.as_str() {
        "host-model" => Some("host-model".to_owned()),
        "custom" | "" if !name.is_empty() && !is_default => Some(name.to_owned()),
        _ => None,
    }
}

/// The kind of a sound card; `None` for the PC speaker, which every machine has.
fn sound_card(model: &str) -> Option<SoundCard> {
    Some(match model {
        "ac97" => SoundCard::Ac97,
        "es1370" => SoundCard::Ensoniq,
        "sb16" => SoundCard::Sb16,
        "usb" => SoundCard::Usb,
        "pcspk" => return None,
        _ => SoundCard::Hda,
    })
}

/// Parts of the domain that the migration loses. The media of the drives in `exported` are kept.
pub(in crate::libvirt) fn not_kept(found: &SourceDomain, exported: &[&str]) -> Vec<NotKept> {
    let label = |disk: &DomainDisk| format!("{} ({})", disk.target.dev, disk.target.bus);
    let of_drives = found.devices.disk.iter().filter_map(|disk| match disk.device.as_str() {
        "floppy" => Some(NotKept::floppy(&label(disk))),
        "cdrom" if exported.contains(&disk.target.dev.as_str()) => None,
        "cdrom" => Some(NotKept::medium(&format!("CD-ROM drive {}", label(disk)), &medium(disk)?)),
        _ => None,
    });
    let of_host = found.devices.hostdev.iter().map(|device| {
        let text = format!("a device of the source's host ({}): the domain has none", device.kind);
        NotKept::host_device(text)
    });
    let of_host = of_host.chain(found.sysinfo.iter().filter(|info| info.kind == "fwcfg").map(|_| {
        NotKept {
            code: WarningCode::FwcfgNotKept,
            text: "the domain hands data to its firmware (sysinfo of the type fwcfg): the new one does \
                   not"
            .to_owned(),
        }
    }));
    of_drives.chain(of_host).collect()
}

/// Path of the medium in a drive.
fn medium(drive: &DomainDisk) -> Option<String> {
    let source = &drive.source;
    let volume = source.pool.as_ref().zip(source.volume.as_ref());
    let named = source.file.as_ref().or(source.dev.as_ref()).or(source.name.as_ref());
    let named = named.cloned().or_else(|| volume.map(|(pool, volume)| format!("{pool}/{volume}")));
    named.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt::xml;

    fn read(inner: &str) -> SourceDomain {
        xml::read("domain", &format!("<domain><vcpu>8</vcpu>{inner}</domain>")).expect("reads")
    }

    #[test]
    fn threads_and_the_model_are_read() {
        let found = read(
            "<cpu mode='custom' match='exact'><model fallback='forbid'>EPYC</model>\
             <topology sockets='1' dies='2' clusters='1' cores='2' threads='2'/></cpu>",
        );
        assert_eq!(topology(&found), CpuTopology::new(8, 8).with_threads(2));
        assert_eq!(board(&found).cpu_model.as_deref(), Some("EPYC"));
        for (cpu, model) in [
            ("", None),
            ("<cpu mode='host-passthrough'/>", None),
            ("<cpu mode='maximum'/>", None),
            ("<cpu mode='host-model'/>", Some("host-model")),
            ("<cpu mode='custom'><model>qemu64</model></cpu>", None),
            ("<cpu match='exact'><model>Nehalem</model></cpu>", Some("Nehalem")),
        ] {
            assert_eq!(board(&read(cpu)).cpu_model.as_deref(), model, "{cpu}");
        }
    }

    #[test]
    fn identity_and_lesser_devices_are_read() {
        let found = read(
            "<uuid>u</uuid><genid>g</genid><sysinfo type='smbios'><system>\
             <entry name='serial'>S1</entry><entry name='uuid'>u</entry></system></sysinfo>\
             <sysinfo type='fwcfg'><entry name='opt/x'>y</entry></sysinfo>\
             <os><smbios mode='sysinfo'/></os><devices><disk device='floppy'>\
             <target dev='fda' bus='fdc'/></disk><disk device='cdrom' type='file'>\
             <source file='/x.iso'/><target dev='sda' bus='sata'/></disk>\
             <disk device='cdrom'><target dev='sdb' bus='sata'/></disk>\
             <disk device='cdrom' type='network'><source protocol='https' name='/y.iso'/>\
             <target dev='sdc' bus='sata'/></disk><sound model='ich9'/>\
             <hostdev mode='subsystem' type='pci'/></devices>",
        );
        let board = board(&found);
        assert_eq!((board.uuid.as_deref(), board.genid.as_deref()), (Some("u"), Some("g")));
        assert_eq!(board.smbios.len(), 1);
        assert_eq!(board.smbios[0].value, "S1");
        assert_eq!(board.sound, Some(SoundCard::Hda));
        let codes: Vec<_> = board.not_kept.iter().map(|lost| lost.code.as_str()).collect();
        let medium = "cdrom-medium-not-kept";
        let expected =
            ["floppy-not-kept", medium, medium, "host-device-not-kept", "fwcfg-not-kept"];
        assert_eq!(codes, expected);
        assert!(board.not_kept[1].text.contains("sda (sata) contains /x.iso"));
        assert!(board.not_kept[2].text.contains("/y.iso"));
        let others = not_kept(&found, &["sda", "fda"]);
        let codes: Vec<_> = others.iter().map(|lost| lost.code.as_str()).collect();
        assert_eq!(codes, ["floppy-not-kept", medium, "host-device-not-kept", "fwcfg-not-kept"]);
        assert!(others[1].text.contains("/y.iso"));
    }

    #[test]
    fn texts_that_the_guest_does_not_see_are_not_kept() {
        let found = read(
            "<sysinfo type='smbios'><system><entry name='serial'>S1</entry></system></sysinfo>\
             <os><smbios mode='host'/></os>",
        );
        assert!(board(&found).smbios.is_empty());
    }
}
