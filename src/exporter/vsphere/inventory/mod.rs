//! Lists VMs with their inventory paths.

pub(in crate::exporter) mod folder;
pub(in crate::exporter) mod granted;
pub(in crate::exporter) mod inventory_names;
pub(in crate::exporter) mod select;
pub(in crate::exporter) mod tags;

use std::collections::{BTreeMap, HashMap};

use super::soap::args::Moref;
use super::soap::node::Node;
use super::soap::properties::Object;
use super::soap::session::VSphere;
use super::vm::hardware;
use crate::exporter::Error;
use crate::exporter::inspected::VmSummary;
use crate::model::ByteSize;
use inventory_names::decode_name;
use select::{InventoryLocation, VmCandidate, select};

/// Maximum depth of the inventory: a guard against folders that contain each other.
const DEEPEST: usize = 100;

/// Object types that a path passes through, with the properties that refer to the parent.
const ANCESTORS: [(&str, &[&str]); 3] = [
    ("Folder", &["name", "parent"]),
    ("Datacenter", &["name", "parent"]),
    ("VirtualApp", &["name", "parent", "parentFolder"]),
];

pub(super) struct FoundVm {
    pub(super) moref: Moref,
    pub(super) place: InventoryLocation,
}

impl VSphere {
    /// All VMs of all datacenters, sorted by path.
    ///
    /// # Errors
    /// Errors of the connection and the server.
    pub async fn list(&self) -> Result<Vec<VmSummary>, Error> {
        self.in_session(async || self.list_once().await).await
    }

    async fn list_once(&self) -> Result<Vec<VmSummary>, Error> {
        let paths: &[&str] = &[
            "name",
            "parent",
            "parentVApp",
            "runtime.powerState",
            "config.guestFullName",
            "config.hardware",
            "availableField",
            "customValue",
        ];
        let (tree, vms) = self.tree(paths).await?;
        let mut list: Vec<_> = vms.iter().map(|vm| summary(vm, tree.place(vm))).collect();
        list.sort_by(|a, b| (&a.path, &a.name, &a.moref).cmp(&(&b.path, &b.name, &b.moref)));
        Ok(list)
    }

    /// The VM that `selector` names: a name, inventory path or moref.
    pub(super) async fn find(&self, selector: &str) -> Result<FoundVm, Error> {
        let (tree, vms) = self.tree(&["name", "parent", "parentVApp"]).await?;
        let candidates: Vec<VmCandidate> = vms
            .into_iter()
            .map(|vm| VmCandidate {
                place: tree.place(&vm),
                raw_name: vm.text("name").to_owned(),
                moref: vm.moref,
            })
            .collect();
        let index = select(selector, &candidates)?;
        let VmCandidate { moref, place, .. } = candidates
            .into_iter()
            .nth(index)
            .ok_or_else(|| Error::NotFound { selector: selector.to_owned(), near: Vec::new() })?;
        Ok(FoundVm { moref, place })
    }

    /// The VM folder at an inventory path (`/DC0/vm/Old`), or at a path below the datacenter's VM
    /// folder (`Old`).
    pub(super) async fn find_folder(
        &self,
        path: &str,
        datacenter: Option<&str>,
    ) -> Result<Option<Moref>, Error> {
        let tree = self.tree_of(self.all_properties(&ANCESTORS).await?);
        let wanted = match (path.strip_prefix('/'), datacenter) {
            (Some(absolute), _) => absolute.trim_end_matches('/').to_owned(),
            (None, Some(datacenter)) => format!("{datacenter}/vm/{}", path.trim_end_matches('/')),
            (None, None) => return Ok(None),
        };
        let mut folders = tree.entities.keys().filter(|moref| moref.kind == "Folder");
        let is_it = |moref: &&Moref| {
            let names = tree.names(moref);
            names.is_some_and(|names| names.join("/") == wanted || shown(&names) == wanted)
        };
        Ok(folders.find(is_it).cloned())
    }

    async fn tree(&self, vm_paths: &[&str]) -> Result<(Tree, Vec<Object>), Error> {
        let [folder, datacenter, vapp] = ANCESTORS;
        let wanted = [("VirtualMachine", vm_paths), folder, datacenter, vapp];
        let objects = self.all_properties(&wanted).await?;
        let (vms, ancestors): (Vec<_>, Vec<_>) =
            objects.into_iter().partition(|object| object.moref.kind == "VirtualMachine");
        Ok((self.tree_of(ancestors), vms))
    }

    fn tree_of(&self, ancestors: Vec<Object>) -> Tree {
        let entities = ancestors.into_iter().map(|object| {
            let parent = object.moref("parentFolder").or_else(|| object.moref("parent"));
            (object.moref.clone(), Entity { name: object.text("name").to_owned(), parent })
        });
        Tree { root: self.root_folder.clone(), entities: entities.collect() }
    }
}

struct Entity {
    name: String,
    parent: Option<Moref>,
}

struct Tree {
    root: Moref,
    entities: HashMap<Moref, Entity>,
}

/// Joins names to a path, as the vSphere client shows them.
fn shown(names: &[&str]) -> String {
    names.iter().map(|name| decode_name(name)).collect::<Vec<_>>().join("/")
}

impl Tree {
    /// The names from below the root down to an object; `None` if the login may not see a parent.
    fn names(&self, of: &Moref) -> Option<Vec<&str>> {
        let mut names = Vec::new();
        let mut next = of;
        while *next != self.root {
            let entity = self.entities.get(next).filter(|_| names.len() < DEEPEST)?;
            names.push(entity.name.as_str());
            next = entity.parent.as_ref()?;
        }
        names.reverse();
        Some(names)
    }

    /// Follows the parents up to the root. A VM inside a vApp has no `parent`, only a `parentVApp`.
    fn place(&self, vm: &Object) -> InventoryLocation {
        let mut names = vec![vm.text("name")];
        let mut datacenter = None;
        let mut above = vm.moref("parent").or_else(|| vm.moref("parentVApp"));
        while let Some(moref) = above.take().filter(|_| names.len() < DEEPEST) {
            if moref == self.root {
                names.reverse();
                return InventoryLocation {
                    path: Some(format!("/{}", names.join("/"))),
                    datacenter,
                };
            }
            let Some(entity) = self.entities.get(&moref) else { break };
            if moref.kind == "Datacenter" {
                datacenter = Some(decode_name(&entity.name));
            }
            names.push(&entity.name);
            above.clone_from(&entity.parent);
        }
        InventoryLocation { path: None, datacenter }
    }
}

fn summary(vm: &Object, place: InventoryLocation) -> VmSummary {
    let hardware = vm.get("config.hardware");
    let capacities: Option<Vec<u64>> = hardware.map(|hardware| {
        hardware.all("device").filter(|d| d.is("VirtualDisk")).map(hardware::capacity).collect()
    });
    VmSummary {
        name: decode_name(vm.text("name")),
        path: place.path,
        moref: vm.moref.id.clone(),
        power: hardware::power_state(vm.text("runtime.powerState")),
        cpu: hardware.and_then(|hardware| hardware.number("numCPU")),
        memory_mib: hardware.and_then(|hardware| hardware.number("memoryMB")),
        guest: vm.get("config.guestFullName").map(|node| node.text.clone()),
        disks: capacities.as_ref().map(Vec::len),
        size: capacities.map(|all| all.into_iter().map(ByteSize).sum::<ByteSize>().0),
        attributes: attributes(vm),
        tags: Vec::new(),
    }
}

/// The custom attributes by their names, which are in `availableField` (vim25, `CustomFieldDef`).
fn attributes(vm: &Object) -> BTreeMap<String, String> {
    let Some((fields, values)) = vm.get("availableField").zip(vm.get("customValue")) else {
        return BTreeMap::new();
    };
    let named = |value: &Node| {
        let key = value.text_of("key");
        let field = fields.children.iter().find(|field| field.text_of("key") == key)?;
        Some((field.text_of("name").to_owned(), value.text_of("value").to_owned()))
    };
    values.children.iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Listed<'a> = (&'a str, &'a str, &'a str, Option<(&'a str, &'a str)>);

    fn tree(entities: &[Listed<'_>]) -> Tree {
        let entity = |(kind, id, name, parent): &Listed<'_>| {
            let parent = parent.map(|(kind, id)| Moref::new(kind, id));
            (Moref::new(kind, id), Entity { name: (*name).to_owned(), parent })
        };
        Tree { root: Moref::new("Folder", "root"), entities: entities.iter().map(entity).collect() }
    }

    fn vm(parent: &str, kind: &str, id: &str) -> Object {
        let xml = format!(
            "<objects><obj type=\"VirtualMachine\">vm-1</obj>\
             <propSet><name>name</name><val>web01</val></propSet>\
             <propSet><name>{parent}</name><val type=\"{kind}\">{id}</val></propSet></objects>"
        );
        Object::read(&Node::parse(&xml).expect("well-formed")).expect("an object")
    }

    #[test]
    fn a_vm_in_a_vapp_has_a_path() {
        let tree = tree(&[
            ("Datacenter", "dc", "Main%2fOld", Some(("Folder", "root"))),
            ("Folder", "vms", "vm", Some(("Datacenter", "dc"))),
            ("VirtualApp", "app", "Shop", Some(("Folder", "vms"))),
        ]);
        let place = tree.place(&vm("parentVApp", "VirtualApp", "app"));
        assert_eq!(place.path.as_deref(), Some("/Main%2fOld/vm/Shop/web01"));
        assert_eq!(place.datacenter.as_deref(), Some("Main/Old"));
    }

    #[test]
    fn a_folder_that_may_not_be_seen_leaves_no_path() {
        let place = tree(&[]).place(&vm("parent", "Folder", "hidden"));
        assert_eq!(place, InventoryLocation::default());
    }

    #[test]
    fn folders_inside_each_other_end() {
        let tree = tree(&[
            ("Folder", "a", "a", Some(("Folder", "b"))),
            ("Folder", "b", "b", Some(("Folder", "a"))),
        ]);
        assert_eq!(tree.place(&vm("parent", "Folder", "a")).path, None);
    }
}
