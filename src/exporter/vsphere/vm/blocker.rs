//! Detects what prevents the export of a VM, before the export starts.

use super::super::soap::node::Node;
use super::super::soap::properties::Object;
use super::hardware;
use crate::exporter::export_blocker::ExportBlocker;
use crate::model::PowerState;

/// The properties that [`obstacles`] reads.
pub(in crate::exporter::vsphere) const PROPERTIES: [&str; 6] = [
    "runtime.powerState",
    "runtime.connectionState",
    "config.template",
    "config.keyId",
    "config.hardware",
    "disabledMethod",
];

/// Everything that prevents the export of `vm`, the most severe first, its power state last.
pub(in crate::exporter::vsphere) fn obstacles(vm: &Object) -> Vec<ExportBlocker> {
    let Some(hardware) = vm.get("config.hardware") else {
        let denied = vm.why_missing("config.hardware").is_some_and(|f| f.is("NoPermission"));
        return vec![ExportBlocker::NoConfiguration { denied }];
    };
    let mut found = Vec::new();
    let state = vm.text("runtime.connectionState");
    if !matches!(state, "" | "connected") {
        found.push(ExportBlocker::Disconnected { state: state.to_owned() });
    }
    let vtpm = hardware.all("device").any(|device| device.is("VirtualTPM"));
    let disks: Vec<&Node> = hardware.all("device").filter(|d| d.is("VirtualDisk")).collect();
    let with_key = |disk: &&Node| disk.at(&["backing", "keyId"]).is_some();
    if vtpm || vm.get("config.keyId").is_some() || disks.iter().any(with_key) {
        found.push(ExportBlocker::Encrypted { vtpm });
    }
    found.extend(disks.iter().filter_map(|disk| disk_blocker(disk)));
    if disks.is_empty() {
        found.push(ExportBlocker::NoDisk);
    }
    match hardware::power_state(vm.text("runtime.powerState")) {
        PowerState::On => found.push(ExportBlocker::PoweredOn),
        PowerState::Suspended => found.push(ExportBlocker::Suspended),
        // The export of a running VM is disabled anyway, so this only counts for a powered-off VM.
        PowerState::Off | PowerState::Unknown => {
            let disabled = vm.get("disabledMethod").is_some_and(|list| {
                list.children.iter().any(|method| method.text.trim() == "ExportVm")
            });
            if disabled {
                let template = vm.get("config.template").is_some_and(Node::is_true);
                found.push(ExportBlocker::Disabled { template });
            }
        }
    }
    found
}

fn disk_blocker(disk: &Node) -> Option<ExportBlocker> {
    let backing = disk.child("backing")?;
    let label = || {
        let label = disk.at(&["deviceInfo", "label"]).map_or("", |node| node.text.as_str());
        if label.is_empty() { format!("disk {}", disk.text_of("key")) } else { label.to_owned() }
    };
    let kind = backing.xsi_type.as_deref().unwrap_or_default();
    if kind.contains("RawDisk") {
        Some(ExportBlocker::RawDevice { disk: label() })
    } else if backing.text_of("diskMode").starts_with("independent") {
        Some(ExportBlocker::Independent { disk: label() })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blockers of a VM with these properties, passed as name and inner XML.
    fn of(properties: &[(&str, &str)]) -> Vec<ExportBlocker> {
        let sets: String = properties
            .iter()
            .map(|(name, val)| format!("<propSet><name>{name}</name><val>{val}</val></propSet>"))
            .collect();
        let xml = format!(
            "<objects xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
             <obj type=\"VirtualMachine\">vm-1</obj>{sets}</objects>"
        );
        obstacles(&Object::read(&Node::parse(&xml).expect("well-formed")).expect("an object"))
    }

    const DISK: (&str, &str) = ("config.hardware", "<device xsi:type=\"VirtualDisk\"/>");
    const NO_EXPORT: (&str, &str) =
        ("disabledMethod", "<string>Destroy_Task</string><string>ExportVm</string>");

    #[test]
    fn a_disabled_export_counts_unless_the_vm_merely_runs() {
        let off = ("runtime.powerState", "poweredOff");
        let on = ("runtime.powerState", "poweredOn");
        assert_eq!(of(&[DISK, off]), []);
        assert_eq!(of(&[DISK, off, NO_EXPORT]), [ExportBlocker::Disabled { template: false }]);
        assert_eq!(of(&[DISK, on, NO_EXPORT]), [ExportBlocker::PoweredOn]);
        let template = ("config.template", "true");
        assert_eq!(of(&[DISK, off, template]), []);
        assert_eq!(
            of(&[DISK, off, template, NO_EXPORT]),
            [ExportBlocker::Disabled { template: true }]
        );
    }

    #[test]
    fn an_encrypted_disk_is_enough() {
        let disk = (
            "config.hardware",
            "<device xsi:type=\"VirtualDisk\"><backing><keyId><keyId>k</keyId></keyId></backing>\
             </device>",
        );
        assert_eq!(of(&[disk]), [ExportBlocker::Encrypted { vtpm: false }]);
    }
}
