//! The kernel's command line, wherever a boot loader stores it: `root=` and `resume=` by UUID.

use crate::convert::native::devices::{GuestDevices, is_unstable};

/// Parameters that name the root (Linux, kernel-parameters.txt; genkernel(8)), and the variable for
/// the root in Photon's `grub.cfg`.
const ROOTS: [&str; 3] = ["root=", "real_root=", "rootpartition="];
/// Parameters that name another block device: of dracut.cmdline(7), mkinitcpio(8) (`cryptdevice=`),
/// Alpine's mkinitfs (`cryptroot=`), genkernel(8), and Debian's cryptsetup before crypttab
/// (`cryptopts=`).
const PARAMETERS: [&str; 14] = [
    "resume=",
    "rd.luks.name=",
    "cryptdevice=",
    "cryptkey=",
    "cryptroot=",
    "cryptheader=",
    "crypt_root=",
    "crypt_roots=",
    "crypt_swap=",
    "crypt_swaps=",
    "root_keydev=",
    "swap_keydev=",
    "real_resume=",
    "cryptopts=",
];
/// Parameters whose device is followed by a colon and further values.
const WITH_MORE: [&str; 2] = ["cryptdevice=", "cryptkey="];
/// Variables that make GRUB's own scripts write device names again.
const DISABLED: [&str; 2] = ["GRUB_DISABLE_LINUX_UUID", "GRUB_DISABLE_UUID"];

/// Files with the command line, made by GRUB 2, GRUB 1, the Boot Loader Specification, extlinux,
/// systemd-boot, rEFInd, ELILO and limine. The list also has the files from which some of their
/// tools generate them.
pub(in crate::convert::native) const CONFIGURATIONS: [&str; 42] = [
    "/boot/grub/grub.cfg",
    "/boot/grub/custom.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/efi/EFI/*/grub.cfg",
    "/boot/EFI/*/grub.cfg",
    "/efi/EFI/*/grub.cfg",
    "/boot/grub/menu.lst",
    "/boot/grub/grub.conf",
    "/boot/efi/EFI/*/grub.conf",
    "/boot/EFI/*/grub.conf",
    "/efi/EFI/*/grub.conf",
    "/boot/loader/entries/*.conf",
    "/boot/efi/loader/entries/*.conf",
    "/efi/loader/entries/*.conf",
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/boot/EFI/syslinux/syslinux.cfg",
    "/boot/syslinux.cfg",
    "/boot/refind_linux.conf",
    "/boot/efi/EFI/*/refind.conf",
    "/efi/EFI/*/refind.conf",
    "/boot/EFI/*/refind.conf",
    "/boot/efi/EFI/*/elilo.conf",
    "/efi/EFI/*/elilo.conf",
    "/boot/EFI/*/elilo.conf",
    "/boot/limine.conf",
    "/boot/limine/limine.conf",
    "/boot/limine.cfg",
    "/boot/limine/limine.cfg",
    "/boot/EFI/*/limine.conf",
    "/boot/efi/limine.conf",
    "/boot/efi/limine/limine.conf",
    "/boot/efi/EFI/*/limine.conf",
    "/efi/limine.conf",
    "/efi/limine/limine.conf",
    "/efi/EFI/*/limine.conf",
    "/boot/grub2/systemd.cfg",
    "/etc/kernel/cmdline",
    "/etc/update-extlinux.conf",
    "/etc/elilo.conf",
    "/etc/default/limine",
];
/// GRUB's environment block, where Red Hat's 8 stores the command line (`kernelopts`).
pub(in crate::convert::native) const ENVIRONMENT: [&str; 3] =
    ["/boot/grub2/grubenv", "/boot/grub/grubenv", "/boot/efi/EFI/*/grubenv"];
/// Bytes of such a block, whatever its content: GRUB writes to it in place (GRUB manual, "The GRUB
/// environment block").
const BLOCK: usize = 1024;
/// The input of GRUB's scripts.
pub(super) const DEFAULTS: &str = "/etc/default/grub";

/// An environment block with lasting names, of the same length; unchanged where the names do not
/// fit.
pub(super) fn environment(text: &str, devices: &GuestDevices) -> String {
    let mut fixed = command_lines(text.trim_end_matches('#'), devices);
    if text.len() != BLOCK || fixed.len() > BLOCK {
        return text.to_owned();
    }
    fixed.extend(std::iter::repeat_n('#', BLOCK - fixed.len()));
    fixed
}

/// The lines of an environment block whose names will not last and cannot be changed.
pub(super) fn kept(text: &str, devices: &GuestDevices) -> Vec<String> {
    let fixed = environment(text, devices);
    let is_kept = |line: &&str| command_lines(line, devices) != **line;
    fixed.lines().filter(is_kept).map(str::to_owned).collect()
}

/// A configuration with lasting names.
pub(in crate::convert::native) fn command_lines(text: &str, devices: &GuestDevices) -> String {
    let initramfs = has_initramfs(text);
    let mut fixed = String::with_capacity(text.len());
    let mut done = 0;
    for (start, parameter, value) in parameters(text) {
        fixed.push_str(&text[done..start]);
        let lasting = match parameter {
            root if ROOTS.contains(&root) => devices.lasting_root(value, initramfs),
            _ => devices.lasting(value),
        };
        fixed.push_str(&lasting.unwrap_or_else(|| value.to_owned()));
        done = start + value.len();
    }
    fixed + &text[done..]
}

/// Whether a kernel's command line finds its root on every bus. A root named by a name that changes
/// is not found, whether or not a better name is known.
pub(in crate::convert::native) fn lasts(text: &str, devices: &GuestDevices) -> bool {
    text.lines().all(|line| {
        let root = value_of(line, "root=");
        let others = parameters(line).all(|(_, parameter, value)| match parameter {
            // Of several `root=` parameters the last one counts.
            "root=" => true,
            root if ROOTS.contains(&root) => !is_unstable(value),
            _ => !devices.changes(value),
        });
        // An array that the kernel assembles from devices that the parameter names (Linux,
        // admin-guide/md.rst).
        let members = value_of(line, "md=").unwrap_or_default();
        let named = root.into_iter().chain(members.split(','));
        others && !named.into_iter().any(is_unstable)
    })
}

/// The value of a parameter, `name` with its `=`, on a kernel's command line: of several the last
/// one counts (Linux, `init/do_mounts.c`).
pub(in crate::convert::native) fn value_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let starts = |at: usize| line[..at].chars().last().is_none_or(is_boundary);
    let at = line.rmatch_indices(name).map(|(at, _)| at).find(|at| starts(*at))?;
    let value = &line[at + name.len()..];
    let end = value.find(|c: char| c.is_whitespace() || "\"'".contains(c));
    Some(&value[..end.unwrap_or(value.len())]).filter(|value| !value.is_empty())
}

/// Whether a parameter may begin after this character: `kernelopts=root=…` contains one, too.
fn is_boundary(c: char) -> bool {
    " \t\n\"'=".contains(c)
}

/// The device that a parameter names, and its offset. The device follows the `=` or, in
/// `cryptopts=`, `source=`. `cryptdevice=` has a name after the device and a colon, and paths by
/// place contain colons themselves.
fn device_of<'a>(parameter: &str, text: &'a str) -> (usize, &'a str) {
    let end = text.find(|c: char| c.is_whitespace() || "\"'".contains(c));
    let word = &text[..end.unwrap_or(text.len())];
    if parameter == "cryptopts=" {
        let Some(at) = word.find("source=") else { return (0, "") };
        let start = at + "source=".len();
        let end = word[start..].find(',').map_or(word.len(), |comma| start + comma);
        return (start, &word[start..end]);
    }
    if !WITH_MORE.contains(&parameter) {
        return (0, word);
    }
    let name = word.rfind("-part").filter(|_| word.starts_with("/dev/disk/by-path/")).unwrap_or(0);
    (0, word[name..].find(':').map_or(word, |colon| &word[..name + colon]))
}

/// Whether the kernels of a configuration start with an initramfs. A file with only a command line
/// does not show it; the answer is then yes, as for nearly all kernels.
fn has_initramfs(text: &str) -> bool {
    let first_words = || text.lines().filter_map(|line| line.split_whitespace().next());
    let is =
        |words: &[&str]| first_words().any(|word| words.contains(&word.to_lowercase().as_str()));
    let starts_kernels = is(&["linux", "linux16", "linuxefi", "kernel", "loader"]);
    // ELILO's entries begin with `image=`.
    let starts_kernels =
        starts_kernels || first_words().any(|word| word.to_lowercase().starts_with("image="));
    !starts_kernels || is(&["initrd", "initrd16", "initrdefi"]) || text.contains("initrd=")
}

/// All parameters of a text, each with its device and the device's offset.
fn parameters(text: &str) -> impl Iterator<Item = (usize, &'static str, &str)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let (length, parameter) = next_parameter(&text[from..])?;
        let (offset, value) = device_of(parameter, &text[from + length..]);
        let start = from + length + offset;
        from = start + value.len();
        Some((start, parameter, value))
    })
}

/// The next parameter and where it ends; it begins after a space, a quote or at the start of a
/// line. Each byte is read once, since a guest may have many parameters.
fn next_parameter(text: &str) -> Option<(usize, &'static str)> {
    text.match_indices('=').find_map(|(at, _)| {
        let head = &text[..=at];
        let ends = |parameter: &&&str| {
            let before = head.strip_suffix(**parameter);
            before.is_some_and(|before| before.chars().last().is_none_or(is_boundary))
        };
        let known = ROOTS.iter().chain(&PARAMETERS).find(ends);
        known.map(|parameter| (at + 1, *parameter))
    })
}

/// `/etc/default/grub` that lets GRUB's scripts write UUIDs.
pub(super) fn defaults(text: &str, devices: &GuestDevices) -> String {
    let line = |line: &str| {
        let disables = DISABLED.iter().any(|name| line.trim_start().starts_with(name));
        if disables { format!("#{line}") } else { line.to_owned() }
    };
    command_lines(&text.split_inclusive('\n').map(line).collect::<String>(), devices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::native::devices::devices;

    #[test]
    fn the_last_root_of_a_line_counts() {
        let line = "\tlinux /vmlinuz root=/dev/sda1 ro console=ttyS0 root=UUID=5eed quiet";
        assert_eq!(value_of(line, "root="), Some("UUID=5eed"));
        assert_eq!(value_of("options \"root=/dev/sda2 rw\"", "root="), Some("/dev/sda2"));
        assert_eq!(value_of("linux /vmlinuz ro rootflags=subvol=@", "root="), None);
        assert_eq!(value_of("kernelopts=root=UUID=5eed ro", "root="), Some("UUID=5eed"));
        assert_eq!(value_of("rootflags=subvol=@,ssd", "rootflags="), Some("subvol=@,ssd"));
    }

    #[test]
    fn the_root_of_every_entry_lasts() {
        let devices = devices(&[("/dev/sda1", "5eed"), ("/dev/sda5", "swap")]);
        let grub = "\tsearch --fs-uuid --set=root 5eed\n\tset root='hd0,msdos1'\n\
                    \tlinux\t/boot/vmlinuz root=/dev/sda1 ro resume=/dev/sda5 quiet\n\tinitrd /i\n\
                    options root=/dev/mapper/vg-root noresume\n";
        assert_eq!(
            command_lines(grub, &devices),
            "\tsearch --fs-uuid --set=root 5eed\n\tset root='hd0,msdos1'\n\
             \tlinux\t/boot/vmlinuz root=UUID=5eed ro resume=UUID=swap quiet\n\tinitrd /i\n\
             options root=/dev/mapper/vg-root noresume\n"
        );
    }

    #[test]
    fn a_root_that_is_no_disk_of_the_guest_s_is_its_root() {
        let devices = devices(&[("/dev/sda1", "5eed"), ("/dev/sda5", "swap")]);
        let grub = "linux /vmlinuz root=/dev/sdb1 ro resume=/dev/sdb5\ninitrd /i\nroot=LABEL=x\n";
        let fixed = "linux /vmlinuz root=UUID=5eed ro resume=/dev/sdb5\ninitrd /i\nroot=LABEL=x\n";
        assert_eq!(command_lines(grub, &devices), fixed);
    }

    #[test]
    fn every_tool_s_name_of_the_encrypted_root_lasts() {
        let devices = devices(&[("/dev/sda1", "5eed"), ("/dev/sda3", "luks")]);
        for (old, new) in [
            ("root=/dev/mapper/root cryptroot=/dev/sda3 cryptdm=root", "cryptroot=UUID=luks"),
            ("root=/dev/ram0 real_root=/dev/sda1 crypt_root=/dev/sda3", "crypt_root=UUID=luks"),
            ("root=/dev/ram0 real_root=/dev/sda1 ro", "real_root=UUID=5eed"),
            ("cryptopts=target=x,source=/dev/sda3,lvm=vg-root", "target=x,source=UUID=luks,lvm="),
            ("cryptopts=source=/dev/sda3", "cryptopts=source=UUID=luks"),
            ("cryptkey=/dev/sda1:ext4:/key", "cryptkey=UUID=5eed:ext4:/key"),
            ("cryptdevice=/dev/sda3:root:allow-discards", "cryptdevice=UUID=luks:root:"),
        ] {
            let old = format!("linux /vmlinuz {old} quiet\ninitrd /i\n");
            let fixed = command_lines(&old, &devices);
            assert!(fixed.contains(new) && fixed.ends_with("quiet\ninitrd /i\n"), "{fixed}");
            assert!(!lasts(&old, &devices) && lasts(&fixed, &devices), "{old}");
        }
        let cryptopts = "linux /v cryptopts=target=x,lvm=vg root=/dev/sda1\ninitrd /i\n";
        assert!(command_lines(cryptopts, &devices).contains("lvm=vg root=UUID=5eed"));
        assert!(!lasts("linux /v root=/dev/md0 md=0,/dev/sda1,/dev/sdb1\n", &devices));
    }

    #[test]
    fn a_kernel_without_an_initramfs_finds_its_root_by_the_partition() {
        let devices = devices(&[("/dev/sda1", "5eed")]);
        let grub = "linux /boot/vmlinuz root=/dev/sda1 ro\n";
        assert_eq!(
            command_lines(grub, &devices),
            "linux /boot/vmlinuz root=PARTUUID=part-5eed ro\n"
        );
    }

    #[test]
    fn entries_of_refind_say_whether_they_have_an_initramfs() {
        let devices = devices(&[("/dev/sda1", "5eed")]);
        let entry = |initrd: &str, root: &str| {
            format!(
                "menuentry Arch {{\n  loader /vmlinuz\n{initrd}  options \"root={root} rw\"\n}}\n"
            )
        };
        for (initrd, root) in [("  initrd /i.img\n", "UUID=5eed"), ("", "PARTUUID=part-5eed")] {
            assert_eq!(command_lines(&entry(initrd, "/dev/sda1"), &devices), entry(initrd, root));
        }
        for mounted in ["/boot/efi", "/efi", "/boot"] {
            let pattern = format!("{mounted}/EFI/*/refind.conf");
            assert!(CONFIGURATIONS.contains(&pattern.as_str()), "{pattern}");
        }
    }

    #[test]
    fn entries_of_elilo_and_limine_name_their_roots() {
        let devices = devices(&[("/dev/sda2", "5eed")]);
        let elilo = |initrd: &str, root: &str| {
            format!("prompt\nimage=vmlinuz\n  label=linux\n{initrd}  append=\"root={root} ro\"\n")
        };
        for (initrd, root) in [("  initrd=initrd\n", "UUID=5eed"), ("", "PARTUUID=part-5eed")] {
            assert_eq!(command_lines(&elilo(initrd, "/dev/sda2"), &devices), elilo(initrd, root));
        }
        let limine = |root: &str| {
            format!(
                "/Arch\n    protocol: linux\n    cmdline: root={root} rw\n    module_path: boot():/i\n"
            )
        };
        assert_eq!(command_lines(&limine("/dev/sda2"), &devices), limine("UUID=5eed"));
        let old = |root: &str| format!(":Arch\nPROTOCOL=linux\nCMDLINE=root={root} rw\n");
        assert_eq!(command_lines(&old("/dev/sda2"), &devices), old("UUID=5eed"));
        for pattern in ["/boot/efi/EFI/*/elilo.conf", "/boot/limine.conf"] {
            assert!(CONFIGURATIONS.contains(&pattern));
        }
    }

    #[test]
    fn photon_keeps_its_root_in_a_variable() {
        let devices = devices(&[("/dev/sda2", "5eed")]);
        let grub = |root: &str| {
            format!(
                "set rootpartition={root}\nlinux /$photon_linux root=$rootpartition ro\ninitrd /i\n"
            )
        };
        assert_eq!(command_lines(&grub("/dev/sda2"), &devices), grub("UUID=5eed"));
        assert_eq!(command_lines(&grub("PARTUUID=x"), &devices), grub("PARTUUID=x"));
    }

    #[test]
    fn a_root_by_a_name_that_changes_does_not_last() {
        let known = devices(&[("/dev/sda1", "5eed")]);
        let unknown = devices(&[]);
        for devices in [&known, &unknown] {
            assert!(!lasts("linux /boot/vmlinuz root=/dev/sda1 ro\n", devices));
            assert!(!lasts("set rootpartition=/dev/sda2\n", devices));
            assert!(lasts("linux /k root=UUID=5eed ro resume=/dev/sdz9\n", devices));
            assert!(lasts("set root='hd0,msdos1'\nlinux /k root=/dev/mapper/vg-root\n", devices));
            // As hyper2kvm leaves them: the kernel uses the last one.
            assert!(lasts("linux /k root=/dev/sdb2 ro root=UUID=5eed\n", devices));
            assert!(!lasts("linux /k root=UUID=5eed ro root=/dev/sdb2\n", devices));
        }
        assert!(!lasts("linux /k root=UUID=5eed resume=/dev/sda1\n", &known));
    }

    #[test]
    fn many_parameters_are_read_in_one_pass() {
        let devices = devices(&[("/dev/sda1", "5eed")]);
        let text = "root=\n".repeat(700_000);
        assert_eq!(command_lines(&text, &devices), text);
    }

    #[test]
    fn grub_legacy_of_red_hat_lies_on_the_esp() {
        for mounted in ["/boot/efi", "/efi", "/boot"] {
            let pattern = format!("{mounted}/EFI/*/grub.conf");
            assert!(CONFIGURATIONS.contains(&pattern.as_str()), "{pattern}");
        }
    }

    #[test]
    fn an_environment_block_keeps_its_length() {
        let devices = devices(&[("/dev/sda1", "5eed")]);
        let head = "# GRUB Environment Block\nsaved_entry=0\nkernelopts=root=/dev/sda1 ro quiet\n";
        let block = format!("{head}{}", "#".repeat(BLOCK - head.len()));
        let fixed = environment(&block, &devices);
        assert_eq!(fixed.len(), BLOCK);
        assert!(fixed.contains("kernelopts=root=UUID=5eed ro quiet\n#"), "{fixed}");
        assert_eq!(environment("short", &devices), "short");
        assert!(kept(&block, &devices).is_empty());
    }

    #[test]
    fn a_full_environment_block_stays_and_is_told() {
        let devices = devices(&[("/dev/sda1", "5eed5eed-5eed-5eed-5eed-5eed5eed5eed")]);
        let line = format!("kernelopts=root=/dev/sda1 ro {}", "x".repeat(BLOCK));
        let full = format!("{}\n", &line[..BLOCK - 1]);
        assert_eq!(environment(&full, &devices), full);
        assert_eq!(kept(&full, &devices), [&line[..BLOCK - 1]]);
    }

    #[test]
    fn paths_by_place_have_colons_of_their_own() {
        let devices = devices(&[("/dev/sda1", "5eed"), ("/dev/sda2", "luks")]);
        let place = "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part";
        let before =
            format!("linux /k root={place}1 ro cryptdevice={place}2:root:discard\ninitrd /i\n");
        let after = "linux /k root=UUID=5eed ro cryptdevice=UUID=luks:root:discard\ninitrd /i\n";
        assert_eq!(command_lines(&before, &devices), after);
        let before = "linux /k cryptdevice=/dev/sda2:root root=/dev/mapper/root\ninitrd /i\n";
        let after = "linux /k cryptdevice=UUID=luks:root root=/dev/mapper/root\ninitrd /i\n";
        assert_eq!(command_lines(before, &devices), after);
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
