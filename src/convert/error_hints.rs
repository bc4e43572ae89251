//! Hints for the errors of a conversion.

use std::io;
use std::path::Path;

use crate::child;
use crate::model::Hint;

use super::Error;
use super::hyper2kvm::find::INSTALL;
use super::output_files::{NATIVE_LOG, REPORT};
use super::virtio_win::{DOWNLOAD, INSTALL_RHSRVANY, SHUT_DOWN, is_hibernated};

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        let read = |log: &Path| format!("read its output in {}", log.display());
        match self {
            Self::NotFound { passed_over, .. } if !passed_over.is_empty() => {
                let reasons = passed_over.iter().map(|warning| warning.message.as_str());
                Some(format!("fix what was passed over: {}", reasons.collect::<Vec<_>>().join("; ")))
            }
            Self::NotFound { .. } | Self::NotImportable { .. } => Some(INSTALL.to_owned()),
            Self::NoSuchProgram { .. } => {
                Some("pass the program itself: --hyper2kvm-path venv/bin/hyper2kvm".into())
            }
            Self::Unsafe { path, .. } => Some(format!(
                "make {} and its folders writable by their owner alone, and that root or you",
                path.display()
            )),
            Self::NoSystem { encrypted } => encrypted
                .first()
                .map(|device| format!("pass its passphrase with --key {device}:file:PATH")),
            Self::Systems { systems, .. } => systems
                .first()
                .map(|(device, _)| format!("choose one with --root, for example --root {device}")),
            Self::NoGuestfs { .. } => Some(
                "install python3-guestfs, and hyper2kvm in a venv made with --system-site-packages"
                    .to_owned(),
            ),
            Self::Manifest(error) => error.hint(),
            Self::ContentDiffers { .. } => Some(
                "run the same command again; if it fails again, check memory and storage of this \
                 host, then try another --converter"
                    .to_owned(),
            ),
            Self::Untrusted { .. } | Self::Image { .. } => Some("export the VM again".to_owned()),
            Self::ResultExists { path } => {
                Some(format!("move {} away, or use another --output", path.display()))
            }
            Self::NoResult { .. } => {
                Some("convert the export first: hyperexport convert --manifest FILE".to_owned())
            }
            Self::NoSpace { .. } => Some("free some space, or use another --output".to_owned()),
            Self::Child { source: child::Error::Start { source, program }, .. }
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Some(match program.as_str() {
                    "guestfish" => "install libguestfs-tools (Fedora: guestfs-tools)".to_owned(),
                    "virt-v2v-in-place" => "install virt-v2v".to_owned(),
                    "virt-customize" => "install guestfs-tools".to_owned(),
                    _ => format!("install {program} (Debian: qemu-utils, Fedora: qemu-img)"),
                })
            }
            Self::Hyper2kvm { log, message, .. } if message.contains("guestfs_launch") => {
                Some(format!(
                    "run libguestfs-test-tool, which shows why the appliance does not start; set \
                     LIBGUESTFS_BACKEND_SETTINGS=force_tcg where KVM cannot run guests; {}",
                    read(log)
                ))
            }
            Self::Hyper2kvm { log, .. } | Self::NotDone { log, .. } => Some(read(log)),
            Self::NoSeedProgram { .. } => Some("install xorriso".to_owned()),
            Self::Seed { .. } => Some(
                "pass --cloud-init a file of user data, or a folder that contains user-data"
                    .to_owned(),
            ),
            Self::NoV2v => Some(format!("install virt-v2v; for the drivers {DOWNLOAD}")),
            Self::VirtioWin { .. } | Self::NoDrivers { .. } => Some(DOWNLOAD.to_owned()),
            Self::NotFixed { .. } => Some(format!(
                "read {} and {}; the domain gets hardware that the guest supports",
                REPORT, NATIVE_LOG
            )),
            Self::Guestfs { message, .. } => Some(of_guestfs(message)),
            Self::Appliance { .. } => Some(
                "run libguestfs-test-tool, and set LIBGUESTFS_BACKEND_SETTINGS=force_tcg where KVM \
                 cannot run guests"
                    .to_owned(),
            ),
            Self::Refused { .. } => Some(all_is_in_the_log()),
            Self::TimedOut { .. } => Some("allow more time: --pipeline-timeout 2h".to_owned()),
            Self::Io { .. } | Self::Child { .. } | Self::QemuImg { .. } | Self::Cancelled => None,
        }
    }
}

/// The hint for a failure of libguestfs, or of a program that uses libguestfs.
fn of_guestfs(message: &str) -> String {
    if message.contains("rhsrvany") {
        return INSTALL_RHSRVANY.to_owned();
    }
    if is_hibernated(message) {
        return SHUT_DOWN.to_owned();
    }
    if message.contains("nbdkit is not installed") {
        return "install nbdkit".to_owned();
    }
    all_is_in_the_log()
}

fn all_is_in_the_log() -> String {
    format!(
        "read {} beside the results; the domain gets hardware that the guest supports already",
        NATIVE_LOG
    )
}
