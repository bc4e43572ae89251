//! Privileges that a vSphere login needs. One table serves the preflight check of the login, the
//! role of `hyperexport role`, and docs/sources.md.

use std::collections::BTreeSet;

use serde::Serialize;

/// An operation of an export that needs privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Exporting disks by an export lease.
    Export,
    /// Exporting the UEFI variables of an EFI guest.
    Nvram,
    /// Taking and removing a snapshot of a running VM.
    Snapshot,
    /// Powering off a running VM.
    PowerOff,
    /// Powering a VM back on that was powered off for its export.
    PowerOn,
    /// Reading disks from their datastores.
    Datastore,
    /// Querying the blocks that changed since a snapshot.
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

/// The object on which a privilege is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// The VM itself.
    Vm,
    /// Each datastore with disks of the VM.
    Datastore,
    /// The folder that the VM is moved to after the migration.
    Folder,
}

/// A privilege that an operation needs on an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Privilege {
    /// Operation that needs the privilege.
    pub need: Need,
    /// Id of the privilege in vSphere: `VApp.Export`.
    pub id: &'static str,
    /// Object on which the privilege is needed.
    pub on: On,
}

const fn line(need: Need, id: &'static str, on: On) -> Privilege {
    Privilege { need, id, on }
}

/// All privileges. `System.Anonymous`, `System.View` and `System.Read` are omitted, since every
/// role of vSphere has them. Hosts need no privileges, since a lease contains the URLs of its
/// disks.
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
    /// Flag or situation that causes this need, for tables and messages.
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

    /// The privileges that this operation needs.
    pub fn privileges(self) -> impl Iterator<Item = Privilege> {
        PRIVILEGES.into_iter().filter(move |privilege| privilege.need == self)
    }
}

impl On {
    /// Name of the object in a table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vm => "the VM",
            Self::Datastore => "its datastores",
            Self::Folder => "the folder",
        }
    }
}

/// A use case for which a role can be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RoleFor {
    /// Exports of powered-off VMs.
    Export,
    /// Exports of running VMs from a snapshot.
    Snapshot,
    /// Exports of running VMs that are powered off first.
    PowerOff,
    /// Exports of disks from datastores.
    Datastore,
    /// Warm migrations, which copy changed blocks of a running VM.
    Warm,
    /// Steps on the source VM after the migration (`--source-after`).
    SourceAfter,
}

impl RoleFor {
    /// Operations that this use case comprises.
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

/// The minimal role for a set of use cases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Role {
    /// Name of the role in vSphere.
    pub name: &'static str,
    /// Privileges of the role, each with its operation and object.
    pub privileges: Vec<Privilege>,
    /// govc commands that create the role and assign the role to a login.
    pub govc: Vec<String>,
}

impl Role {
    const NAME: &'static str = "hyperexport";

    /// The minimal role for these use cases.
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

/// The table of privileges as Markdown, for docs/sources.md.
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
