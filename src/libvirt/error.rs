//! What can go wrong with libvirt, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::domain;
use crate::model::ByteSize;
use crate::panics::Panicked;

use super::{InTheWay, Refusal, XmlError};

/// What libvirt said.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message())]
pub struct Cause(pub(super) virt::error::Error);

impl From<virt::error::Error> for Cause {
    fn from(error: virt::error::Error) -> Self {
        Self(error)
    }
}

/// Why libvirt did not take the VM.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URI cannot name a daemon that runs QEMU guests.
    #[error("'{uri}' is not a libvirt URI for QEMU: {problem}")]
    Uri {
        /// What was given.
        uri: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A URI that only the user may name: it may start a program here.
    #[error("'{uri}' comes from a file and has a parameter that may name a program to run")]
    UriOfFile {
        /// What the file says.
        uri: String,
    },
    /// A run used another libvirt than the one that is named now.
    #[error("the run used {there}, not {here}")]
    OtherUri {
        /// That of the run.
        there: String,
        /// That of the command line.
        here: String,
    },
    /// The machine or its daemon cannot be reached.
    #[error("connecting to {uri}")]
    Unreachable {
        /// Where.
        uri: String,
        /// Whether it is the machine or the daemon.
        why: Refusal,
        /// What libvirt said.
        source: Cause,
    },
    /// Something on the way to the daemon answers, and says no.
    #[error("connecting to {uri}")]
    Rejected {
        /// Where.
        uri: String,
        /// What says no.
        why: Refusal,
        /// What libvirt said.
        source: Cause,
    },
    /// The daemon lets nobody in and turns nobody away.
    #[error("connecting to {uri}: no answer within {} s", after.as_secs())]
    Silent {
        /// Where.
        uri: String,
        /// How long.
        after: std::time::Duration,
    },
    /// The daemon answers, but not to this user.
    #[error("connecting to {uri}")]
    PermissionDenied {
        /// Where.
        uri: String,
        /// What says no.
        why: Refusal,
        /// What libvirt said.
        source: Cause,
    },
    /// The daemon, or the way to it, is gone.
    #[error("the connection to {uri} was lost")]
    ConnectionLost {
        /// Where.
        uri: String,
        /// What failed by it.
        source: Box<Error>,
    },
    /// A domain that cannot be taken as it is.
    #[error("domain '{name}' cannot be exported: {reason}")]
    NotTaken {
        /// Which.
        name: String,
        /// Why, as a clause.
        reason: String,
    },
    /// A domain with a disk that libvirt has no volume for.
    #[error(
        "domain '{name}' cannot be exported: its disk {disk} is in no active storage pool of the host"
    )]
    DiskInNoPool {
        /// The domain.
        name: String,
        /// Target and path of the disk: `vda (/srv/web01.qcow2)`.
        disk: String,
    },
    /// What is to follow the migration cannot be done to the domain.
    #[error("--source-after {step}: {reason}")]
    CannotFollow {
        /// What was asked for.
        step: String,
        /// Why, as a clause.
        reason: String,
    },
    /// A domain that is gone when it is off.
    #[error("domain '{name}' is transient: libvirt removes the domain when it shuts down")]
    Transient {
        /// Which.
        name: String,
    },
    /// A guest was told to shut down, and its domain still runs.
    #[error("domain '{name}' did not shut down within {} s", after.as_secs())]
    StillOn {
        /// Which.
        name: String,
        /// How long that was waited for.
        after: std::time::Duration,
    },
    /// Any other call that libvirt refused.
    #[error("{act}")]
    Call {
        /// What was being done, as a gerund: `looking up pool 'x'`.
        act: String,
        /// What libvirt said.
        source: Cause,
    },
    /// The thread that called libvirt broke.
    #[error("waiting for a call of libvirt")]
    Task(#[source] tokio::task::JoinError),
    /// XML that cannot be written or read.
    #[error("processing the XML of {what}")]
    Xml {
        /// Of which object.
        what: String,
        /// What is wrong.
        source: XmlError,
    },
    /// The plan breaks a rule.
    #[error("planning the domain")]
    Plan(#[source] domain::Error),
    /// Something would be made otherwise than it was planned.
    #[error("the plan no longer applies: {}", .differences.join("; "))]
    PlanChanged {
        /// What differs.
        differences: Vec<String>,
    },
    /// The name is taken.
    #[error("domain '{name}' exists already")]
    DomainExists {
        /// The name.
        name: String,
    },
    /// The UUID that a domain was to keep is that of another one by now.
    #[error("UUID {uuid} is now that of domain '{owner}'")]
    UuidTaken {
        /// The UUID.
        uuid: String,
        /// The other domain.
        owner: String,
    },
    /// The domain that is to make way has another name than the new domain.
    #[error("--replace {old} replaces nothing: the new domain is called '{name}'")]
    ReplacesOther {
        /// The domain that was named.
        old: String,
        /// The new domain.
        name: String,
    },
    /// The domain that is to make way does not exist.
    #[error("--replace {name}: domain '{name}' does not exist")]
    NothingToReplace {
        /// The domain.
        name: String,
    },
    /// A domain that may not be replaced.
    #[error("replacing domain '{name}': {why}")]
    NotReplaced {
        /// The domain.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// No such pool, and no path to make it at.
    #[error("storage pool '{name}' does not exist")]
    NoPool {
        /// What was asked for.
        name: String,
        /// What there is.
        existing: Vec<String>,
    },
    /// The pool exists, at another path than asked for.
    #[error("storage pool '{name}' exists already at {path}")]
    PoolElsewhere {
        /// The pool.
        name: String,
        /// Where it is.
        path: PathBuf,
    },
    /// The pool is not started, and its folder does not exist.
    #[error("folder {} of storage pool '{name}' does not exist", path.display())]
    PoolFolder {
        /// The pool.
        name: String,
        /// Its folder.
        path: PathBuf,
    },
    /// The pool is not started, and libvirt cannot start it.
    #[error("starting storage pool '{name}'")]
    PoolNotStarted {
        /// The pool.
        name: String,
        /// Its type.
        kind: String,
        /// What libvirt said.
        source: Cause,
    },
    /// Another pool owns the path.
    #[error("{path} belongs to storage pool '{name}'")]
    PathTaken {
        /// The path asked for.
        path: PathBuf,
        /// Its pool.
        name: String,
    },
    /// A pool whose volumes are neither files nor can be made as wanted.
    #[error("storage pool '{name}' of type {kind} is not supported for disks: {why}")]
    PoolKind {
        /// The pool.
        name: String,
        /// Its type.
        kind: String,
        /// Why, as a clause.
        why: &'static str,
    },
    /// An image of which no raw disk could be made.
    #[error("making a raw disk of {}: {reason}", image.display())]
    NotRaw {
        /// The image.
        image: PathBuf,
        /// What qemu-img said.
        reason: String,
    },
    /// A snapshot needs files to lie in.
    #[error("storage pool '{pool}' holds block devices, which have no snapshots")]
    NoSnapshot {
        /// The pool.
        pool: String,
    },
    /// The name of a volume is taken.
    #[error("volume '{name}' exists already in storage pool '{pool}'")]
    VolumeExists {
        /// The volume.
        name: String,
        /// Its pool.
        pool: String,
        /// Who uses it, as a clause.
        user: Option<String>,
    },
    /// A volume came out other than it should.
    #[error("volume '{name}' differs from its image: {problem}")]
    VolumeDiffers {
        /// The volume.
        name: String,
        /// What differs.
        problem: String,
    },
    /// QEMU will not find its way to the disks.
    #[error(
        "user {uid}, which QEMU runs as, may not enter {folder} on the way to storage pool '{pool}'"
    )]
    PoolBlocked {
        /// The pool.
        pool: String,
        /// The folder that is closed.
        folder: PathBuf,
        /// Number of the user.
        uid: u32,
    },
    /// libvirt would not define such a domain.
    #[error("defining a domain with the hardware of '{name}'")]
    Refused {
        /// The domain.
        name: String,
        /// What libvirt said.
        source: Cause,
    },
    /// The pool is too full.
    #[error("storage pool '{pool}' has {available} free, {needed} are needed")]
    NoSpace {
        /// The pool.
        pool: String,
        /// What is needed, margin included.
        needed: ByteSize,
        /// What it has.
        available: ByteSize,
    },
    /// A file could not be read or written.
    #[error("{act} {path}")]
    File {
        /// What was being done, as a gerund: `opening`.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A hardware profile of the user's that cannot be used.
    #[error("hardware profile {}: {problem}", .path.display())]
    Profile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// What is to be made could not be noted beforehand.
    #[error("writing the journal")]
    Journal(#[source] io::Error),
    /// A domain that is to be undone runs.
    #[error("domain '{name}' is running")]
    Running {
        /// The domain.
        name: String,
    },
    /// A domain that is to be undone has what libvirt does not undefine with it.
    #[error("domain '{name}' cannot be undefined: {}", listed(found))]
    NotUndefinable {
        /// The domain.
        name: String,
        /// What is in the way.
        found: Vec<InTheWay>,
    },
    /// A guest was started and ended.
    #[error("domain '{name}' stopped before its guest was up{}", quoted(last))]
    GuestStopped {
        /// The domain.
        name: String,
        /// The last lines of its console.
        last: Vec<String>,
    },
    /// A guest did not show what it should.
    #[error(
        "no sign within {} that the guest of '{name}' {sign}{}",
        humantime::format_duration(*after),
        quoted(last)
    )]
    NotSeen {
        /// The domain.
        name: String,
        /// What was waited for.
        sign: String,
        /// How long.
        after: std::time::Duration,
        /// The last lines of its console.
        last: Vec<String>,
    },
    /// A mistake in this program.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The run was cancelled.
    #[error("the import was interrupted")]
    Cancelled,
    /// Something failed, and what had been made could not all be undone.
    #[error("not removed: {}", .left.join(", "))]
    NotUndone {
        /// What is left, each with the reason.
        left: Vec<String>,
        /// What failed first.
        source: Box<Error>,
    },
}

impl Error {
    /// Wraps a refused call: `map_err(Error::call("looking up pool 'x'"))`.
    pub(super) fn call(act: impl Into<String>) -> impl FnOnce(virt::error::Error) -> Self {
        move |error| Self::Call { act: act.into(), source: Cause(error) }
    }

    /// Wraps a refused file operation.
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

/// The last lines of a console, for the end of a sentence.
fn quoted(lines: &[String]) -> String {
    if lines.is_empty() {
        String::new()
    } else {
        format!("; last lines of its console: {}", lines.join(" | "))
    }
}
