//! What a role at vSphere is made for.

use clap::ValueEnum;

use crate::exporter::RoleFor;

/// A kind of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleForArg {
    /// Export VMs that are off, by a lease.
    Export,
    /// Export VMs that run on, from a snapshot.
    Snapshot,
    /// Switch VMs off, and power them on again.
    PowerOff,
    /// Export from datastores.
    Datastore,
    /// Migrate VMs that run, with a short pause at the end.
    Warm,
    /// Do what --source-after does.
    SourceAfter,
}

impl From<RoleForArg> for RoleFor {
    fn from(arg: RoleForArg) -> Self {
        match arg {
            RoleForArg::Export => Self::Export,
            RoleForArg::Snapshot => Self::Snapshot,
            RoleForArg::PowerOff => Self::PowerOff,
            RoleForArg::Datastore => Self::Datastore,
            RoleForArg::Warm => Self::Warm,
            RoleForArg::SourceAfter => Self::SourceAfter,
        }
    }
}
