//! Why disks were not converted.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::child;
use crate::manifest;
use crate::model::{ByteSize, DiskId, Sha256Digest, Warning};

/// Why disks were not converted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No hyper2kvm was found.
    #[error("hyper2kvm not found in {} places", searched.len())]
    NotFound {
        /// Every path that was searched.
        searched: Vec<PathBuf>,
        /// Programs that were found and not run, with the reasons.
        passed_over: Vec<Warning>,
    },
    /// The path given by the user names no program.
    #[error("hyper2kvm not found: {} is not an executable file", path.display())]
    NoSuchProgram {
        /// Path given by the user.
        path: PathBuf,
    },
    /// Other users could have replaced the program.
    #[error("{} is not trusted: {why}", path.display())]
    Unsafe {
        /// Path given by the user.
        path: PathBuf,
        /// Which user could write which file or folder.
        why: String,
    },
    /// hyper2kvm is there but cannot be imported.
    #[error("importing hyper2kvm from {}: {what}", path.display())]
    NotImportable {
        /// Path of the hyper2kvm program.
        path: PathBuf,
        /// Python's error message.
        what: String,
    },
    /// FIX needs libguestfs' Python binding.
    #[error("{} cannot import the Python module guestfs", path.display())]
    NoGuestfs {
        /// Path of the hyper2kvm program.
        path: PathBuf,
    },
    /// The manifest, or a file that the manifest names, is not usable.
    #[error("checking the manifest")]
    Manifest(#[from] manifest::Error),
    /// An image does not match its manifest, or refers to other files.
    #[error("{disk} is not trusted: {why}")]
    Untrusted {
        /// Id of the image's disk.
        disk: DiskId,
        /// How the image differs, as a clause.
        why: String,
    },
    /// A VMDK is damaged or incomplete.
    #[error("reading {}", path.display())]
    Image {
        /// Path of the VMDK.
        path: PathBuf,
        /// Why the VMDK cannot be read.
        source: crate::image::Error,
    },
    /// The file of a result exists already.
    #[error("{} exists already", path.display())]
    ResultExists {
        /// Path of the existing file.
        path: PathBuf,
    },
    /// A converted disk is missing.
    #[error("converted {disk} not found: {} does not exist", path.display())]
    NoResult {
        /// Id of the missing disk.
        disk: DiskId,
        /// Path at which the converted disk was expected.
        path: PathBuf,
    },
    /// The output directory has too little space for the disks.
    #[error("{} has {free} free, {needed} are needed", dir.display())]
    NoSpace {
        /// The output directory.
        dir: PathBuf,
        /// Lower bound of the space that the conversion needs.
        needed: ByteSize,
        /// Free space in the file system of the output directory.
        free: ByteSize,
    },
    /// A file operation of hyperexport failed.
    #[error("{doing}")]
    Io {
        /// What was being done, as a gerund: `reading disk-0.qcow2`.
        doing: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A program could not be run to its end.
    #[error("{doing}")]
    Child {
        /// What was being done, as a gerund: `reading disk-0.qcow2`.
        doing: String,
        /// Why the program failed to start or to finish.
        source: child::Error,
    },
    /// qemu-img failed.
    #[error("{doing}: {message}")]
    QemuImg {
        /// What was being done, as a gerund: `reading disk-0.qcow2`.
        doing: String,
        /// Last line that qemu-img printed.
        message: String,
    },
    /// The seed for cloud-init cannot be made.
    #[error("making a cloud-init seed from {}: {why}", path.display())]
    Seed {
        /// File or folder that the user gave for the seed.
        path: PathBuf,
        /// Why cloud-init would not accept the file or folder.
        why: String,
    },
    /// No program that writes a seed image is installed.
    #[error("making a cloud-init seed from {}: none of {} is installed", path.display(), programs.join(", "))]
    NoSeedProgram {
        /// File or folder that the user gave for the seed.
        path: PathBuf,
        /// Names of the programs that were searched for.
        programs: &'static [&'static str],
    },
    /// libguestfs failed, or a program that uses libguestfs.
    #[error("{doing}: {message}")]
    Guestfs {
        /// What was being done, as a gerund: `reading disk-0.qcow2`.
        doing: String,
        /// Last line that the program printed.
        message: String,
    },
    /// The appliance of libguestfs did not start.
    #[error("starting the appliance of libguestfs: {message}")]
    Appliance {
        /// Last line that libguestfs printed.
        message: String,
    },
    /// The guest rejected a change: its file system is full or read-only, or the file is immutable.
    #[error("{doing}: {why}")]
    Refused {
        /// What was being done, as a gerund: `reading disk-0.qcow2`.
        doing: String,
        /// Reason given by libguestfs.
        why: String,
    },
    /// No operating system could be found and read.
    #[error("{}", no_system(encrypted))]
    NoSystem {
        /// Encrypted devices that were not opened.
        encrypted: Vec<String>,
    },
    /// There are several operating systems, and nothing shows which of them the VM boots.
    #[error("{}", several(systems, wanted.as_deref()))]
    Systems {
        /// Root device and name of each system.
        systems: Vec<(String, String)>,
        /// Root that the user named.
        wanted: Option<String>,
    },
    /// The content of a converted disk differs from what was exported.
    #[error(
        "converted {disk} differs from the exported disk: content hash {converted} instead of {exported}"
    )]
    ContentDiffers {
        /// Id of the disk that differs.
        disk: DiskId,
        /// Hash of the exported content.
        exported: Sha256Digest,
        /// Hash of the converted image's content, before FIX.
        converted: Sha256Digest,
    },
    /// The guest would not boot from virtio.
    #[error("guest is not ready for virtio: {why}")]
    NotFixed {
        /// What the guest lacks, as a clause.
        why: String,
    },
    /// The guest runs Windows, and virt-v2v-in-place is missing, the only program that installs
    /// drivers in Windows.
    #[error(
        "guest is not ready for virtio: Windows needs virt-v2v-in-place, which is not installed"
    )]
    NoV2v,
    /// The source of virtio drivers for Windows is not usable.
    #[error("reading the virtio drivers in {}: {why}", path.display())]
    VirtioWin {
        /// Path of the ISO or folder.
        path: PathBuf,
        /// Why the ISO or folder is not usable.
        why: String,
    },
    /// No virtio drivers were found for this Windows.
    #[error("no virtio drivers found for {guest}{}", in_place(place.as_deref()))]
    NoDrivers {
        /// Name of the guest's operating system, as the guest reports it.
        guest: String,
        /// ISO or folder with drivers for other releases of Windows, if there is any.
        place: Option<PathBuf>,
    },
    /// hyper2kvm reports a failure.
    #[error("running hyper2kvm: {stage}{message}")]
    Hyper2kvm {
        /// Name of the failed stage with a colon and a space; empty if hyper2kvm names none.
        stage: String,
        /// Error message of hyper2kvm.
        message: String,
        /// Path of the complete log.
        log: PathBuf,
    },
    /// hyper2kvm reports success although it failed.
    #[error("hyper2kvm ended without error, but {problem}")]
    NotDone {
        /// What contradicts the reported success.
        problem: String,
        /// Path of hyper2kvm's log.
        log: PathBuf,
    },
    /// The run was cancelled.
    #[error("interrupted")]
    Cancelled,
    /// The conversion took longer than its time limit.
    #[error("conversion did not finish within {}", humantime::format_duration(*after))]
    TimedOut {
        /// The time limit.
        after: Duration,
    },
}

impl Error {
    /// Whether hyper2kvm failed on this guest, so that another converter may succeed.
    pub(super) fn is_of_hyper2kvm(&self) -> bool {
        matches!(self, Self::Hyper2kvm { .. } | Self::NotDone { .. })
    }

    /// Converts the failure of a file operation into an error.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

fn in_place(place: Option<&Path>) -> String {
    place.map(|place| format!(" in {}", place.display())).unwrap_or_default()
}

fn no_system(encrypted: &[String]) -> String {
    match encrypted {
        [] => "no operating system found on the disks".to_owned(),
        [device] => format!("{device} is encrypted: no operating system found on the rest"),
        all => format!("{} are encrypted: no operating system found on the rest", all.join(", ")),
    }
}

fn several(systems: &[(String, String)], wanted: Option<&str>) -> String {
    let named = systems.iter().map(|(device, name)| format!("{device} ({name})"));
    let list = named.collect::<Vec<_>>().join(", ");
    match wanted {
        Some(device) => format!("no operating system has its root on {device}; found: {list}"),
        None => format!("several operating systems found: {list}"),
    }
}
