//! What to do about an error, where that is known.

use virt::error::ErrorNumber;

use super::connection::uri::NAMES_A_PROGRAM;
use super::error::{Cause, Error};
use super::hint_words::word;
use super::storage::pool_kind;
use super::{advice, source};

impl Error {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Uri { uri, problem } if *problem == NAMES_A_PROGRAM => {
                format!("if it is meant so, name it yourself: --libvirt-uri {}", word(uri))
            }
            Self::OtherUri { there, .. } => format!("--libvirt-uri {}", word(there)),
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
            Self::NotUndefinable { name, found } => {
                let commands: Vec<_> = found.iter().map(|found| found.command(name)).collect();
                format!(
                    "nothing was changed; remove it first, if nobody needs it: {}",
                    commands.join(", ")
                )
            }
            Self::NotSeen { name, .. } | Self::GuestStopped { name, .. } => {
                format!("look at its screen: 'virt-viewer {name}' or 'virsh console {name}'")
            }
            Self::NotUndone { source, .. } => return source.hint(),
            _ => return self.hint_of_source().or_else(|| self.hint_of_storage()),
        };
        Some(hint)
    }

    /// What to do about a domain that is a source.
    fn hint_of_source(&self) -> Option<String> {
        Some(match self {
            Self::CannotFollow { .. } => {
                "leave it out; libvirt knows disconnect-nics, rename:SUFFIX and note".to_owned()
            }
            Self::Transient { name } => format!(
                "make it persistent first: 'virsh dumpxml {name} >it.xml; virsh define it.xml'"
            ),
            Self::StillOn { .. } => {
                "shut the guest down from inside; or give it longer by --shutdown-timeout; or let \
                 --power-off=force cut its power"
                    .to_owned()
            }
            _ => return None,
        })
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
            Self::VolumeExists { user: Some(user), .. } => {
                format!("give another name with --libvirt-name; the volume is needed: {user}")
            }
            Self::VolumeExists { name, pool, user: None } => format!(
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
