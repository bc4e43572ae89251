//! Devices in options of fstab(5) and crypttab(5), and in the field of a key: `logdev=/dev/sdb1`,
//! `x-systemd.requires=dev-sdb1.device`, `header=/dev/sdb1`, `/dev/disk/by-label/x:/key`.

use std::ops::Range;

use crate::convert::native::devices::GuestDevices;

use super::units;

/// The option of btrfs that names one disk of several, all of which have the UUID of the file
/// system.
const MEMBER: &str = "device";
/// Prefixes of a device that follows the path of a file on the device (crypttab(5) of systemd).
const BEHIND: [&str; 5] = [":/dev/", ":UUID=", ":LABEL=", ":PARTUUID=", ":PARTLABEL="];

/// Options with lasting names of their devices, and the names that could not be replaced.
pub(super) fn stabilize(options: &str, devices: &GuestDevices) -> (String, Vec<String>) {
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    for option in options.split(',') {
        let (key, given) = parted(option);
        let Some(named) = NamedDevice::read(given) else {
            kept.push(option.to_owned());
            continue;
        };
        let lasting = match key {
            // A disk without a partition table is found by its signature, as all disks of btrfs.
            MEMBER if devices.changes(&named.device) => match devices.lasting_part(&named.device) {
                Some(part) => Some(part),
                None => continue,
            },
            _ => devices.lasting(&named.device),
        };
        let path = lasting.and_then(|tag| units::link(&tag));
        match path {
            Some(path) => kept.push(option.replacen(&given[named.at.clone()], &path, 1)),
            None => kept.push(option.to_owned()),
        }
        lost.extend(Some(named.device).filter(|device| devices.is_lost(device)));
    }
    let kept = kept.join(",");
    (if kept.is_empty() { "defaults".to_owned() } else { kept }, lost)
}

/// Whether options name a device by a name that means another one on KVM, or none.
pub(super) fn change(options: &str, devices: &GuestDevices) -> bool {
    let mut named = options.split(',').filter_map(|option| NamedDevice::read(parted(option).1));
    named.any(|named| devices.changes(&named.device))
}

/// The key and the value of an option. In the field of a key there is no key before a `=`:
/// `/key:LABEL=usb`.
fn parted(option: &str) -> (&str, &str) {
    let parts = option.split_once('=').filter(|(key, _)| !key.contains(['/', ':']));
    parts.unwrap_or(("", option))
}

/// A device in a value.
struct NamedDevice {
    device: String,
    at: Range<usize>,
}

impl NamedDevice {
    fn read(value: &str) -> Option<Self> {
        if let Some(device) = units::device_of_unit(value) {
            return Some(Self { device, at: 0..value.len() });
        }
        let at = match value.starts_with("/dev/") {
            // A path by place contains colons itself.
            true => 0..value.find(":/").unwrap_or(value.len()),
            false => {
                let behind = BEHIND.iter().filter_map(|mark| value.find(mark)).min();
                behind.filter(|_| value.starts_with('/'))? + 1..value.len()
            }
        };
        Some(Self { device: value[at.clone()].to_owned(), at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::native::devices::{devices, tagged};

    fn stable(options: &str) -> (String, Vec<String>) {
        stabilize(options, &devices(&[("/dev/sda1", "root"), ("/dev/sdb2", "log")]))
    }

    #[test]
    fn options_name_devices_by_paths_that_last() {
        let path = "/dev/disk/by-uuid/log";
        for (before, after) in [
            ("rw,logdev=/dev/sdb2,noatime", format!("rw,logdev={path},noatime")),
            ("journal_path=/dev/sdb2", format!("journal_path={path}")),
            ("x-systemd.requires=/dev/sdb2", format!("x-systemd.requires={path}")),
            ("x-systemd.after=dev-sdb2.device", format!("x-systemd.after={path}")),
            ("luks,header=/dev/sdb2", format!("luks,header={path}")),
            ("luks,header=/header.img:/dev/sdb2", format!("luks,header=/header.img:{path}")),
            ("/dev/sdb2:/key", format!("{path}:/key")),
            ("/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:1:0-part2:/key", format!("{path}:/key")),
        ] {
            assert_eq!(stable(before), (after, Vec::new()), "{before}");
        }
        for same in [
            "defaults",
            "loop",
            "none",
            "/dev/urandom",
            "subvol=@,compress=zstd:3",
            "context=\"system_u:object_r:x:s0:c1,c2\"",
            "x-systemd.requires=network.target",
            "uid=1000,device",
            "header=/dev/disk/by-uuid/log",
        ] {
            assert_eq!(stable(same), (same.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn what_is_not_there_is_told() {
        for (options, device) in [
            ("rtdev=/dev/sdz1", "/dev/sdz1"),
            ("x-systemd.requires=dev-sdz1.device", "/dev/sdz1"),
            ("/dev/disk/by-label/usb:/key", "/dev/disk/by-label/usb"),
            ("/key:LABEL=usb", "LABEL=usb"),
            ("rw,device=/dev/sdz1", "/dev/sdz1"),
        ] {
            assert_eq!(stable(options), (options.to_owned(), vec![device.to_owned()]));
        }
    }

    #[test]
    fn a_disk_of_btrfs_is_named_by_its_partition() {
        let part = |name: &'static str, own: &'static str| {
            let tags = [("TYPE", "btrfs"), ("UUID", "5eed"), ("UUID_SUB", own)];
            let part = name.ends_with('1').then_some(("PART_ENTRY_UUID", own));
            (name, tags.into_iter().chain(part).collect())
        };
        let own = tagged(&[part("/dev/sda1", "a"), part("/dev/sdb1", "b"), part("/dev/sdc", "c")]);
        let stable = |options: &str| stabilize(options, &own);
        assert_eq!(
            stable("rw,device=/dev/sda1,device=/dev/sdb1,device=/dev/sdc"),
            (
                "rw,device=/dev/disk/by-partuuid/a,device=/dev/disk/by-partuuid/b".to_owned(),
                Vec::new()
            )
        );
        assert_eq!(stable("device=/dev/sdc"), ("defaults".to_owned(), Vec::new()));
    }

    #[test]
    fn devices_that_may_be_others_are_seen() {
        let known = devices(&[("/dev/sda1", "root"), ("/dev/sdb2", "log"), ("/dev/sdc", "disk")]);
        for options in ["rw,logdev=/dev/sdb2", "x-systemd.after=dev-sdc.device,rw"] {
            assert!(change(options, &known), "{options}");
        }
        assert!(!change("rw,logdev=/dev/disk/by-uuid/x,subvol=@", &known));
    }
}
