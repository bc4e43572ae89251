//! What a login at vSphere has to be allowed: one table, which preflight compares with what the
//! login may do, from which `hyperexport role` makes a role, and which docs/sources.md shows.

use std::collections::BTreeSet;

use serde::Serialize;

/// Something that an export does, and that takes privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Disks by an export lease.
    Export,
    /// The UEFI variables of an EFI guest.
    Nvram,
    /// A snapshot of a running VM.
    Snapshot,
    /// A running VM is switched off.
    PowerOff,
    /// A VM that was switched off comes back.
    PowerOn,
    /// Disks from their datastores.
    Datastore,
    /// The blocks that changed since a snapshot.
    ChangedBlocks,
    /// `--source-after disconnect-nics`.
    DisconnectNics,
    /// `--source-after rename:SUFFIX`.
    Rename,
    /// `--source-after folder:PATH`.
    Folder,
    /// `--source-after tag:CATEGORY/NAME`.
    Tag,
    /// `--source-after note`.
    Note,
}

/// The object that a privilege is needed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// The VM.
    Vm,
    /// Each datastore of its disks.
    Datastore,
    /// The folder that the VM is moved to.
    Folder,
}

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Privilege {
    /// What takes it.
    pub need: Need,
    /// Its id: `VApp.Export`.
    pub id: &'static str,
    /// On which object.
    pub on: On,
}

const fn line(need: Need, id: &'static str, on: On) -> Privilege {
    Privilege { need, id, on }
}

/// The table. `System.Anonymous`, `System.View` and `System.Read` belong to every role of vSphere
/// and are not in it; on hosts nothing is needed, since a lease names the addresses of its disks
/// itself.
pub const PRIVILEGES: [Privilege; 19] = [
    line(Need::Export, "VApp.Export", On::Vm),
    line(Need::Nvram, "Datastore.Browse", On::Datastore),
    line(Need::Nvram, "Datastore.FileManagement", On::Datastore),
    line(Need::Snapshot, "VirtualMachine.State.CreateSnapshot", On::Vm),
    line(Need::Snapshot, "VirtualMachine.State.RemoveSnapshot", On::Vm),
    line(Need::PowerOff, "VirtualMachine.Interact.PowerOff", On::Vm),
    line(Need::PowerOn, "VirtualMachine.Interact.PowerOn", On::Vm),
    line(Need::Datastore, "Datastore.Browse", On::Datastore),
    line(Need::Datastore, "Datastore.FileManagement", On::Datastore),
    line(Need::ChangedBlocks, "VirtualMachine.Config.ChangeTracking", On::Vm),
    line(Need::ChangedBlocks, "VirtualMachine.Provisioning.DiskRandomRead", On::Vm),
    line(Need::DisconnectNics, "VirtualMachine.Config.EditDevice", On::Vm),
    line(Need::DisconnectNics, "VirtualMachine.Interact.DeviceConnection", On::Vm),
    line(Need::Rename, "VirtualMachine.Config.Rename", On::Vm),
    line(Need::Folder, "VirtualMachine.Inventory.Move", On::Vm),
    line(Need::Folder, "VirtualMachine.Inventory.Move", On::Folder),
    line(Need::Tag, "InventoryService.Tagging.AttachTag", On::Vm),
    line(Need::Note, "VirtualMachine.Config.Annotation", On::Vm),
    line(Need::Note, "VirtualMachine.Config.Settings", On::Vm),
];

impl Need {
    /// Which flag brings it about.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Export => "an export by lease",
            Self::Nvram => "the UEFI variables of an EFI guest, else `nvram-not-exported`",
            Self::Snapshot => "`--snapshot`",
            Self::PowerOff => "`--power-off`",
            Self::PowerOn => "`--power-off`, unless `--keep-source-off`",
            Self::Datastore => "`--transport datastore`",
            Self::ChangedBlocks => "warm migration, where changed blocks are asked for",
            Self::DisconnectNics => "`--source-after disconnect-nics`",
            Self::Rename => "`--source-after rename:SUFFIX`",
            Self::Folder => "`--source-after folder:PATH`",
            Self::Tag => "`--source-after tag:CATEGORY/NAME`",
            Self::Note => "`--source-after note`",
        }
    }

    /// The lines of the table that it takes.
    pub fn privileges(self) -> impl Iterator<Item = Privilege> {
        PRIVILEGES.into_iter().filter(move |privilege| privilege.need == self)
    }
}

impl On {
    /// The object, in a table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vm => "the VM",
            Self::Datastore => "its datastores",
            Self::Folder => "the folder",
        }
    }
}

/// A kind of use that a role can be made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RoleFor {
    /// Exports of VMs that are off.
    Export,
    /// Exports of VMs that run on.
    Snapshot,
    /// Exports of VMs that are switched off.
    PowerOff,
    /// Exports from datastores.
    Datastore,
    /// Warm migrations.
    Warm,
    /// What `--source-after` does.
    SourceAfter,
}

impl RoleFor {
    /// What that does.
    pub fn needs(self) -> &'static [Need] {
        match self {
            Self::Export => &[Need::Export, Need::Nvram],
            Self::Snapshot => &[Need::Export, Need::Nvram, Need::Snapshot],
            Self::PowerOff => &[Need::Export, Need::Nvram, Need::PowerOff, Need::PowerOn],
            Self::Datastore => &[Need::Datastore],
            Self::Warm => &[
                Need::Export,
                Need::Nvram,
                Need::Snapshot,
                Need::PowerOff,
                Need::PowerOn,
                Need::Datastore,
                Need::ChangedBlocks,
            ],
            Self::SourceAfter => {
                &[Need::DisconnectNics, Need::Rename, Need::Folder, Need::Tag, Need::Note]
            }
        }
    }
}

/// The least role for some kinds of use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Role {
    /// Name that the commands give it.
    pub name: &'static str,
    /// What it holds.
    pub privileges: Vec<Privilege>,
    /// Commands of govc that make it and give it to a login.
    pub govc: Vec<String>,
}

impl Role {
    /// Name of the role.
    const NAME: &'static str = "hyperexport";

    /// The role for these kinds of use.
    pub fn new(uses: &[RoleFor]) -> Self {
        let needs: BTreeSet<Need> = uses.iter().flat_map(|one| one.needs()).copied().collect();
        let privileges: Vec<_> = needs.into_iter().flat_map(Need::privileges).collect();
        let ids: BTreeSet<&str> = privileges.iter().map(|privilege| privilege.id).collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        let name = Self::NAME;
        let govc = vec![
            format!("govc role.create {name} {}", ids.join(" ")),
            format!(
                "govc permissions.set -principal 'LOGIN@DOMAIN' -role {name} -propagate=true /"
            ),
        ];
        Self { name, privileges, govc }
    }
}

/// The table for docs/sources.md.
pub fn markdown() -> String {
    let head = "| privilege | on | needed for |\n|---|---|---|\n".to_owned();
    let row = |line: &Privilege| {
        format!("| *{}* | {} | {} |\n", line.id, line.on.as_str(), line.need.flag())
    };
    PRIVILEGES.iter().map(row).fold(head, |text, row| text + &row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_names_each_privilege_once() {
        let role = Role::new(&[RoleFor::Export, RoleFor::Datastore]);
        assert_eq!(
            role.govc[0],
            "govc role.create hyperexport Datastore.Browse Datastore.FileManagement VApp.Export"
        );
        assert_eq!(role.privileges.len(), 5, "each with what it is needed for");
        let least = Role::new(&[RoleFor::Datastore]);
        assert!(!least.govc[0].contains("VApp"), "{:?}", least.govc);
    }

    #[test]
    fn every_privilege_is_in_a_role() {
        let uses = [RoleFor::Warm, RoleFor::SourceAfter];
        assert_eq!(Role::new(&uses).privileges.len(), PRIVILEGES.len());
    }
}
