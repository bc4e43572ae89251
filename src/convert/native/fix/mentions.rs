//! Disks named in files that FIX does not change: units of systemd, scripts, rules of udev,
//! multipath. A warning names each place for the administrator.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use crate::convert::Error;
use crate::convert::native::devices::is_unstable;
use crate::convert::native::guestfs::Guestfs;
use crate::model::WarningCode;

use super::{FixReport, units};

/// The administrator's own units with their drop-ins, and scripts that run at the start of the
/// guest.
const STARTED: [&str; 7] = [
    "/etc/systemd/system/*.*",
    "/etc/systemd/system/*.d/*.conf",
    "/etc/rc.local",
    "/etc/rc.d/rc.local",
    "/etc/init.d/boot.local",
    "/etc/local.d/*.start",
    "/etc/conf.d/local",
];
/// Files that select disks by their hardware: for Oracle's ASM, for paths of multipath.
const SELECTING: [&str; 4] = [
    "/etc/udev/rules.d/*.rules",
    "/etc/multipath.conf",
    "/etc/multipath/conf.d/*.conf",
    "/etc/multipath/multipath.conf",
];
/// A serial number of a VMware disk: it begins with VMware's IEEE number, with or without the `3`
/// that marks it (SPC-4, "NAA").
static SERIAL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)[a-z0-9_.-]*6000c29[a-z0-9_-]*").expect("a pattern"));
/// A condition of udev that only VMware's disks meet, or SCSI disks by their order.
static CONDITION: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"(?i)(?:\{(?:id_)?(?:vendor|model)(?:_enc)?\}\s*==\s*e?"[^"]*(?:vmware|virtual.disk)|KERNELS?\s*==\s*"sd)[^"]*""#;
    Regex::new(pattern).expect("a pattern")
});
/// A property or link that a rule gives to a device and that programs search for.
static GIVES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b(?:SYMLINK|NAME|OWNER|GROUP|MODE)\s*[+:]?=[^=]").expect("a pattern")
});

/// Warns of all such disks.
pub(super) async fn tell(guestfs: &mut Guestfs, report: &mut FixReport<'_>) -> Result<(), Error> {
    for path in paths(guestfs, &STARTED).await? {
        let text = guestfs.read(&path).await?.unwrap_or_default();
        let named = named(&path, &text);
        if !named.is_empty() {
            let text = format!(
                "{path} of the guest names {}, which may have another name on KVM: name the device by \
                 /dev/disk/by-uuid in that file",
                named.join(", ")
            );
            report.warn(WarningCode::GuestDeviceByOrder, text);
        }
    }
    for path in paths(guestfs, &SELECTING).await? {
        let text = guestfs.read(&path).await?.unwrap_or_default();
        let selected = selected(&text, path.ends_with(".rules"));
        if !selected.is_empty() {
            let text = format!(
                "{path} of the guest selects disks by {}, which no disk may have on KVM: select them \
                 by a UUID or a label in that file",
                selected.join(", ")
            );
            report.warn(WarningCode::GuestDiskByHardware, text);
        }
    }
    Ok(())
}

async fn paths(guestfs: &mut Guestfs, patterns: &[&str]) -> Result<BTreeSet<String>, Error> {
    let mut found = BTreeSet::new();
    for pattern in patterns {
        found.extend(guestfs.glob(pattern).await?);
    }
    Ok(found)
}

/// The names of disks by order, place or serial number in a unit or a script. Other modules handle
/// the devices that a unit mounts or swaps.
fn named(path: &str, text: &str) -> Vec<String> {
    let is_told = |line: &str| {
        let is_unit = path.ends_with(".mount") || path.ends_with(".swap");
        is_unit && units::device_of(line).is_some()
    };
    let lines = text.lines().filter(|line| !line.trim_start().starts_with(['#', ';']));
    let words = lines
        .filter(|line| !is_told(line))
        .flat_map(|line| line.split(|c: char| c.is_whitespace() || "=,;\"'()|<>&".contains(c)));
    let found = words.filter_map(|word| {
        let device = units::device_of_unit(word).unwrap_or_else(|| word.to_owned());
        is_unstable(&device).then(|| word.to_owned())
    });
    distinct(found)
}

/// The conditions by which a file selects disks and that may not hold on KVM.
fn selected(text: &str, is_rules: bool) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let lines = text.lines().map(|line| match is_rules {
        // A number sign within a rule begins no comment.
        true if line.trim_start().starts_with('#') => "",
        true => line,
        false => line.split(['#', '!']).next().unwrap_or_default(),
    });
    let found = lines.filter_map(|line| {
        let by_serial = SERIAL.find(line);
        let by_kind = || CONDITION.find(line).filter(|_| is_rules && GIVES.is_match(line));
        by_serial.or_else(by_kind).map(|found| found.as_str().trim_start_matches('{').to_owned())
    });
    distinct(found)
}

fn distinct(words: impl Iterator<Item = String>) -> Vec<String> {
    words.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::convert::native::played::Played;
    use crate::progress::Progress;

    #[test]
    fn rules_by_what_vmwares_disks_have_are_seen() {
        let serial = "36000c29d1b1a9a1a4bd1b3e5e3f0a1b2";
        for (rule, what) in [
            (
                format!(
                    "KERNEL==\"sd?1\", PROGRAM==\"/lib/udev/scsi_id -g -u -d /dev/$parent\", RESULT==\"{serial}\", NAME=\"asm1\""
                ),
                serial,
            ),
            (format!("ENV{{ID_SERIAL}}==\"{serial}\", \\\n  SYMLINK+=\"asm1\""), serial),
            (
                format!("ENV{{ID_WWN}}==\"0x{}\", OWNER=\"grid\"", &serial[1..]),
                "0x6000c29d1b1a9a1a4bd1b3e5e3f0a1b2",
            ),
            (
                "ENV{ID_MODEL}==\"Virtual_disk\", KERNEL==\"sdb\", GROUP=\"dba\"".to_owned(),
                "ID_MODEL}==\"Virtual_disk\"",
            ),
            ("KERNEL == \"sdb1\", MODE=\"0660\"".to_owned(), "KERNEL == \"sdb1\""),
        ] {
            assert_eq!(selected(&rule, true), [what], "{rule}");
        }
        for rule in [
            "ACTION==\"add\", ATTRS{vendor}==\"VMware*\", RUN+=\"/bin/sh -c 'echo 180 >/sys$DEVPATH/timeout'\"",
            "ACTION==\"add|change\", KERNEL==\"sd[a-z]\", ATTR{queue/scheduler}=\"none\"",
            "# ENV{ID_SERIAL}==\"36000c29d\", NAME=\"x\"",
            "ENV{ID_FS_UUID}==\"5eed\", SYMLINK+=\"asm1\"",
        ] {
            assert!(selected(rule, true).is_empty(), "{rule}");
        }
        let multipath =
            format!("multipaths {{\n  # wwid 36000c29\n  multipath {{ wwid {serial} }}\n}}\n");
        assert_eq!(selected(&multipath, false), [serial]);
        assert!(selected("devices { device { vendor \"VMware\" } }\n", false).is_empty());
    }

    #[test]
    fn units_that_wait_for_a_disk_are_seen() {
        let unit = "[Unit]\n# After=dev-sda1.device\nRequires=dev-sdb2.device\n\
                    After=dev-sdb2.device dev-disk-by\\x2duuid-5eed.device\n\
                    [Service]\nExecStart=-/sbin/blockdev --setra 64 /dev/sdb\n";
        assert_eq!(named("/etc/systemd/system/x.service", unit), ["/dev/sdb", "dev-sdb2.device"]);
        let by_id = "Wants=dev-disk-by\\x2did-scsi\\x2d36000c290000000000000000000000001\\x2dpart2.device\n";
        assert_eq!(named("/etc/systemd/system/x.service", by_id).len(), 1);
        assert!(named("/etc/systemd/system/a.mount", "What=/dev/sdb2\n").is_empty());
    }

    #[tokio::test]
    async fn every_place_is_warned_of() {
        let played = Played::new(
            &[
                (
                    "etc/systemd/system/app.service.d/disk.conf",
                    b"[Unit]\nRequires=dev-sda1.device\n",
                ),
                ("etc/rc.local", b"#!/bin/sh\nblockdev --setra 64 /dev/sda\n"),
                ("etc/udev/rules.d/99-asm.rules", b"ENV{ID_SERIAL}==\"36000c29a\", NAME=\"asm\"\n"),
                ("etc/multipath.conf", b"blacklist {\n wwid 36000c29a\n}\n"),
            ],
            json!({}),
        );
        let (mut guestfs, progress) = (played.started().await, Progress::none());
        let mut report = FixReport::new(&progress);
        tell(&mut guestfs, &mut report).await.expect("told");
        let codes: Vec<_> = report.warnings.iter().map(|warning| warning.code.as_str()).collect();
        let (order, hardware) = ("guest-device-by-order", "guest-disk-by-hardware");
        assert_eq!(codes, [order, order, hardware, hardware], "{:?}", report.warnings);
    }
}
