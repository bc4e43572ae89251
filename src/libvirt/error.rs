//! What can go wrong with libvirt, and what to do about it.

use std::io;
use std::path::PathBuf;

use virt::error::ErrorNumber;

use crate::domain;
use crate::model::ByteSize;

use super::shell::word;
use super::{Refusal, XmlError, advice, pool_kind, source};

/// What libvirt said.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message())]
pub struct Cause(virt::error::Error);

impl From<virt::error::Error> for Cause {
    fn from(error: virt::error::Error) -> Self {
        Self(error)
    }
}

/// Why libvirt did not take the VM.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URI cannot name a daemon that runs QEMU guests.
    #[error("'{uri}' is no libvirt URI for QEMU: {problem}")]
    Uri {
        /// What was given.
        uri: String,
        /// What is wrong with it.
        problem: &'static str,
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
    #[error("connect to {uri}: no answer within {} s", after.as_secs())]
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
    #[error("take domain '{name}': {reason}")]
    NotTaken {
        /// Which.
        name: String,
        /// Why, as a clause.
        reason: String,
    },
    /// Any other call that libvirt refused.
    #[error("{act}")]
    Call {
        /// Verb and object.
        act: String,
        /// What libvirt said.
        source: Cause,
    },
    /// The thread that called libvirt broke.
    #[error("finish a call of libvirt")]
    Task(#[source] tokio::task::JoinError),
    /// XML that cannot be written or read.
    #[error("handle the XML of {what}")]
    Xml {
        /// Of which object.
        what: String,
        /// What is wrong.
        source: XmlError,
    },
    /// The plan breaks a rule.
    #[error("plan the domain")]
    Plan(#[source] domain::Error),
    /// Something would be made otherwise than it was planned.
    #[error("follow the plan: {}", .differences.join("; "))]
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
    #[error("domain '{owner}' has the UUID {uuid} by now")]
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
    #[error("--replace {name}: there is no domain '{name}'")]
    NothingToReplace {
        /// The domain.
        name: String,
    },
    /// A domain that may not be replaced.
    #[error("replace domain '{name}': {why}")]
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
    #[error("storage pool '{name}' of type {kind} takes no disks: {why}")]
    PoolKind {
        /// The pool.
        name: String,
        /// Its type.
        kind: String,
        /// Why, as a clause.
        why: &'static str,
    },
    /// An image of which no raw disk could be made.
    #[error("make a raw disk of {}: {reason}", image.display())]
    NotRaw {
        /// The image.
        image: PathBuf,
        /// What qemu-img said.
        reason: String,
    },
    /// A snapshot needs files to lie in.
    #[error("storage pool '{pool}' holds block devices, which take no snapshot")]
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
    },
    /// A volume came out other than it should.
    #[error("check volume '{name}': {problem}")]
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
    #[error("define a domain with the hardware of '{name}'")]
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
        /// The verb.
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
    #[error("note what is to be made")]
    Journal(#[source] io::Error),
    /// A domain that is to be taken back runs.
    #[error("domain '{name}' runs")]
    Running {
        /// The domain.
        name: String,
    },
    /// A guest was started and ended.
    #[error("domain '{name}' stopped while its guest was to come up{}", quoted(last))]
    GuestStopped {
        /// The domain.
        name: String,
        /// The last lines of its console.
        last: Vec<String>,
    },
    /// A guest did not show what it should.
    #[error(
        "nothing shows that the guest of '{name}' {sign}, for {}{}",
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
    /// The run was cancelled.
    #[error("the import was interrupted")]
    Cancelled,
    /// Something failed, and what had been made could not all be taken back.
    #[error("leave behind {}", .left.join(", "))]
    NotUndone {
        /// What is left, each with the reason.
        left: Vec<String>,
        /// What failed first.
        source: Box<Error>,
    },
}

impl Error {
    /// Wraps a refused call: `map_err(Error::call("look up pool 'x'"))`.
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

    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Uri { .. } => {
                "use qemu:///system, qemu:///session or qemu+ssh://USER@HOST/system".to_owned()
            }
            Self::Unreachable { uri, why, source }
            | Self::Rejected { uri, why, source }
            | Self::PermissionDenied { uri, why, source } => {
                advice::of(*why, uri, source.0.message())
            }
            Self::Call { source, .. } if is_denied(source) => advice::GROUP.to_owned(),
            Self::Silent { .. } => {
                "the daemon hangs, or something on the way to it does: look into \
                its log, and restart it (running guests go on)"
                    .to_owned()
            }
            Self::ConnectionLost { .. } => "look after the network and the daemon (its log says \
                whether it died), and run it again: what was left there goes then"
                .to_owned(),
            Self::NotTaken { reason, .. } if reason.ends_with(source::IN_NO_POOL) => {
                "make a pool over the folder of the disk on that host: 'virsh pool-create-as NAME \
                 dir --target FOLDER'"
                    .to_owned()
            }
            Self::Plan(error) => return error.hint(),
            Self::DomainExists { name } => format!(
                "give another name with --libvirt-name; --replace '{name}' sets a domain aside \
                 that hyperexport has made"
            ),
            Self::UuidTaken { .. } => {
                "run it again: the domain then gets a UUID of its own".to_owned()
            }
            Self::NotReplaced { name, .. } => format!(
                "give another name with --libvirt-name, or make '{name}' ready: shut off, without \
                 snapshots"
            ),
            Self::ReplacesOther { old, .. } => format!(
                "--libvirt-name '{old}' gives the new domain that name; or leave --replace out"
            ),
            Self::NothingToReplace { .. } => "leave --replace out".to_owned(),
            Self::NotRaw { .. } => {
                "it goes beside the image and needs as much space as its guest uses".to_owned()
            }
            Self::Profile { .. } => "write domain XML with <features>, <clock>, <pm> and \
                <devices>, and no more than the profiles in vendor-xml/ have"
                .to_owned(),
            Self::Refused { .. } => {
                "nothing was changed; what libvirt refuses comes from the VM's hardware or from an \
                 option --libvirt-…; where it is a disk controller, try --disk-bus sata"
                    .to_owned()
            }
            Self::PlanChanged { .. } => {
                "look what changed, and write the plan anew: hyperexport plan".to_owned()
            }
            Self::Running { name } => format!("shut it down first: 'virsh shutdown {name}'"),
            Self::NotSeen { name, .. } | Self::GuestStopped { name, .. } => {
                format!("look at its screen: 'virt-viewer {name}' or 'virsh console {name}'")
            }
            Self::NotUndone { source, .. } => return source.hint(),
            _ => return self.hint_of_storage(),
        };
        Some(hint)
    }

    /// Whether the way out are other flags of the target.
    pub fn is_by_other_flags(&self) -> bool {
        match self {
            Self::Plan(error) => error.is_by_other_flags(),
            Self::NotUndone { source, .. } => source.is_by_other_flags(),
            Self::DomainExists { .. }
            | Self::NotReplaced { .. }
            | Self::ReplacesOther { .. }
            | Self::NothingToReplace { .. }
            | Self::Refused { .. }
            | Self::NoPool { .. }
            | Self::PoolElsewhere { .. }
            | Self::PoolFolder { .. }
            | Self::PoolNotStarted { .. }
            | Self::PathTaken { .. }
            | Self::PoolKind { .. }
            | Self::NoSnapshot { .. }
            | Self::VolumeExists { .. }
            | Self::NoSpace { .. }
            | Self::PoolBlocked { .. } => true,
            _ => false,
        }
    }

    /// The same of pools and volumes.
    fn hint_of_storage(&self) -> Option<String> {
        let hint = match self {
            Self::NoPool { name, existing } => no_pool_hint(name, existing),
            Self::PoolElsewhere { .. } => {
                "leave --libvirt-pool-path out, or name another pool with --libvirt-pool".to_owned()
            }
            Self::PoolFolder { name, .. } => format!(
                "'virsh pool-build {0}' makes the folder, 'virsh pool-start {0}' starts the pool; or \
                 name another pool with --libvirt-pool",
                word(name)
            ),
            Self::PoolNotStarted { name, kind, .. } => format!(
                "{}; 'virsh pool-start {}' must succeed first; or name another pool with \
                 --libvirt-pool",
                pool_kind::source(kind),
                word(name)
            ),
            Self::PathTaken { name, .. } => format!("use --libvirt-pool {}", word(name)),
            Self::PoolKind { kind, .. } => format!(
                "{}; a pool of type dir, fs, netfs, logical or zfs takes disks: name it with \
                 --libvirt-pool",
                pool_kind::unfit(kind).instead
            ),
            Self::NoSnapshot { .. } => {
                "go without --libvirt-snapshot, or name a pool of files with --libvirt-pool"
                    .to_owned()
            }
            Self::VolumeExists { name, pool } => format!(
                "give another name with --libvirt-name, or, if nothing needs the volume (a run \
                 that was killed leaves one), remove it: 'virsh vol-delete --pool {} {}'",
                word(pool),
                word(name)
            ),
            Self::NoSpace { .. } => {
                "free some space, or name another pool with --libvirt-pool".to_owned()
            }
            Self::PoolBlocked { folder, uid, .. } => format!(
                "'setfacl -m u:{uid}:x {0}' (or 'chmod o+x {0}'), or another --libvirt-pool",
                word(&folder.to_string_lossy())
            ),
            _ => return None,
        };
        Some(hint)
    }
}

/// The last lines of a console, for the end of a sentence.
fn quoted(lines: &[String]) -> String {
    if lines.is_empty() {
        String::new()
    } else {
        format!("; its console ends: {}", lines.join(" | "))
    }
}

/// Whether a daemon that lets the user in refuses one of his calls.
fn is_denied(cause: &Cause) -> bool {
    let denied = [ErrorNumber::AccessDenied, ErrorNumber::AuthUnavailable, ErrorNumber::AuthFailed];
    cause.0.code().is_any(denied.to_vec())
}

fn no_pool_hint(name: &str, existing: &[String]) -> String {
    let make = format!("make it with --libvirt-pool-path DIR (storage pool '{name}' in DIR)");
    if existing.is_empty() {
        format!("{make}; the host has no other")
    } else {
        format!("{make}, or name one that exists with --libvirt-pool: {}", existing.join(", "))
    }
}
