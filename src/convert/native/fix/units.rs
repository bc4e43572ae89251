//! Units of systemd that mount or swap (systemd.mount(5), systemd.swap(5)): devices by names that
//! last. A lost device cannot be made optional here, as in fstab: the units that need the device
//! decide that.

use crate::convert::native::devices::{GuestDevices, unescaped_name};

/// Pattern for the administrator's own units that mount.
pub(in crate::convert::native) const MOUNTS: &str = "/etc/systemd/system/*.mount";
/// Pattern for the administrator's own units that swap. Such a unit is named after its device, so a
/// change of its text is not enough.
pub(super) const SWAPS: &str = "/etc/systemd/system/*.swap";

/// A mount unit with a lasting name of its device, and the device if it could not be replaced.
pub(super) fn stabilize(text: &str, devices: &GuestDevices) -> (String, Vec<String>) {
    let mut lost = Vec::new();
    let line = |line: &str| {
        let Some(device) = device_of(line) else { return line.to_owned() };
        if let Some(lasting) = devices.lasting(device).and_then(|tag| link(&tag)) {
            return line.replacen(device, &lasting, 1);
        }
        lost.extend(Some(device.to_owned()).filter(|device| devices.is_lost(device)));
        line.to_owned()
    };
    let fixed = text.split_inclusive('\n').map(line).collect();
    (fixed, lost)
}

/// The devices of a unit.
pub(in crate::convert::native) fn named(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(device_of)
}

/// The mount point and the device of a mount unit.
pub(in crate::convert::native) fn mount(text: &str) -> Option<(&str, &str)> {
    let point = text.lines().find_map(|line| value(line, "Where"))?;
    Some((point, named(text).next()?))
}

/// The device in a line `What=…`.
pub(super) fn device_of(line: &str) -> Option<&str> {
    value(line, "What")
}

fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (own, value) = line.split_once('=')?;
    (own.trim() == key).then(|| value.trim()).filter(|value| !value.is_empty())
}

/// The device that a unit of type `device` stands for (systemd.device(5), systemd-escape(1)).
pub(super) fn device_of_unit(name: &str) -> Option<String> {
    let path = name.strip_suffix(".device")?.strip_prefix("dev-")?;
    Some(format!("/dev/{}", unescaped_name(&path.replace('-', "/"))))
}

/// The path of a tag. systemd waits for a device only where the unit names it by its path.
pub(super) fn link(tag: &str) -> Option<String> {
    let (kind, value) = tag.split_once('=')?;
    Some(format!("/dev/disk/by-{}/{value}", kind.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::native::devices::devices;

    fn unit(device: &str) -> String {
        format!("[Unit]\n# What=/dev/sdb1\n[Mount]\nWhat={device}\nWhere=/srv\nType=xfs\n")
    }

    #[test]
    fn mounts_name_their_device_by_uuid() {
        let devices = devices(&[("/dev/sda1", "root"), ("/dev/sdb1", "data")]);
        for name in ["/dev/sdb1", "/dev/disk/by-id/scsi-36000c290000000000000000000000001-part1"] {
            let (fixed, lost) = stabilize(&unit(name), &devices);
            assert_eq!((fixed, lost.len()), (unit("/dev/disk/by-uuid/data"), 0), "{name}");
        }
    }

    #[test]
    fn a_device_that_is_gone_is_told_and_stays() {
        let devices = devices(&[("/dev/sda1", "root")]);
        let (fixed, lost) = stabilize(&unit("/dev/sdc1"), &devices);
        assert_eq!((fixed, lost), (unit("/dev/sdc1"), vec!["/dev/sdc1".to_owned()]));
        for name in ["tmpfs", "nas:/x", "/dev/disk/by-uuid/root", "UUID=root"] {
            assert_eq!(stabilize(&unit(name), &devices), (unit(name), Vec::new()), "{name}");
        }
    }

    #[test]
    fn units_of_devices_are_called_after_them() {
        let device = |name| device_of_unit(name);
        assert_eq!(device("dev-sdb2.device").as_deref(), Some("/dev/sdb2"));
        assert_eq!(
            device("dev-disk-by\\x2did-scsi\\x2d36000c29.device").as_deref(),
            Some("/dev/disk/by-id/scsi-36000c29")
        );
        assert_eq!((device("sys-a.device"), device("dev-sdb2.swap")), (None, None));
    }

    #[test]
    fn comments_name_no_device() {
        assert_eq!(named(&unit("/dev/sdb1")).collect::<Vec<_>>(), ["/dev/sdb1"]);
        assert_eq!(mount(&unit("/dev/sdb1")), Some(("/srv", "/dev/sdb1")));
        assert_eq!(mount("[Mount]\nWhat=/dev/sdb1\n"), None);
    }
}
