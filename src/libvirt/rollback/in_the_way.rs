//! Objects that prevent libvirt from undefining a domain.

use std::fmt;

use super::super::hint_words::word;

/// Part of a domain that libvirt does not undefine with the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InTheWay {
    /// Saved memory of a guest; `libvirt-guests` saves running guests when a host shuts down.
    ManagedSave,
    /// A snapshot, by its name.
    Snapshot(String),
    /// Checkpoints, which backup tools create.
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
    /// The command that removes the object.
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
