//! The kernel's command line, wherever a boot loader keeps it: `root=` and `resume=` by UUID.

use super::devices::Devices;

/// Parameters that name a block device (Linux, kernel-parameters.txt; dracut.cmdline(7)).
const PARAMETERS: [&str; 4] = ["root=", "resume=", "rd.luks.name=", "cryptdevice="];
/// What tells GRUB's own scripts to write device names again.
const DISABLED: [&str; 2] = ["GRUB_DISABLE_LINUX_UUID", "GRUB_DISABLE_UUID"];

/// Files with the command line: made by GRUB 2, GRUB 1, the Boot Loader Specification, extlinux and
/// systemd-boot.
pub(super) const CONFIGURATIONS: [&str; 9] = [
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/efi/EFI/*/grub.cfg",
    "/boot/grub/menu.lst",
    "/boot/grub/grub.conf",
    "/boot/loader/entries/*.conf",
    "/boot/extlinux/extlinux.conf",
    "/efi/loader/entries/*.conf",
    "/etc/kernel/cmdline",
];
/// What GRUB's scripts make theirs from.
pub(super) const DEFAULTS: &str = "/etc/default/grub";

/// A configuration with lasting names.
pub(super) fn command_lines(text: &str, devices: &Devices) -> String {
    let mut fixed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, parameter)) = next_parameter(rest) {
        let value = &rest[at + parameter.len()..];
        let end = value.find(|c: char| c.is_whitespace() || "\"':".contains(c));
        let value = &value[..end.unwrap_or(value.len())];
        fixed.push_str(&rest[..at + parameter.len()]);
        let lasting = match parameter {
            "root=" => devices.lasting_root(value),
            _ => devices.lasting(value),
        };
        fixed.push_str(&lasting.unwrap_or_else(|| value.to_owned()));
        rest = &rest[at + parameter.len() + value.len()..];
    }
    fixed + rest
}

/// Where the next parameter begins: after a space, a quote or at a line's beginning.
fn next_parameter(text: &str) -> Option<(usize, &'static str)> {
    let found = PARAMETERS.iter().filter_map(|parameter| {
        let starts = |at: usize| text[..at].chars().last().is_none_or(|c| " \t\n\"'=".contains(c));
        let at = text.match_indices(parameter).map(|(at, _)| at).find(|at| starts(*at))?;
        Some((at, *parameter))
    });
    found.min_by_key(|(at, _)| *at)
}

/// `/etc/default/grub` that lets GRUB's scripts write UUIDs.
pub(super) fn defaults(text: &str, devices: &Devices) -> String {
    let line = |line: &str| {
        let disables = DISABLED.iter().any(|name| line.trim_start().starts_with(name));
        if disables { format!("#{line}") } else { line.to_owned() }
    };
    command_lines(&text.split_inclusive('\n').map(line).collect::<String>(), devices)
}

#[cfg(test)]
mod tests {
    use super::super::devices::devices;
    use super::*;

    #[test]
    fn the_root_of_every_entry_lasts() {
        let devices = devices(&[("/dev/sda1", "5eed"), ("/dev/sda5", "swap")]);
        let grub = "\tsearch --fs-uuid --set=root 5eed\n\tset root='hd0,msdos1'\n\
                    \tlinux\t/boot/vmlinuz root=/dev/sda1 ro resume=/dev/sda5 quiet\n\
                    options root=/dev/mapper/vg-root noresume\n";
        assert_eq!(
            command_lines(grub, &devices),
            "\tsearch --fs-uuid --set=root 5eed\n\tset root='hd0,msdos1'\n\
             \tlinux\t/boot/vmlinuz root=UUID=5eed ro resume=UUID=swap quiet\n\
             options root=/dev/mapper/vg-root noresume\n"
        );
    }

    #[test]
    fn a_root_that_is_no_disk_of_the_guest_s_is_its_root() {
        let devices = devices(&[("/dev/sda1", "5eed"), ("/dev/sda5", "swap")]);
        let grub = "linux /vmlinuz root=/dev/sdb1 ro resume=/dev/sdb5\nroot=LABEL=x\n";
        let fixed = "linux /vmlinuz root=UUID=5eed ro resume=/dev/sdb5\nroot=LABEL=x\n";
        assert_eq!(command_lines(grub, &devices), fixed);
    }

    #[test]
    fn the_defaults_let_uuids_in() {
        let devices = devices(&[("/dev/sda1", "5eed")]);
        let text = "GRUB_CMDLINE_LINUX=\"root=/dev/sda1 quiet\"\nGRUB_DISABLE_LINUX_UUID=true\n";
        assert_eq!(
            defaults(text, &devices),
            "GRUB_CMDLINE_LINUX=\"root=UUID=5eed quiet\"\n#GRUB_DISABLE_LINUX_UUID=true\n"
        );
    }
}
