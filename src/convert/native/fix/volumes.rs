//! Lists of devices for LVM, md and the initramfs, whose names change on KVM (lvm.conf(5),
//! mdadm.conf(5), initramfs-tools(7)).

use std::sync::LazyLock;

use regex::Regex;

use crate::convert::native::devices::GuestDevices;

use super::arrays;

/// Files of the guest that are copied into an initramfs.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    /// A path, or a pattern of paths.
    pub(super) path: &'static str,
    /// Name of the list in messages.
    pub(super) what: &'static str,
    /// Returns the text for KVM, and the entries that only names of devices identify.
    pub(super) mend: fn(&str, &GuestDevices) -> (String, Vec<String>),
}

pub(super) const LISTS: [List; 7] = [
    List { path: "/etc/lvm/lvm.conf", what: "LVM", mend: filters },
    List { path: "/etc/lvm/lvmlocal.conf", what: "LVM", mend: filters },
    List { path: "/etc/mdadm/mdadm.conf", what: "md", mend: arrays::mend },
    List { path: "/etc/mdadm/mdadm.conf.d/*.conf", what: "md", mend: arrays::mend },
    List { path: "/etc/mdadm.conf", what: "md", mend: arrays::mend },
    List { path: "/etc/mdadm.conf.d/*.conf", what: "md", mend: arrays::mend },
    List { path: "/etc/initramfs-tools/conf.d/resume", what: "resume", mend: resume },
];

/// LVM's file of the devices that it may use, since RHEL 9 (lvmdevices(8)).
pub(super) const LVM_DEVICES: &str = "/etc/lvm/devices/system.devices";

/// The start of a filter, up to its value.
static FILTER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?m)^[ \t]*(?:global_)?filter[ \t]*=").expect("a pattern"));
/// A string of lvm.conf.
static STRING: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""([^"\n]*)""#).expect("a pattern"));
/// The beginning of a disk's name in a pattern of a filter.
static DISK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(^|[/^(|])sd").expect("a pattern"));

/// Extends LVM's filters with their patterns' equivalents on KVM. The original patterns stay: the
/// guest may have a SCSI controller on KVM, too.
fn filters(text: &str, _: &GuestDevices) -> (String, Vec<String>) {
    let (mut done, mut at) = (String::with_capacity(text.len()), 0);
    for found in FILTER.find_iter(text) {
        let end = end_of_value(text, found.end());
        if found.end() < at {
            continue;
        }
        done.push_str(&text[at..found.end()]);
        done.push_str(&with_kvms(&text[found.end()..end]));
        at = end;
    }
    done.push_str(&text[at..]);
    (done, Vec::new())
}

/// The end of a value that begins at `from`: after its `]`, or the end of its line.
fn end_of_value(text: &str, from: usize) -> usize {
    let rest = &text[from..];
    let mut is_string = false;
    let is_list = rest.trim_start_matches([' ', '\t']).starts_with('[');
    for (at, c) in rest.char_indices() {
        match c {
            '"' => is_string = !is_string,
            ']' if is_list && !is_string => return from + at + 1,
            '\n' if !is_list => return from + at,
            _ => {}
        }
    }
    text.len()
}

/// The strings of a filter, each followed by its equivalent on KVM where that differs.
fn with_kvms(value: &str) -> String {
    let known: Vec<_> = STRING.captures_iter(value).map(|found| found[1].to_owned()).collect();
    let mut count = 0;
    let more = STRING.replace_all(value, |found: &regex::Captures<'_>| {
        let added = on_kvm(&found[1]).filter(|pattern| !known.contains(pattern));
        let Some(added) = added else { return found[0].to_owned() };
        count += 1;
        format!("{}, \"{added}\"", &found[0])
    });
    match count > 0 && !value.trim_start().starts_with('[') {
        // A list of one may be written without its brackets.
        true => format!(" [ {} ]", more.trim()),
        false => more.into_owned(),
    }
}

/// The equivalent of a disk pattern (`a|/dev/sda.*|`) on virtio. A pattern that accepts disks by
/// VMware's places and serial numbers becomes one that accepts all disks: no pattern on KVM
/// identifies the same disks.
fn on_kvm(pattern: &str) -> Option<String> {
    let delimiter = pattern.chars().nth(1)?;
    let inside = pattern.get(1 + delimiter.len_utf8()..)?.strip_suffix(delimiter)?;
    if DISK.is_match(inside) {
        let inside = DISK.replace_all(inside, "${1}vd");
        return Some(format!("{}{delimiter}{inside}{delimiter}", &pattern[..1]));
    }
    let places = ["by-path/pci", "by-id/scsi-", "by-id/wwn-", "36000c29"];
    let is_place = places.iter().any(|place| inside.contains(place));
    (pattern.starts_with('a') && is_place)
        .then(|| format!("a{delimiter}^/dev/[sv]d[a-z]{delimiter}"))
}

/// Replaces the device in `RESUME=` with its UUID.
fn resume(text: &str, devices: &GuestDevices) -> (String, Vec<String>) {
    let line = |line: &str| {
        let name = line.trim().strip_prefix("RESUME=");
        let lasting = name.and_then(|name| devices.lasting(name.trim_matches(['"', '\''])));
        match (name, lasting) {
            (Some(name), Some(lasting)) => line.replacen(name, &lasting, 1),
            _ => line.to_owned(),
        }
    };
    (text.split_inclusive('\n').map(line).collect(), Vec::new())
}

/// Whether LVM's file identifies disks only by VMware's names. LVM then searches for the disks by
/// their signatures.
pub(super) fn names_vmwares(devices: &str) -> bool {
    devices.lines().any(|line| {
        let line = line.trim();
        !line.starts_with('#') && line.contains("IDTYPE=sys_")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::native::devices::devices;

    #[test]
    fn filters_of_lvm_take_the_disks_of_kvm_along() {
        let none = GuestDevices::default();
        for (before, after) in [
            (
                "devices {\n\t# filter = [ \"a|/dev/sdz|\" ]\n\tfilter = [ \"a|^/dev/sda2$|\", \"r|.*|\" ] # own\n}\n",
                "devices {\n\t# filter = [ \"a|/dev/sdz|\" ]\n\tfilter = [ \"a|^/dev/sda2$|\", \"a|^/dev/vda2$|\", \"r|.*|\" ] # own\n}\n",
            ),
            (
                "global_filter=[\"a/sd.*/\",\n  \"r/[x]/\"]\n",
                "global_filter=[\"a/sd.*/\", \"a/vd.*/\",\n  \"r/[x]/\"]\n",
            ),
            (" filter = \"r|/dev/sdb|\"\n", " filter = [ \"r|/dev/sdb|\", \"r|/dev/vdb|\" ]\n"),
            (
                "filter = [ \"a|/dev/disk/by-id/scsi-36000c29abc|\", \"r|.*|\" ]\n",
                "filter = [ \"a|/dev/disk/by-id/scsi-36000c29abc|\", \"a|^/dev/[sv]d[a-z]|\", \"r|.*|\" ]\n",
            ),
        ] {
            let once = filters(before, &none).0;
            assert_eq!(once, after);
            assert_eq!(filters(&once, &none).0, after, "it is added once");
        }
        for text in [
            "filter = [ \"a|.*|\" ]\n",
            "filter = [ \"a|/dev/sda|\", \"a|/dev/vda|\" ]\n",
            "filter = [ \"a|/dev/mapper/usd|\" ]\n",
            "scan_lvs = 0\nfilter = [",
            "filter = ",
            "filter = [ \"\", \"a\", \"é\" ]",
        ] {
            assert_eq!(filters(text, &none).0, text);
        }
    }

    #[test]
    fn the_swap_to_resume_from_is_named_by_its_uuid() {
        let devices = devices(&[("/dev/sda5", "swap")]);
        assert_eq!(resume("RESUME=/dev/sda5\n", &devices).0, "RESUME=UUID=swap\n");
        assert_eq!(resume("RESUME=none\n", &devices).0, "RESUME=none\n");
    }

    #[test]
    fn disks_that_lvm_knows_by_vmwares_numbers_are_seen() {
        let entry = "IDTYPE=sys_wwid IDNAME=naa.6000c295a DEVNAME=/dev/sda2 PVID=abc PART=2\n";
        assert!(names_vmwares(&format!("VERSION=1.1.2\n{entry}")));
        assert!(!names_vmwares(&format!("# {entry}IDTYPE=devname IDNAME=/dev/sda2\n")));
    }
}
