//! Predicts what FIX will change in a guest before its disks are read: the changes for that family
//! of guests, each with its condition.

use crate::model::{Firmware, OsFamily, SourceNic, SourceVm};

use super::native::{TOOLS, v2v};
use super::settings::{Converter, Settings};

impl Settings {
    /// The changes in the guest of `vm`, one line each; none without FIX.
    pub fn foreseen(&self, vm: &SourceVm) -> Vec<String> {
        if !self.stages.fix {
            return Vec::new();
        }
        if self.chosen() == Converter::Hyper2kvm {
            return vec![
                "in the guest: what hyper2kvm changes in fstab, boot loader and initramfs"
                    .to_owned(),
            ];
        }
        let mut lines = match vm.guest.family {
            OsFamily::Linux => self.of_linux(vm, ""),
            OsFamily::Windows => vec![self.of_windows("")],
            OsFamily::Unknown => {
                let mut lines = self.of_linux(vm, "if it is a Linux, ");
                lines.push(self.of_windows("if it is Windows, "));
                lines
            }
        };
        if vm.firmware == Firmware::Efi {
            lines.push(
                "copy the boot loader to \\EFI\\BOOT\\BOOTX64.EFI, where that is missing"
                    .to_owned(),
            );
        }
        lines.extend(self.wished());
        lines.into_iter().map(|line| format!("in the guest: {line}")).collect()
    }

    fn of_linux(&self, vm: &SourceVm, when: &str) -> Vec<String> {
        let mut lines = vec![
            "replace names of disks that KVM does not have by UUIDs: in fstab, crypttab, mount units and \
             the boot loader"
                .to_owned(),
            "rebuild the initramfs, where it lacks drivers of virtio".to_owned(),
        ];
        if self.preserve_network {
            lines.extend(pinned(&vm.nics));
        }
        if self.cloud_init.is_none() {
            lines.push(
                "pin what cloud-init has set up, where it has: instance, host name, SSH host keys and \
                 network"
                    .to_owned(),
            );
        }
        for package in &self.agent.packages {
            lines.push(format!("install {}", package.display()));
        }
        let tools = TOOLS.join(", ");
        lines.push(format!("remove VMware's tools, where they are installed: {tools}"));
        lines.push("relabel the files at the first start, where SELinux is enabled".to_owned());
        lines.into_iter().map(|line| format!("{when}{line}")).collect()
    }

    fn of_windows(&self, when: &str) -> String {
        match self.windows.place() {
            Some(place) => format!(
                "{when}install the drivers of virtio in {} and remove VMware Tools by {}, where that is \
                 installed and the drivers are for this Windows",
                place.display(),
                v2v::PROGRAM
            ),
            None => format!("{when}install nothing: there are no drivers of virtio (--virtio-win)"),
        }
    }

    /// The changes that the user asks for in addition.
    fn wished(&self) -> Vec<String> {
        let wishes = &self.customize;
        let mut lines = Vec::new();
        if self.agent.first_boot {
            lines.push("have the first start install qemu-guest-agent".to_owned());
        }
        lines.extend(wishes.hostname.iter().map(|name| format!("set the host name {name}")));
        lines.extend(wishes.ssh_keys.iter().map(|(user, file)| {
            format!("let the SSH keys in {} log in as {user}", file.display())
        }));
        lines.extend(
            wishes
                .firstboot
                .iter()
                .map(|script| format!("run {} once at the first start", script.display())),
        );
        lines
    }
}

/// The cards whose names are kept.
fn pinned(nics: &[SourceNic]) -> Option<String> {
    let card = |nic: &SourceNic| match nic.mac {
        Some(mac) => format!("{} ({mac})", nic.id),
        None => nic.id.clone(),
    };
    let cards: Vec<_> = nics.iter().map(card).collect();
    (!cards.is_empty()).then(|| {
        let cards = cards.join(", ");
        format!("tie the name that the guest's configuration has for a network card to its MAC address: {cards}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::settings::{Agent, Customize, Stages};
    use crate::model::fixture;

    #[test]
    fn what_fix_does_is_told_family_by_family() {
        let mut vm = fixture::vm();
        vm.firmware = Firmware::Bios;
        vm.guest.family = OsFamily::Linux;
        let settings = Settings { converter: Converter::Native, ..Settings::default() };
        let said = |settings: &Settings, vm: &SourceVm| settings.foreseen(vm).join("\n");
        let linux = said(&settings, &vm);
        for part in ["open-vm-tools-desktop", "fstab", "initramfs", "cloud-init", "SELinux"] {
            assert!(linux.contains(part), "no {part} in {linux}");
        }
        assert!(!linux.contains("BOOTX64") && !linux.contains("Windows"), "{linux}");
        assert!(settings.foreseen(&vm).iter().all(|line| line.starts_with("in the guest: ")));

        vm.firmware = Firmware::Efi;
        vm.guest.family = OsFamily::Windows;
        let windows = said(&settings, &vm);
        assert!(windows.contains("drivers of virtio") && windows.contains("BOOTX64"), "{windows}");
        assert!(!windows.contains("open-vm-tools"), "{windows}");

        vm.guest.family = OsFamily::Unknown;
        let unknown = said(&settings, &vm);
        assert!(unknown.contains("if it is a Linux, remove VMware's tools"), "{unknown}");
        assert!(unknown.contains("if it is Windows, install"), "{unknown}");
    }

    #[test]
    fn wishes_are_told_and_what_is_switched_off_is_not() {
        let mut vm = fixture::vm();
        vm.guest.family = OsFamily::Linux;
        vm.nics = vec![SourceNic { mac: "00:50:56:aa:bb:01".parse().ok(), ..SourceNic::at(0) }];
        let customize = Customize {
            hostname: Some("new".to_owned()),
            ssh_keys: vec![("admin".to_owned(), "/k.pub".into())],
            firstboot: vec!["/once.sh".into()],
        };
        let agent = Agent { packages: vec!["/agent.deb".into()], first_boot: true };
        let settings = Settings { customize, agent, ..Settings::default() };
        let lines = settings.foreseen(&vm).join("\n");
        for part in [
            "nic-0 (00:50:56:aa:bb:01)",
            "set the host name new",
            "/k.pub log in as admin",
            "/once.sh once",
            "install /agent.deb",
            "first start install qemu-guest-agent",
        ] {
            assert!(lines.contains(part), "no {part} in {lines}");
        }
        let off = Settings {
            preserve_network: false,
            cloud_init: Some("/user-data".into()),
            ..Settings::default()
        };
        let lines = off.foreseen(&vm).join("\n");
        assert!(!lines.contains("nic-0") && !lines.contains("cloud-init"), "{lines}");
        let none = Settings { stages: Stages { fix: false, ..Stages::default() }, ..off };
        assert_eq!(none.foreseen(&vm), [""; 0]);
        let theirs = Settings { converter: Converter::Hyper2kvm, ..Settings::default() };
        assert_eq!(theirs.foreseen(&vm).len(), 1);
    }
}
