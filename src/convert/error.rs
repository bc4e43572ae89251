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
    /// There is no hyper2kvm to run.
    #[error("hyper2kvm not found in {} places", searched.len())]
    NotFound {
        /// Every path looked at.
        searched: Vec<PathBuf>,
        /// Programs that are there and are not run, with the reasons.
        passed_over: Vec<Warning>,
    },
    /// The path given by the user names no program.
    #[error("hyper2kvm not found: {} is not an executable file", path.display())]
    NoSuchProgram {
        /// The path given.
        path: PathBuf,
    },
    /// Others could have put something else in its place.
    #[error("{} is not trusted: {why}", path.display())]
    Unsafe {
        /// The path given.
        path: PathBuf,
        /// Who could write what.
        why: String,
    },
    /// hyper2kvm is there but cannot be imported.
    #[error("importing hyper2kvm from {}: {what}", path.display())]
    NotImportable {
        /// The program.
        path: PathBuf,
        /// Python's words.
        what: String,
    },
    /// FIX needs libguestfs' Python binding.
    #[error("{} cannot import the Python module guestfs", path.display())]
    NoGuestfs {
        /// The program.
        path: PathBuf,
    },
    /// The manifest, or a file that it names, is not usable.
    #[error("checking the manifest")]
    Manifest(#[from] manifest::Error),
    /// An image is not what its manifest says, or points at other files.
    #[error("{disk} is not trusted: {why}")]
    Untrusted {
        /// The disk.
        disk: DiskId,
        /// What is wrong with it.
        why: String,
    },
    /// A VMDK does not hold what it should.
    #[error("reading {}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: crate::image::Error,
    },
    /// A result's file exists.
    #[error("{} exists already", path.display())]
    ResultExists {
        /// The file.
        path: PathBuf,
    },
    /// There is no converted disk.
    #[error("converted {disk} not found: {} does not exist", path.display())]
    NoResult {
        /// Which disk.
        disk: DiskId,
        /// Where it would be.
        path: PathBuf,
    },
    /// The disks cannot fit.
    #[error("{} has {free} free, {needed} are needed", dir.display())]
    NoSpace {
        /// The output directory.
        dir: PathBuf,
        /// The least that is needed.
        needed: ByteSize,
        /// What there is.
        free: ByteSize,
    },
    /// A file operation of ours.
    #[error("{doing}")]
    Io {
        /// What was being done, as a gerund: `reading disk-0.qcow2`.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program could not be run to its end.
    #[error("{doing}")]
    Child {
        /// What was being done, as a gerund: `reading disk-0.qcow2`.
        doing: String,
        /// Why not.
        source: child::Error,
    },
    /// qemu-img refused.
    #[error("{doing}: {message}")]
    QemuImg {
        /// What was being done, as a gerund: `reading disk-0.qcow2`.
        doing: String,
        /// Its last words.
        message: String,
    },
    /// No seed of cloud-init can be made.
    #[error("making a cloud-init seed from {}: {why}", path.display())]
    Seed {
        /// What it was to be made of.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No program that writes a seed is installed.
    #[error("making a cloud-init seed from {}: none of {} is installed", path.display(), programs.join(", "))]
    NoSeedProgram {
        /// What it was to be made of.
        path: PathBuf,
        /// Programs that were tried.
        programs: &'static [&'static str],
    },
    /// libguestfs, or what works through it, refused.
    #[error("{doing}: {message}")]
    Guestfs {
        /// What was being done, as a gerund: `reading disk-0.qcow2`.
        doing: String,
        /// Its last words.
        message: String,
    },
    /// The appliance of libguestfs did not start.
    #[error("starting the appliance of libguestfs: {message}")]
    Appliance {
        /// Its last words.
        message: String,
    },
    /// The guest did not accept a change: its file system is full or read-only, or the file is
    /// immutable.
    #[error("{doing}: {why}")]
    Refused {
        /// What was being done, as a gerund: `reading disk-0.qcow2`.
        doing: String,
        /// What libguestfs said.
        why: String,
    },
    /// There is no operating system that could be read.
    #[error("{}", no_system(encrypted))]
    NoSystem {
        /// The encrypted devices that nobody has opened.
        encrypted: Vec<String>,
    },
    /// There are several operating systems, and nothing tells which one the VM boots.
    #[error("{}", several(systems, wanted.as_deref()))]
    Systems {
        /// Device of the root and name of each.
        systems: Vec<(String, String)>,
        /// The root that the user named.
        wanted: Option<String>,
    },
    /// A converted disk does not hold what was exported.
    #[error(
        "converted {disk} differs from the exported disk: content hash {converted} instead of {exported}"
    )]
    ContentDiffers {
        /// Which disk.
        disk: DiskId,
        /// Hash of the content as it was exported.
        exported: Sha256Digest,
        /// Hash of the content of the converted image, before FIX.
        converted: Sha256Digest,
    },
    /// The guest would not start on virtio.
    #[error("guest is not ready for virtio: {why}")]
    NotFixed {
        /// What it lacks.
        why: String,
    },
    /// A Windows, without the only program that installs drivers in one.
    #[error(
        "guest is not ready for virtio: Windows needs virt-v2v-in-place, which is not installed"
    )]
    NoV2v,
    /// What is to hold the drivers of virtio for Windows does not.
    #[error("reading the virtio drivers in {}: {why}", path.display())]
    VirtioWin {
        /// The ISO or folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A Windows that no drivers of virtio were found for.
    #[error("no virtio drivers found for {guest}{}", in_place(place.as_deref()))]
    NoDrivers {
        /// The guest's name of itself.
        guest: String,
        /// Where drivers for other releases are, if there are any.
        place: Option<PathBuf>,
    },
    /// hyper2kvm says that it did not succeed.
    #[error("running hyper2kvm: {stage}{message}")]
    Hyper2kvm {
        /// The stage with a colon and a space, or nothing.
        stage: String,
        /// Its last words.
        message: String,
        /// Where all of them are.
        log: PathBuf,
    },
    /// hyper2kvm says that it succeeded, and did not.
    #[error("hyper2kvm ended without error, but {problem}")]
    NotDone {
        /// What is wrong.
        problem: String,
        /// Where its output is.
        log: PathBuf,
    },
    /// The run was cancelled.
    #[error("interrupted")]
    Cancelled,
    /// The time for the whole conversion is up.
    #[error("conversion did not finish within {}", humantime::format_duration(*after))]
    TimedOut {
        /// The limit.
        after: Duration,
    },
}

impl Error {
    /// Whether hyper2kvm failed at this guest, so that another converter may do better.
    pub(super) fn is_of_hyper2kvm(&self) -> bool {
        matches!(self, Self::Hyper2kvm { .. } | Self::NotDone { .. })
    }

    /// Turns a file operation's failure into an error.
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
