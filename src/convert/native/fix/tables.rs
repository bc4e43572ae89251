//! fstab(5) and crypttab(5): devices by names that last. A device that no longer exists must not
//! prevent the guest from starting.

use crate::convert::native::devices::GuestDevices;

use super::options;

/// A table, described by the indexes of its fields.
#[derive(Debug, Clone, Copy)]
pub(in crate::convert::native) struct FsTable {
    pub(in crate::convert::native) path: &'static str,
    /// Name of the table in messages.
    pub(super) what: &'static str,
    device: usize,
    /// The field of a key, which may be a device or a file on one.
    key: Option<usize>,
    options: usize,
}

/// The tables of a guest; the last one is the file that mkinitcpio puts into an initramfs as
/// crypttab.
pub(in crate::convert::native) const TABLES: [FsTable; 3] = [
    FsTable { path: "/etc/fstab", what: "fstab", device: 0, key: None, options: 3 },
    FsTable { path: "/etc/crypttab", what: "crypttab", device: 1, key: Some(2), options: 3 },
    FsTable {
        path: "/etc/crypttab.initramfs",
        what: "crypttab",
        device: 1,
        key: Some(2),
        options: 3,
    },
];
/// Options that let a guest start without the device (systemd.mount(5), crypttab(5)).
const HARMLESS: [&str; 4] = ["nofail", "noauto", "_netdev", "x-systemd.automount"];
/// Mount points that a guest cannot run without: making them optional would only hide the failure.
const ESSENTIAL: [&str; 3] = ["/", "/usr", "/var"];

/// A table with lasting names of its devices, and the names that could not be replaced. Everything
/// else stays unchanged, down to the last space.
pub(in crate::convert::native) fn stabilize(
    text: &str,
    table: FsTable,
    devices: &GuestDevices,
) -> (String, Vec<String>) {
    let mut lost = Vec::new();
    let mut line = |line: &str| {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            return line.to_owned();
        }
        let fields: Vec<_> = content.split_whitespace().collect();
        let Some(device) = fields.get(table.device).copied() else { return line.to_owned() };
        let is_root = table.device == 0 && fields.get(1) == Some(&"/");
        let lasting = match is_root {
            // The root was found, whatever name it has here.
            true => devices
                .lasting_root(device, true)
                .or_else(|| devices.root().filter(|_| devices.is_lost(device))),
            false => devices.lasting(device),
        };
        let (mut fixed, mut gone) = besides(line, &fields, table, devices);
        match lasting {
            Some(lasting) => fixed = replace_field(&fixed, table.device, &lasting),
            None if devices.is_lost(device) => gone.push(device.to_owned()),
            None => {}
        }
        if gone.is_empty() {
            return fixed;
        }
        lost.append(&mut gone);
        without_need(&fixed, &fixed.split_whitespace().collect::<Vec<_>>(), table)
    };
    let fixed = text.split_inclusive('\n').map(&mut line).collect();
    (fixed, lost)
}

/// A line with lasting names of the devices in its key and its options, and the names that could
/// not be replaced.
fn besides(
    line: &str,
    fields: &[&str],
    table: FsTable,
    devices: &GuestDevices,
) -> (String, Vec<String>) {
    let (mut fixed, mut lost) = (line.to_owned(), Vec::new());
    for column in table.key.into_iter().chain([table.options]) {
        let Some(field) = fields.get(column) else { continue };
        let (stable, gone) = options::stabilize(field, devices);
        if stable != *field {
            fixed = replace_field(&fixed, column, &stable);
        }
        lost.extend(gone);
    }
    (fixed, lost)
}

/// Whether a table names a device by a name that will not last, and the guest does not start
/// without that device.
pub(in crate::convert::native) fn needs_unstable(
    text: &str,
    table: FsTable,
    devices: &GuestDevices,
) -> bool {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let mut rows = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.any(|fields| {
        let field = |column: usize| fields.get(column).copied().unwrap_or_default();
        let besides = table.key.into_iter().chain([table.options]).map(field);
        let is_unstable = devices.changes(field(table.device))
            || besides.into_iter().any(|field| options::change(field, devices));
        is_unstable && !is_harmless(&fields, table)
    })
}

/// [`needs_unstable`] for the copies of crypttab(5) in an initramfs, where each line is needed.
/// Debian before 10 wrote them as `source=/dev/sda5,…`.
pub(in crate::convert::native) fn copy_is_unstable(text: &str, devices: &GuestDevices) -> bool {
    text.split_whitespace().any(|word| options::change(word, devices))
}

fn is_harmless(fields: &[&str], table: FsTable) -> bool {
    let options = fields.get(table.options).copied().unwrap_or_default();
    options.split(',').any(|option| HARMLESS.contains(&option))
}

/// The line of a missing device, made optional.
fn without_need(line: &str, fields: &[&str], table: FsTable) -> String {
    let is_essential =
        table.device == 0 && fields.get(1).is_some_and(|point| ESSENTIAL.contains(point));
    let options = fields.get(table.options).copied().unwrap_or_default();
    if is_essential || is_harmless(fields, table) {
        return line.to_owned();
    }
    if !options.is_empty() {
        return replace_field(line, table.options, &format!("{options},nofail"));
    }
    let end = line.trim_end().len();
    let missing = match (table.device, fields.len()) {
        (0, 3) => " defaults,nofail",
        (1, 3) => " nofail",
        (1, 2) => " none nofail",
        _ => return line.to_owned(),
    };
    format!("{}{missing}{}", &line[..end], &line[end..])
}

/// Replaces one of the fields of a line, which are separated by spaces.
fn replace_field(line: &str, column: usize, by: &str) -> String {
    let mut at = 0;
    for index in 0..=column {
        at += line[at..].len() - line[at..].trim_start().len();
        if index < column {
            at += line[at..].find(char::is_whitespace).unwrap_or(0);
        }
    }
    let end = line[at..].find(char::is_whitespace).map_or(line.len(), |end| at + end);
    format!("{}{by}{}", &line[..at], &line[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::native::devices::{devices, tagged};

    #[test]
    fn only_the_device_of_a_line_changes() {
        let devices = devices(&[("/dev/sda1", "5eed"), ("/dev/sda5", "swap")]);
        let fstab = "# /dev/sda1 was here\n/dev/sda1\t/  ext4 errors=remount-ro 0 1\n\
                     LABEL=x /home ext4 defaults,nofail 0 2\n /dev/sda5 none swap sw 0 0\n";
        let (fixed, lost) = stabilize(fstab, TABLES[0], &devices);
        assert_eq!(
            fixed,
            "# /dev/sda1 was here\nUUID=5eed\t/  ext4 errors=remount-ro 0 1\n\
             LABEL=x /home ext4 defaults,nofail 0 2\n UUID=swap none swap sw 0 0\n"
        );
        assert_eq!(lost, ["LABEL=x"]);
        let (fixed, _) = stabilize("sda5_crypt /dev/sda5 none luks\n", TABLES[1], &devices);
        assert_eq!(fixed, "sda5_crypt UUID=swap none luks\n");
    }

    #[test]
    fn devices_of_keys_and_options_last_too() {
        let devices = devices(&[("/dev/sda1", "5eed"), ("/dev/sdb1", "log")]);
        let [fstab, crypttab, _] = TABLES;
        for (before, after, table) in [
            (
                "/dev/sda1 / xfs logdev=/dev/sdb1 0 1\n",
                "UUID=5eed / xfs logdev=/dev/disk/by-uuid/log 0 1\n",
                fstab,
            ),
            (
                "UUID=5eed /srv xfs rw,rtdev=/dev/sdz1 0 2\n",
                "UUID=5eed /srv xfs rw,rtdev=/dev/sdz1,nofail 0 2\n",
                fstab,
            ),
            (
                "x /dev/sda1 /dev/sdb1 luks,header=/dev/sdb1\n",
                "x UUID=5eed /dev/disk/by-uuid/log luks,header=/dev/disk/by-uuid/log\n",
                crypttab,
            ),
        ] {
            let (fixed, _) = stabilize(before, table, &devices);
            assert_eq!(fixed, after);
            assert!(!needs_unstable(&fixed, table, &devices), "{fixed}");
        }
        assert!(needs_unstable("UUID=5eed / xfs logdev=/dev/sdb1 0 1\n", fstab, &devices));
        assert!(copy_is_unstable("x UUID=5eed none header=/dev/sdb1\n", &devices));
    }

    #[test]
    fn a_disk_with_a_twin_keeps_its_name() {
        let part = |name: &'static str| (name, vec![("UUID", "5eed"), ("PART_ENTRY_UUID", "part")]);
        let twins = tagged(&[part("/dev/sda1"), part("/dev/sdb1")]);
        let text = "/dev/sda1 / ext4 rw 0 1\n/dev/sdb1 /copy ext4 rw 0 2\n";
        assert_eq!(stabilize(text, TABLES[0], &twins), (text.to_owned(), Vec::new()));
        assert!(needs_unstable(text, TABLES[0], &twins));
    }

    #[test]
    fn a_needed_device_by_an_unstable_name_is_seen() {
        let devices = devices(&[("/dev/sda1", "5eed"), ("/dev/sda5", "luks")]);
        let [fstab, crypttab, early] = TABLES;
        assert!(needs_unstable("x /dev/sda5 none luks\n", crypttab, &devices));
        assert!(needs_unstable("x /dev/sda5\n", early, &devices));
        assert!(!needs_unstable("x /dev/sda5 none luks,nofail\n", crypttab, &devices));
        assert!(!needs_unstable("# x /dev/sda5\nx UUID=luks none\n", crypttab, &devices));
        assert!(needs_unstable("/dev/sda1 / ext4 rw 0 1\n", fstab, &devices));
        assert!(!needs_unstable("/dev/sda1 /x ext4 noauto 0 1\n", fstab, &devices));
    }

    #[test]
    fn what_is_not_there_may_be_missing() {
        let devices = devices(&[("/dev/sda1", "5eed")]);
        let cases = [
            ("/dev/sdb1 /srv xfs defaults 0 2\n", "/dev/sdb1 /srv xfs defaults,nofail 0 2\n"),
            ("UUID=gone /data ext4\n", "UUID=gone /data ext4 defaults,nofail\n"),
            ("/dev/sdb1 /srv xfs noauto,user 0 2\n", "/dev/sdb1 /srv xfs noauto,user 0 2\n"),
            ("nas:/x /mnt nfs defaults 0 0\n", "nas:/x /mnt nfs defaults 0 0\n"),
            ("UUID=gone /usr ext4 defaults 0 1\n", "UUID=gone /usr ext4 defaults 0 1\n"),
        ];
        for (before, after) in cases {
            assert_eq!(stabilize(before, TABLES[0], &devices).0, after);
        }
        let (fixed, _) = stabilize("data UUID=gone /key\n", TABLES[1], &devices);
        assert_eq!(fixed, "data UUID=gone /key nofail\n");
    }

    #[test]
    fn the_root_is_the_one_that_was_found() {
        let devices = devices(&[("/dev/sda1", "5eed"), ("/dev/sdb1", "data")]);
        let by_path =
            "/dev/disk/by-path/pci-0000:03:00.0-sas-0x5000-lun-0-part1 / ext4 defaults 0 1\n";
        assert_eq!(stabilize(by_path, TABLES[0], &devices).0, "UUID=5eed / ext4 defaults 0 1\n");
        assert_eq!(
            stabilize("UUID=old / ext4 defaults 0 1\n", TABLES[0], &devices).0,
            "UUID=5eed / ext4 defaults 0 1\n"
        );
    }
}
