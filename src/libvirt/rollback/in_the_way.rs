//! What keeps libvirt from undefining a domain.

use std::fmt;

use super::super::hint_words::word;

/// What belongs to a domain that libvirt does not undefine with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InTheWay {
    /// The memory of a guest that was running, as `libvirt-guests` saves it when a host shuts down.
    ManagedSave,
    /// A snapshot of that name.
    Snapshot(String),
    /// Checkpoints, as tools for backups make them.
    Checkpoints,
}

impl fmt::Display for InTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ManagedSave => write!(f, "its memory is saved on disk"),
            Self::Snapshot(name) => write!(f, "it has the snapshot '{name}'"),
            Self::Checkpoints => write!(f, "it has checkpoints"),
        }
    }
}

impl InTheWay {
    /// What to type.
    pub(in crate::libvirt) fn command(&self, domain: &str) -> String {
        let domain = word(domain);
        match self {
            Self::ManagedSave => format!("'virsh managedsave-remove {domain}'"),
            Self::Snapshot(name) => format!("'virsh snapshot-delete {domain} {}'", word(name)),
            Self::Checkpoints => format!(
                "'virsh checkpoint-delete {domain} NAME' ('virsh checkpoint-list {domain}' has the names)"
            ),
        }
    }
}
