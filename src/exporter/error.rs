//! Why something could not be had from the source, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ExportBlocker;
use super::certificate::CertificateFault;
use super::transfer::Broken;
use crate::image::{Flaw, Kind};
use crate::model::{DiskFormat, DiskId};
use crate::panics::Panicked;

/// A fault that the server answered with. It is told apart by [`Fault::kind`]; the text is in the
/// server's language and only for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("server reported '{text}' ({kind})")]
pub struct Fault {
    /// Type name in vim25: `InvalidLogin`.
    pub kind: String,
    /// The server's own words.
    pub text: String,
}

/// What can go wrong between here and the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A password in an address would stand in the process list for all to read.
    #[error("server address contains a password")]
    PasswordInAddress,
    /// The server's address cannot be used.
    #[error("server address {fault}")]
    Address {
        /// What is wrong with it, as a verb phrase.
        fault: &'static str,
    },
    /// A thumbprint does not have the shape of one.
    #[error("'{text}' is not a SHA-1 or SHA-256 thumbprint")]
    Thumbprint {
        /// What was given.
        text: String,
    },
    /// A file of certificates cannot be read.
    #[error("reading certificates from {}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What the system or the parser said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no certificate to trust.
    #[error("no trusted certificate found {place}")]
    NoRoots {
        /// Where there is none: `in FILE`, `on this system`.
        place: String,
    },
    /// The TLS client could not be set up.
    #[error("setting up TLS")]
    Tls(#[source] rustls::Error),
    /// The HTTP client could not be set up.
    #[error("setting up the HTTP client")]
    HttpClient(#[source] reqwest::Error),
    /// The server's certificate is not the pinned one.
    #[error("certificate of {host} has thumbprint {seen}, expected {expected}")]
    WrongThumbprint {
        /// Host and port.
        host: String,
        /// The pin.
        expected: String,
        /// The thumbprint of the certificate shown, by the same algorithm.
        seen: String,
    },
    /// The server's certificate is not trusted.
    #[error("certificate of {host} is not trusted")]
    Untrusted {
        /// Host and port.
        host: String,
        /// SHA-256 thumbprint of the certificate shown.
        seen: String,
        /// What is wrong with it.
        source: CertificateFault,
    },
    /// The server could not be reached, or broke the connection.
    #[error("calling {method} on {host}")]
    Call {
        /// The SOAP method.
        method: &'static str,
        /// Host and port.
        host: String,
        /// What the HTTP client said.
        source: reqwest::Error,
    },
    /// The server answered with an HTTP status and without SOAP.
    #[error("calling {method} on {host}: server answered HTTP {status}")]
    Status {
        /// The SOAP method.
        method: &'static str,
        /// Host and port.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// An answer that is no SOAP, or lacks what it must have.
    #[error("invalid answer to {method}: {reason}")]
    Reply {
        /// The SOAP method.
        method: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The server refused a call.
    #[error("calling {method}")]
    Refused {
        /// The SOAP method.
        method: &'static str,
        /// The server's fault.
        source: Fault,
    },
    /// Login refused.
    #[error("logging in as {username}")]
    Login {
        /// Who.
        username: String,
        /// The server's fault.
        source: Fault,
    },
    /// The session ended on the server's side.
    #[error("calling {method}: the session has ended")]
    SessionEnded {
        /// The SOAP method.
        method: &'static str,
    },
    /// No VM by that name, path or moref.
    #[error("no VM '{selector}' found")]
    NotFound {
        /// What was asked for.
        selector: String,
        /// Inventory paths of VMs with similar names.
        near: Vec<String>,
    },
    /// Several VMs by that name.
    #[error("'{selector}' matches {} VMs: {}", paths.len(), paths.join(", "))]
    Ambiguous {
        /// What was asked for.
        selector: String,
        /// Inventory path and moref of each.
        paths: Vec<String>,
    },
    /// The VM cannot be exported as it is.
    #[error("{vm} cannot be exported: {obstacle}")]
    Obstacle {
        /// Name of the VM.
        vm: String,
        /// Why.
        obstacle: ExportBlocker,
    },
    /// A task of the server failed.
    #[error("{action}")]
    Task {
        /// What was being done, as a gerund: `powering off web01`.
        action: String,
        /// The server's fault.
        source: Fault,
    },
    /// What is to follow the migration cannot be done to the VM.
    #[error("--source-after {step}: {reason}")]
    CannotFollow {
        /// What was asked for: `rename:-old`.
        step: String,
        /// Why, as a clause.
        reason: String,
    },
    /// The login may not do what the flags ask for.
    #[error("{username} lacks the privilege{} {}", if lacking.len() == 1 { "" } else { "s" }, lacking.join(", "))]
    LacksPrivileges {
        /// Who.
        username: String,
        /// Which, and on what, one each: `VApp.Export on web01`.
        lacking: Vec<String>,
        /// Kinds of use for `hyperexport role --for`.
        uses: String,
    },
    /// Something did not happen in time.
    #[error("{action}: not finished within {}", humantime::format_duration(*after))]
    TimedOut {
        /// What was being done, as a gerund.
        action: String,
        /// The limit.
        after: Duration,
    },
    /// Nothing in the guest can be told to shut it down.
    #[error("VMware Tools are not running in {vm}: its guest cannot be shut down from outside")]
    NoTools {
        /// Name of the VM.
        vm: String,
    },
    /// Nothing in the guest can be told to bring it to rest.
    #[error("VMware Tools are not running in {vm}: its guest cannot be quiesced for the snapshot")]
    CannotRest {
        /// Name of the VM.
        vm: String,
    },
    /// The guest was told to shut down, and its VM is still on.
    #[error("{vm} did not shut down within {}", humantime::format_duration(*after))]
    StillOn {
        /// Name of the VM.
        vm: String,
        /// How long that was waited for.
        after: Duration,
    },
    /// The export lease was not granted, or was revoked.
    #[error("export lease was lost")]
    Lease(#[source] Fault),
    /// The lease's keeper stopped because nothing moved any more.
    #[error("export lease stalled: nothing arrived for {}", humantime::format_duration(*after))]
    Stalled {
        /// How long.
        after: Duration,
    },
    /// The lease offers no address for a disk of the VM.
    #[error("exporting {disk} ({device}): the server offers no download of this disk")]
    NoUrl {
        /// Our id of it.
        disk: DiskId,
        /// Controller and unit.
        device: String,
    },
    /// A disk that cannot be read from its datastore.
    #[error("reading {disk} from its datastore: {reason}")]
    NotFlat {
        /// The disk.
        disk: DiskId,
        /// Why, as a clause.
        reason: String,
    },
    /// The VM is not what it was when its export began.
    #[error("{vm} was started or changed while its disks were read")]
    Changed {
        /// Name of the VM.
        vm: String,
    },
    /// A download address that is not one.
    #[error("download address of {disk} {fault}")]
    DeviceUrl {
        /// The disk.
        disk: DiskId,
        /// What is wrong with it, as a verb phrase.
        fault: &'static str,
    },
    /// What lies there is no VM, or not one that can be taken.
    #[error("{} is not usable: {reason}", path.display())]
    Unusable {
        /// What lies there.
        path: PathBuf,
        /// What is wrong with it.
        reason: Flaw,
    },
    /// A file that is only a part of a disk.
    #[error("{} is a part of {}", path.display(), of_descriptor(descriptor.as_deref()))]
    PartOfDisk {
        /// The file.
        path: PathBuf,
        /// What describes the whole disk, if it lies beside the part.
        descriptor: Option<PathBuf>,
    },
    /// An image that is another thing than its name says.
    #[error("{} is named as {told}, but its content is {}", path.display(), look(*found))]
    OtherFormat {
        /// The image.
        path: PathBuf,
        /// The format that the name tells.
        told: DiskFormat,
        /// What the content looks like.
        found: Kind,
    },
    /// A packed disk that becomes longer than its disk can be.
    #[error("{} is longer than a disk of {capacity} bytes can be, the size by {by}", path.display())]
    TooLong {
        /// The disk in its package.
        path: PathBuf,
        /// Size of the disk, in bytes.
        capacity: u64,
        /// Who says so: `its package`, `its own header`.
        by: &'static str,
    },
    /// An archive without an OVF, which holds a VM of another kind.
    #[error("{} contains '{name}' and no OVF", path.display())]
    Packed {
        /// The archive.
        path: PathBuf,
        /// What it holds.
        name: String,
    },
    /// A disk is to be converted while it is read, and cannot be.
    #[error("converting {} during the export: {reason}", path.display())]
    NotStreamable {
        /// The disk's file.
        path: PathBuf,
        /// Why, as a clause.
        reason: String,
    },
    /// A package of several VMs, and none was named, or none of them.
    #[error("{} contains several VMs: {}", path.display(), names.join(", "))]
    WhichVm {
        /// The package.
        path: PathBuf,
        /// Its VMs.
        names: Vec<String>,
    },
    /// Cards of the user's for a VM that has cards.
    #[error("--nic conflicts with the {count} network cards that {vm} has")]
    HasNics {
        /// The VM's name.
        vm: String,
        /// How many it has.
        count: usize,
    },
    /// A file whose name does not tell what it is.
    #[error("format of {} is unknown: the file is not an OVA, and its name has no known extension", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A file of a package is not what the package says.
    #[error(
        "{algorithm} checksum of '{file}' in {} is {found}, the package says {expected}",
        path.display()
    )]
    WrongSum {
        /// The package.
        path: PathBuf,
        /// Its file.
        file: String,
        /// How the sum is made.
        algorithm: &'static str,
        /// What the package says.
        expected: String,
        /// What was read.
        found: String,
    },
    /// The sums of a package cannot be compared with.
    #[error("checking the checksums of {}: {reason}", path.display())]
    Sums {
        /// The package.
        path: PathBuf,
        /// What is wrong with them, as a clause.
        reason: String,
    },
    /// Tags were asked for, and the server has none.
    #[error("{host} has no tags: it offers no REST API")]
    NoTags {
        /// Host and port.
        host: String,
    },
    /// A file of that name lies there already.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another run writes the same file.
    #[error("{} is being written by another run", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Something with a file.
    #[error("{action} {}", path.display())]
    File {
        /// What was being done, as a gerund: `creating`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A disk did not arrive whole.
    #[error("downloading {disk}")]
    Download {
        /// The disk.
        disk: DiskId,
        /// What happened to it.
        source: Broken,
    },
    /// A mistake in this program.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The run was cancelled.
    #[error("interrupted")]
    Cancelled,
}

impl Error {
    /// Whether the same call may well succeed a moment later. One that took too long has tried
    /// patience enough.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Call { source, .. } => !source.is_timeout(),
            Self::Status { status, .. } => matches!(status, 502 | 503),
            _ => false,
        }
    }

    /// Whether a session or a lease was lost that may be had again. A disk under way is lost with
    /// it, those that are whole are not.
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

/// What a file looks like, in words.
fn look(kind: Kind) -> String {
    match kind {
        Kind::Disk(format) => format.to_string(),
        Kind::Iso => "an ISO image".to_owned(),
        Kind::Other(name) => name.to_owned(),
    }
}

impl Fault {
    /// Whether it is of the type `kind`.
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }
}
