//! Suggestions for solving an error.

use virt::error::ErrorNumber;

use super::advice;
use super::error::{Cause, Error};
use super::hint_words::word;
use super::storage::pool_kind;
use crate::model::Hint;

impl Hint for Error {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::UriOfFile { uri } => {
                format!("pass it yourself if you trust it: --libvirt-uri {}", word(uri))
            }
            Self::OtherUri { there, .. } => format!("pass --libvirt-uri {}", word(there)),
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
                "check the log of the daemon, and restart the daemon (running guests \
                go on): it hangs, or something on the way to it does"
                    .to_owned()
            }
            Self::ConnectionLost { .. } => "check the network and the daemon (its log says \
                whether it crashed), and run the same command again: it removes what was left there"
                .to_owned(),
            Self::DiskInNoPool { .. } => {
                "define a storage pool over the folder of the disk on that host: 'virsh pool-create-as NAME \
                 dir --target FOLDER'"
                    .to_owned()
            }
            Self::Plan(error) => return error.hint(),
            Self::DomainExists { name } => format!(
                "pass another name with --libvirt-name; or --replace '{name}', which renames a \
                 domain that hyperexport has defined"
            ),
            Self::UuidTaken { .. } => {
                "run the same command again: the domain then gets a UUID of its own".to_owned()
            }
            Self::NotReplaced { name, .. } => format!(
                "pass another name with --libvirt-name, or shut '{name}' off and delete its \
                 snapshots"
            ),
            Self::ReplacesOther { old, .. } => format!(
                "pass --libvirt-name '{old}' too, or leave --replace out"
            ),
            Self::NothingToReplace { .. } => "leave --replace out".to_owned(),
            Self::NotRaw { .. } => {
                "free some space beside the image: the raw disk needs as much as its guest uses".to_owned()
            }
            Self::Profile { .. } => "write domain XML with <features>, <clock>, <pm> and \
                <devices>, and no more than the profiles in vendor-xml/ have"
                .to_owned(),
            Self::Refused { .. } => {
                "change the VM's hardware or an option --libvirt-…, whichever libvirt rejects; try \
                 --disk-bus sata for a disk controller; nothing was changed"
                    .to_owned()
            }
            Self::PlanChanged { .. } => {
                "check what changed, and write the plan again: hyperexport plan".to_owned()
            }
            Self::Running { name } => format!("shut it down first: 'virsh shutdown {name}'"),
            Self::NotUndefinable { name, found } => {
                let commands: Vec<_> = found.iter().map(|found| found.command(name)).collect();
                format!(
                    "remove this first, if nobody needs it: {}; nothing was changed",
                    commands.join(", ")
                )
            }
            Self::NotSeen { name, .. } | Self::GuestStopped { name, .. } => {
                format!("check its screen: 'virt-viewer {name}' or 'virsh console {name}'")
            }
            Self::NotUndone { source, .. } => return source.hint(),
            _ => return self.hint_of_source().or_else(|| self.hint_of_storage()),
        };
        Some(hint)
    }
}

impl Error {
    /// Suggestions for errors of a source domain.
    fn hint_of_source(&self) -> Option<String> {
        Some(match self {
            Self::CannotFollow { .. } => {
                "leave this --source-after out; libvirt has disconnect-nics, rename:SUFFIX and note".to_owned()
            }
            Self::Transient { name } => format!(
                "make it persistent first: 'virsh dumpxml {name} >it.xml; virsh define it.xml'"
            ),
            Self::StillOn { .. } => {
                "shut the guest down from inside; or allow more time with --shutdown-timeout; or cut \
                 its power with --power-off=force"
                    .to_owned()
            }
            _ => return None,
        })
    }

    /// Whether other flags of the target can solve the problem.
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

    /// Suggestions for errors of pools and volumes.
    fn hint_of_storage(&self) -> Option<String> {
        let hint = match self {
            Self::NoPool { name, existing } => no_pool_hint(name, existing),
            Self::PoolElsewhere { .. } => {
                "leave --libvirt-pool-path out, or name another pool with --libvirt-pool".to_owned()
            }
            Self::PoolFolder { name, .. } => format!(
                "create the folder with 'virsh pool-build {0}' and start the pool with 'virsh \
                 pool-start {0}'; or name another pool with --libvirt-pool",
                word(name)
            ),
            Self::PoolNotStarted { name, kind, .. } => format!(
                "{}, until 'virsh pool-start {}' succeeds; or name another pool with \
                 --libvirt-pool",
                pool_kind::source(kind),
                word(name)
            ),
            Self::PathTaken { name, .. } => format!("use --libvirt-pool {}", word(name)),
            Self::PoolKind { kind, .. } => format!(
                "{}; or name a pool of type dir, fs, netfs, logical or zfs with \
                 --libvirt-pool",
                pool_kind::unfit(kind).instead
            ),
            Self::NoSnapshot { .. } => {
                "leave --libvirt-snapshot out, or name a pool of files with --libvirt-pool"
                    .to_owned()
            }
            Self::VolumeExists { user: Some(user), .. } => {
                format!("pass another name with --libvirt-name; the volume is needed: {user}")
            }
            Self::VolumeExists { name, pool, user: None } => format!(
                "pass another name with --libvirt-name, or, if nothing needs the volume (a killed \
                 run leaves one), remove it: 'virsh vol-delete --pool {} {}'",
                word(pool),
                word(name)
            ),
            Self::NoSpace { .. } => {
                "free some space, or name another pool with --libvirt-pool".to_owned()
            }
            Self::PoolBlocked { folder, uid, .. } => format!(
                "run 'setfacl -m u:{uid}:x {0}' (or 'chmod o+x {0}'), or name another --libvirt-pool",
                word(&folder.to_string_lossy())
            ),
            _ => return None,
        };
        Some(hint)
    }
}

/// Whether the daemon denies a call to a user that it has accepted.
fn is_denied(cause: &Cause) -> bool {
    let denied = [ErrorNumber::AccessDenied, ErrorNumber::AuthUnavailable, ErrorNumber::AuthFailed];
    cause.0.code().is_any(denied.to_vec())
}

fn no_pool_hint(name: &str, existing: &[String]) -> String {
    let make = format!("create it with --libvirt-pool-path DIR (storage pool '{name}' in DIR)");
    if existing.is_empty() {
        format!("{make}; the host has no other")
    } else {
        format!("{make}, or name one that exists with --libvirt-pool: {}", existing.join(", "))
    }
}
