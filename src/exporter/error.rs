//! Errors of the exporter.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ExportBlocker;
use super::certificate::CertificateFault;
use super::transfer::Broken;
use crate::image::{Flaw, Kind};
use crate::model::{DiskFormat, DiskId};
use crate::panics::Panicked;

/// A fault that the server returned. Code distinguishes faults by [`Fault::kind`]; the text is in
/// the server's language and only for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("server reported '{text}' ({kind})")]
pub struct Fault {
    /// Type name in vim25: `InvalidLogin`.
    pub kind: String,
    /// Message of the server, in the server's language.
    pub text: String,
}

/// Errors of reading a source: a server, a datastore or files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address contains a password, which would be visible in the process list.
    #[error("server address contains a password")]
    PasswordInAddress,
    /// The server's address cannot be used.
    #[error("server address {fault}")]
    Address {
        /// What is wrong with the address, as a verb phrase.
        fault: &'static str,
    },
    /// Text that is not a SHA-1 or SHA-256 thumbprint.
    #[error("'{text}' is not a SHA-1 or SHA-256 thumbprint")]
    Thumbprint {
        /// Text that the user passed.
        text: String,
    },
    /// A file of certificates cannot be read.
    #[error("reading certificates from {}", path.display())]
    CaFile {
        /// Path of the PEM file.
        path: PathBuf,
        /// Error of the operating system or the PEM parser.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No trusted certificate was found.
    #[error("no trusted certificate found {place}")]
    NoRoots {
        /// Place that was searched: `in FILE`, `on this system`.
        place: String,
    },
    /// Setting up the TLS client failed.
    #[error("setting up TLS")]
    Tls(#[source] rustls::Error),
    /// Setting up the HTTP client failed.
    #[error("setting up the HTTP client")]
    HttpClient(#[source] reqwest::Error),
    /// The server's certificate does not match the pinned thumbprint.
    #[error("certificate of {host} has thumbprint {seen}, expected {expected}")]
    WrongThumbprint {
        /// Host and port of the server.
        host: String,
        /// Pinned thumbprint.
        expected: String,
        /// Thumbprint of the server's certificate, by the algorithm of the pin.
        seen: String,
    },
    /// The server's certificate is not trusted.
    #[error("certificate of {host} is not trusted")]
    Untrusted {
        /// Host and port of the server.
        host: String,
        /// SHA-256 thumbprint of the server's certificate.
        seen: String,
        /// Reason why the certificate is not trusted.
        source: CertificateFault,
    },
    /// The server is unreachable, or closed the connection.
    #[error("calling {method} on {host}")]
    Call {
        /// SOAP method that was called.
        method: &'static str,
        /// Host and port of the server.
        host: String,
        /// Error of the HTTP client.
        source: reqwest::Error,
    },
    /// The server returned an HTTP status without a SOAP body.
    #[error("calling {method} on {host}: server answered HTTP {status}")]
    Status {
        /// SOAP method that was called.
        method: &'static str,
        /// Host and port of the server.
        host: String,
        /// HTTP status code.
        status: u16,
    },
    /// A reply that is not SOAP, or lacks a required element.
    #[error("invalid answer to {method}: {reason}")]
    Reply {
        /// SOAP method that was called.
        method: &'static str,
        /// What is wrong with the reply.
        reason: String,
    },
    /// The server rejected a call.
    #[error("calling {method}")]
    Refused {
        /// SOAP method that was called.
        method: &'static str,
        /// Fault that the server returned.
        source: Fault,
    },
    /// The server rejected the login.
    #[error("logging in as {username}")]
    Login {
        /// User name of the login.
        username: String,
        /// Fault that the server returned.
        source: Fault,
    },
    /// The session ended on the server.
    #[error("calling {method}: the session has ended")]
    SessionEnded {
        /// SOAP method that was called.
        method: &'static str,
    },
    /// No VM has this name, path or moref.
    #[error("no VM '{selector}' found")]
    NotFound {
        /// Selector that the user passed.
        selector: String,
        /// Inventory paths of VMs with similar names.
        near: Vec<String>,
    },
    /// Several VMs have this name.
    #[error("'{selector}' matches {} VMs: {}", paths.len(), paths.join(", "))]
    Ambiguous {
        /// Selector that the user passed.
        selector: String,
        /// Inventory path and moref of each VM.
        paths: Vec<String>,
    },
    /// The VM cannot be exported in its current state.
    #[error("{vm} cannot be exported: {obstacle}")]
    Obstacle {
        /// Name of the VM.
        vm: String,
        /// Reason, with its remedy.
        obstacle: ExportBlocker,
    },
    /// A task on the server failed.
    #[error("{action}")]
    Task {
        /// The action, as a gerund: `powering off web01`.
        action: String,
        /// Fault of the task.
        source: Fault,
    },
    /// A `--source-after` step cannot be done on this VM.
    #[error("--source-after {step}: {reason}")]
    CannotFollow {
        /// Step that the user passed: `rename:-old`.
        step: String,
        /// Reason, as a clause.
        reason: String,
    },
    /// The login lacks privileges that the flags need.
    #[error("{username} lacks the privilege{} {}", if lacking.len() == 1 { "" } else { "s" }, lacking.join(", "))]
    LacksPrivileges {
        /// User name of the login.
        username: String,
        /// Each missing privilege with its object: `VApp.Export on web01`.
        lacking: Vec<String>,
        /// Values for `hyperexport role --for`.
        uses: String,
    },
    /// An action did not finish in time.
    #[error("{action}: not finished within {}", humantime::format_duration(*after))]
    TimedOut {
        /// The action, as a gerund.
        action: String,
        /// Time limit that was exceeded.
        after: Duration,
    },
    /// VMware Tools are not running, so the guest cannot be shut down from outside.
    #[error("VMware Tools are not running in {vm}: its guest cannot be shut down from outside")]
    NoTools {
        /// Name of the VM.
        vm: String,
    },
    /// VMware Tools are not running, so the guest cannot be quiesced.
    #[error("VMware Tools are not running in {vm}: its guest cannot be quiesced for the snapshot")]
    CannotRest {
        /// Name of the VM.
        vm: String,
    },
    /// The guest was asked to shut down, and the VM is still on.
    #[error("{vm} did not shut down within {}", humantime::format_duration(*after))]
    StillOn {
        /// Name of the VM.
        vm: String,
        /// Time for which the shutdown was awaited.
        after: Duration,
    },
    /// The export lease was not granted, or was revoked.
    #[error("export lease was lost")]
    Lease(#[source] Fault),
    /// The export lease was given up because no bytes arrived any more.
    #[error("export lease stalled: nothing arrived for {}", humantime::format_duration(*after))]
    Stalled {
        /// Time without any received byte.
        after: Duration,
    },
    /// The lease offers no URL for a disk of the VM.
    #[error("exporting {disk} ({device}): the server offers no download of this disk")]
    NoUrl {
        /// Id of the disk in the export.
        disk: DiskId,
        /// Controller and unit of the disk.
        device: String,
    },
    /// A disk that cannot be read from its datastore.
    #[error("reading {disk} from its datastore: {reason}")]
    NotFlat {
        /// Id of the disk.
        disk: DiskId,
        /// Reason, as a clause.
        reason: String,
    },
    /// The VM was started or changed during its export.
    #[error("{vm} was started or changed while its disks were read")]
    Changed {
        /// Name of the VM.
        vm: String,
    },
    /// The lease's URL of a disk is invalid.
    #[error("download address of {disk} {fault}")]
    DeviceUrl {
        /// Id of the disk.
        disk: DiskId,
        /// What is wrong with the URL, as a verb phrase.
        fault: &'static str,
    },
    /// A path that does not contain a VM, or contains a VM that cannot be exported.
    #[error("{} is not usable: {reason}", path.display())]
    Unusable {
        /// Path of the file or directory.
        path: PathBuf,
        /// Reason, as a clause.
        reason: Flaw,
    },
    /// A file that is only a part of a disk.
    #[error("{} is a part of {}", path.display(), of_descriptor(descriptor.as_deref()))]
    PartOfDisk {
        /// Path of the part.
        path: PathBuf,
        /// Path of the disk's descriptor, if the descriptor is in the same directory.
        descriptor: Option<PathBuf>,
    },
    /// An image whose content does not match its name.
    #[error("{} is named as {told}, but its content is {}", path.display(), look(*found))]
    OtherFormat {
        /// Path of the image.
        path: PathBuf,
        /// Format according to the name.
        told: DiskFormat,
        /// Kind detected from the content.
        found: Kind,
    },
    /// A packed disk whose image exceeds the size of the disk.
    #[error("{} is longer than a disk of {capacity} bytes can be, the size by {by}", path.display())]
    TooLong {
        /// Path of the disk in its package.
        path: PathBuf,
        /// Size of the disk, in bytes.
        capacity: u64,
        /// Source of the size: `its package`, `its own header`.
        by: &'static str,
    },
    /// An archive that contains a VM, but no OVF.
    #[error("{} contains '{name}' and no OVF", path.display())]
    Packed {
        /// Path of the archive.
        path: PathBuf,
        /// Name of the member that describes the VM.
        name: String,
    },
    /// A disk has to be converted while it is read, and cannot be.
    #[error("converting {} during the export: {reason}", path.display())]
    NotStreamable {
        /// Path of the disk's file.
        path: PathBuf,
        /// Reason, as a clause.
        reason: String,
    },
    /// A package contains several VMs, and the user named none or an unknown one.
    #[error("{} contains several VMs: {}", path.display(), names.join(", "))]
    WhichVm {
        /// Path of the package.
        path: PathBuf,
        /// Names of the VMs in the package.
        names: Vec<String>,
    },
    /// `--nic` was passed for a VM that has network cards.
    #[error("--nic conflicts with the {count} network cards that {vm} has")]
    HasNics {
        /// Name of the VM.
        vm: String,
        /// Number of network cards of the VM.
        count: usize,
    },
    /// A file whose name has no known extension.
    #[error("format of {} is unknown: the file is not an OVA, and its name has no known extension", path.display())]
    UnknownFormat {
        /// Path of the file.
        path: PathBuf,
    },
    /// A file of a package does not match its checksum in the package.
    #[error(
        "{algorithm} checksum of '{file}' in {} is {found}, the package says {expected}",
        path.display()
    )]
    WrongSum {
        /// Path of the package.
        path: PathBuf,
        /// Name of the file in the package.
        file: String,
        /// Name of the hash algorithm.
        algorithm: &'static str,
        /// Checksum in the package, in hexadecimal.
        expected: String,
        /// Checksum of the file as read, in hexadecimal.
        found: String,
    },
    /// The checksums of a package cannot be verified.
    #[error("checking the checksums of {}: {reason}", path.display())]
    Sums {
        /// Path of the package.
        path: PathBuf,
        /// Reason, as a clause.
        reason: String,
    },
    /// Tags were requested, and the server does not support them.
    #[error("{host} has no tags: it offers no REST API")]
    NoTags {
        /// Host and port of the server.
        host: String,
    },
    /// A file of this name exists already.
    #[error("{} exists already", path.display())]
    Exists {
        /// Path of the existing file.
        path: PathBuf,
    },
    /// Another run is writing the same file.
    #[error("{} is being written by another run", path.display())]
    Busy {
        /// Path of the file.
        path: PathBuf,
    },
    /// An I/O error on a file.
    #[error("{action} {}", path.display())]
    File {
        /// The action, as a gerund: `creating`.
        action: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A disk is truncated or differs from the server's disk.
    #[error("downloading {disk}")]
    Download {
        /// Id of the disk.
        disk: DiskId,
        /// Reason why the download failed.
        source: Broken,
    },
    /// A bug: a thread panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The run was cancelled.
    #[error("interrupted")]
    Cancelled,
}

impl Error {
    /// Whether the same call may succeed if it is repeated. A call that timed out is not repeated.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Call { source, .. } => !source.is_timeout(),
            Self::Status { status, .. } => matches!(status, 502 | 503),
            _ => false,
        }
    }

    /// Whether a session or a lease was lost that can be replaced by a new one. The loss affects
    /// the disks in progress, not the finished ones.
    pub(super) fn is_loss(&self) -> bool {
        match self {
            Self::SessionEnded { .. } => true,
            Self::Lease(fault) => {
                ["Timedout", "ManagedObjectNotFound", "HostCommunication", "HostNotConnected"]
                    .iter()
                    .any(|kind| fault.is(kind))
            }
            error => error.is_transient(),
        }
    }
}

fn of_descriptor(descriptor: Option<&Path>) -> String {
    descriptor.map_or_else(
        || "a disk whose descriptor is not beside it".to_owned(),
        |path| format!("the disk that {} describes", path.display()),
    )
}

/// Name of a file's detected kind, for messages.
fn look(kind: Kind) -> String {
    match kind {
        Kind::Disk(format) => format.to_string(),
        Kind::Iso => "an ISO image".to_owned(),
        Kind::Other(name) => name.to_owned(),
    }
}

impl Fault {
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }
}
