//! Errors of libvirt imports and exports.

use std::io;
use std::path::PathBuf;

use crate::domain;
use crate::model::ByteSize;
use crate::panics::Panicked;

use super::{InTheWay, Refusal, XmlError};

/// Error that libvirt reported.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message())]
pub struct Cause(pub(super) virt::error::Error);

impl From<virt::error::Error> for Cause {
    fn from(error: virt::error::Error) -> Self {
        Self(error)
    }
}

/// Why an operation with libvirt failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URI does not name a daemon that runs QEMU guests.
    #[error("'{uri}' is not a libvirt URI for QEMU: {problem}")]
    Uri {
        /// URI as the user gave it.
        uri: String,
        /// What is wrong with the URI.
        problem: &'static str,
    },
    /// A URI that is accepted only on the command line: it may start a program on this machine.
    #[error("'{uri}' comes from a file and has a parameter that may name a program to run")]
    UriOfFile {
        /// URI in the file.
        uri: String,
    },
    /// The run used another libvirt daemon than the command line names.
    #[error("the run used {there}, not {here}")]
    OtherUri {
        /// URI that the run used.
        there: String,
        /// URI on the command line.
        here: String,
    },
    /// The host or its libvirt daemon cannot be reached.
    #[error("connecting to {uri}")]
    Unreachable {
        /// Connection URI of the daemon.
        uri: String,
        /// Why the daemon is unreachable.
        why: Refusal,
        /// Error that libvirt reported.
        source: Cause,
    },
    /// The host, ssh or the daemon rejects the connection.
    #[error("connecting to {uri}")]
    Rejected {
        /// Connection URI of the daemon.
        uri: String,
        /// Why the connection was rejected.
        why: Refusal,
        /// Error that libvirt reported.
        source: Cause,
    },
    /// The daemon neither accepts nor rejects the connection within the time limit.
    #[error("connecting to {uri}: no answer within {} s", after.as_secs())]
    Silent {
        /// Connection URI of the daemon.
        uri: String,
        /// Time limit.
        after: std::time::Duration,
    },
    /// The daemon is running but denies access to this user.
    #[error("connecting to {uri}")]
    PermissionDenied {
        /// Connection URI of the daemon.
        uri: String,
        /// Why access is denied.
        why: Refusal,
        /// Error that libvirt reported.
        source: Cause,
    },
    /// The connection to the daemon was lost.
    #[error("the connection to {uri} was lost")]
    ConnectionLost {
        /// Connection URI of the daemon.
        uri: String,
        /// The call that failed because of the lost connection.
        source: Box<Error>,
    },
    /// A domain that cannot be exported as it is.
    #[error("domain '{name}' cannot be exported: {reason}")]
    NotTaken {
        /// Name of the domain.
        name: String,
        /// Why, as a clause.
        reason: String,
    },
    /// A domain with a disk that is no volume of an active storage pool.
    #[error(
        "domain '{name}' cannot be exported: its disk {disk} is in no active storage pool of the host"
    )]
    DiskInNoPool {
        /// Name of the domain.
        name: String,
        /// Target and path of the disk: `vda (/srv/web01.qcow2)`.
        disk: String,
    },
    /// A step after the migration cannot be applied to the source domain.
    #[error("--source-after {step}: {reason}")]
    CannotFollow {
        /// Step that the user asked for.
        step: String,
        /// Why, as a clause.
        reason: String,
    },
    /// A transient domain, which disappears when it is shut off.
    #[error("domain '{name}' is transient: libvirt removes the domain when it shuts down")]
    Transient {
        /// Name of the domain.
        name: String,
    },
    /// A guest was asked to shut down, and its domain still runs.
    #[error("domain '{name}' did not shut down within {} s", after.as_secs())]
    StillOn {
        /// Name of the domain.
        name: String,
        /// How long the run waited for the shutdown.
        after: std::time::Duration,
    },
    /// Any other libvirt call that failed.
    #[error("{act}")]
    Call {
        /// What was being done, as a gerund: `looking up pool 'x'`.
        act: String,
        /// Error that libvirt reported.
        source: Cause,
    },
    /// The thread that called libvirt panicked or was cancelled.
    #[error("waiting for a call of libvirt")]
    Task(#[source] tokio::task::JoinError),
    /// XML that cannot be written or parsed.
    #[error("processing the XML of {what}")]
    Xml {
        /// Object that the XML describes: `domain 'web01'`.
        what: String,
        /// Error of the XML parser or serializer.
        source: XmlError,
    },
    /// The plan violates a rule.
    #[error("planning the domain")]
    Plan(#[source] domain::Error),
    /// The import would differ from the reviewed plan.
    #[error("the plan no longer applies: {}", .differences.join("; "))]
    PlanChanged {
        /// Each difference, as a sentence.
        differences: Vec<String>,
    },
    /// A domain with the name already exists.
    #[error("domain '{name}' exists already")]
    DomainExists {
        /// Name of the domain.
        name: String,
    },
    /// Another domain now has the UUID that the new domain was to keep.
    #[error("UUID {uuid} is now that of domain '{owner}'")]
    UuidTaken {
        /// UUID of the source VM.
        uuid: String,
        /// Name of the other domain.
        owner: String,
    },
    /// The domain to replace has another name than the new domain.
    #[error("--replace {old} replaces nothing: the new domain is called '{name}'")]
    ReplacesOther {
        /// Name of the domain to replace.
        old: String,
        /// Name of the new domain.
        name: String,
    },
    /// The domain to replace does not exist.
    #[error("--replace {name}: domain '{name}' does not exist")]
    NothingToReplace {
        /// Name of the domain.
        name: String,
    },
    /// A domain that must not be replaced.
    #[error("replacing domain '{name}': {why}")]
    NotReplaced {
        /// Name of the domain.
        name: String,
        /// Why, as a clause.
        why: &'static str,
    },
    /// The storage pool does not exist, and no path to create it at was given.
    #[error("storage pool '{name}' does not exist")]
    NoPool {
        /// Name of the pool that the user asked for.
        name: String,
        /// Names of the pools of the host.
        existing: Vec<String>,
    },
    /// The storage pool exists, at another path than the user asked for.
    #[error("storage pool '{name}' exists already at {path}")]
    PoolElsewhere {
        /// Name of the storage pool.
        name: String,
        /// Actual path of the pool.
        path: PathBuf,
    },
    /// The storage pool is inactive, and its folder does not exist.
    #[error("folder {} of storage pool '{name}' does not exist", path.display())]
    PoolFolder {
        /// Name of the storage pool.
        name: String,
        /// Folder of the pool on the target host.
        path: PathBuf,
    },
    /// The storage pool is inactive, and libvirt cannot start it.
    #[error("starting storage pool '{name}'")]
    PoolNotStarted {
        /// Name of the storage pool.
        name: String,
        /// Type of the pool: `dir`, `logical`, …
        kind: String,
        /// Error that libvirt reported.
        source: Cause,
    },
    /// Another storage pool owns the path.
    #[error("{path} belongs to storage pool '{name}'")]
    PathTaken {
        /// Path that the user asked for.
        path: PathBuf,
        /// Name of the pool that owns the path.
        name: String,
    },
    /// A storage pool of a type that cannot store the disks.
    #[error("storage pool '{name}' of type {kind} is not supported for disks: {why}")]
    PoolKind {
        /// Name of the storage pool.
        name: String,
        /// Type of the pool: `dir`, `logical`, …
        kind: String,
        /// Why, as a clause.
        why: &'static str,
    },
    /// An image that could not be converted to a raw disk.
    #[error("making a raw disk of {}: {reason}", image.display())]
    NotRaw {
        /// Path of the image.
        image: PathBuf,
        /// Error that qemu-img reported.
        reason: String,
    },
    /// A snapshot needs a storage pool of files.
    #[error("storage pool '{pool}' holds block devices, which have no snapshots")]
    NoSnapshot {
        /// Name of the storage pool.
        pool: String,
    },
    /// A volume of that name already exists.
    #[error("volume '{name}' exists already in storage pool '{pool}'")]
    VolumeExists {
        /// Name of the volume.
        name: String,
        /// Name of its storage pool.
        pool: String,
        /// User of the volume, as a clause.
        user: Option<String>,
    },
    /// A volume differs from the image that it was created from.
    #[error("volume '{name}' differs from its image: {problem}")]
    VolumeDiffers {
        /// Name of the volume.
        name: String,
        /// The difference, as a clause.
        problem: String,
    },
    /// QEMU's user may not enter the folder of the storage pool.
    #[error(
        "user {uid}, which QEMU runs as, may not enter {folder} on the way to storage pool '{pool}'"
    )]
    PoolBlocked {
        /// Name of the storage pool.
        pool: String,
        /// First folder on the way that the user may not enter.
        folder: PathBuf,
        /// User ID of QEMU.
        uid: u32,
    },
    /// libvirt rejected the definition of the domain.
    #[error("defining a domain with the hardware of '{name}'")]
    Refused {
        /// Name of the domain.
        name: String,
        /// Error that libvirt reported.
        source: Cause,
    },
    /// The storage pool has too little free space.
    #[error("storage pool '{pool}' has {available} free, {needed} are needed")]
    NoSpace {
        /// Name of the storage pool.
        pool: String,
        /// Bytes needed, including a safety margin.
        needed: ByteSize,
        /// Free bytes in the pool.
        available: ByteSize,
    },
    /// A file could not be read or written.
    #[error("{act} {path}")]
    File {
        /// What was being done, as a gerund: `opening`.
        act: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// Error that the operating system reported.
        source: io::Error,
    },
    /// A hardware profile of the user that cannot be used.
    #[error("hardware profile {}: {problem}", .path.display())]
    Profile {
        /// Path of the profile.
        path: PathBuf,
        /// What is wrong with the profile.
        problem: String,
    },
    /// The journal could not be written, so nothing was created.
    #[error("writing the journal")]
    Journal(#[source] io::Error),
    /// A domain that is to be undone is running.
    #[error("domain '{name}' is running")]
    Running {
        /// Name of the domain.
        name: String,
    },
    /// A domain that is to be undone has snapshots, checkpoints or a saved state, which libvirt
    /// does not undefine with it.
    #[error("domain '{name}' cannot be undefined: {}", listed(found))]
    NotUndefinable {
        /// Name of the domain.
        name: String,
        /// Everything that prevents undefining the domain.
        found: Vec<InTheWay>,
    },
    /// A guest stopped after its start.
    #[error("domain '{name}' stopped before its guest was up{}", quoted(last))]
    GuestStopped {
        /// Name of the domain.
        name: String,
        /// Last lines of the guest's console.
        last: Vec<String>,
    },
    /// A guest did not show the expected sign in time.
    #[error(
        "no sign within {} that the guest of '{name}' {sign}{}",
        humantime::format_duration(*after),
        quoted(last)
    )]
    NotSeen {
        /// Name of the domain.
        name: String,
        /// Sign that was expected, as a clause.
        sign: String,
        /// How long the run waited.
        after: std::time::Duration,
        /// Last lines of the guest's console.
        last: Vec<String>,
    },
    /// A bug in this program.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The run was cancelled.
    #[error("the import was interrupted")]
    Cancelled,
    /// An operation failed, and not everything it had created could be removed.
    #[error("not removed: {}", .left.join(", "))]
    NotUndone {
        /// What was left behind, each item with the reason.
        left: Vec<String>,
        /// The error that caused the rollback.
        source: Box<Error>,
    },
}

impl Error {
    /// Wraps the error of a libvirt call: `map_err(Error::call("looking up pool 'x'"))`.
    pub(super) fn call(act: impl Into<String>) -> impl FnOnce(virt::error::Error) -> Self {
        move |error| Self::Call { act: act.into(), source: Cause(error) }
    }

    /// Wraps the error of a file operation.
    pub(super) fn file(
        act: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { act, path: path.into(), source }
    }
}

fn listed(found: &[InTheWay]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The last lines of a console, as the end of a sentence.
fn quoted(lines: &[String]) -> String {
    if lines.is_empty() {
        String::new()
    } else {
        format!("; last lines of its console: {}", lines.join(" | "))
    }
}
