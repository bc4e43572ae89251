//! Privileges of the login on a VM and its datastores, from the server's `AuthorizationManager`.

use std::collections::HashSet;

use super::super::soap::args::{Args, Moref};
use super::super::soap::node::Node;
use super::super::soap::session::VSphere;
use super::inventory_names::decode_name;
use crate::exporter::{Error, Need, On, Privilege};
use crate::model::SourceVm;

const FETCH: &str = "FetchUserPrivilegeOnEntities";

/// Privileges of the login. Objects that were not queried grant nothing.
#[derive(Debug, Clone, Default)]
pub struct Granted {
    objects: Vec<GrantedObject>,
}

#[derive(Debug, Clone)]
struct GrantedObject {
    on: On,
    /// Name for messages: `web01`, `datastore ssd1`.
    name: String,
    privileges: HashSet<String>,
}

impl Granted {
    /// The privileges that an operation needs and the login lacks, each with its object:
    /// `VApp.Export on web01`.
    pub fn lacks(&self, need: Need) -> Vec<String> {
        let of_line = |line: Privilege| {
            let objects = self.objects.iter().filter(move |object| object.on == line.on);
            let lacking = objects.filter(move |object| !object.privileges.contains(line.id));
            lacking.map(move |object| format!("{} on {}", line.id, object.name))
        };
        need.privileges().flat_map(of_line).collect()
    }
}

impl VSphere {
    /// The privileges of the login on `vm`, its datastores, and the folder that the VM will be
    /// moved to. `None` if the server does not provide them: an old ESXi host, or a login that may
    /// not query them.
    ///
    /// # Errors
    /// Errors of the connection and the server.
    pub async fn granted(
        &self,
        vm: &SourceVm,
        folder: Option<&str>,
    ) -> Result<Option<Granted>, Error> {
        self.in_session(async || self.granted_once(vm, folder).await).await
    }

    async fn granted_once(
        &self,
        vm: &SourceVm,
        folder: Option<&str>,
    ) -> Result<Option<Granted>, Error> {
        let Some(manager) = &self.authorization_manager else { return Ok(None) };
        let session = self.properties(&self.session_manager, &["currentSession"]).await?;
        // The server's spelling, such as `VSPHERE.LOCAL\Administrator`, which may differ from the
        // typed one.
        let user = session.get("currentSession").map_or("", |session| session.text_of("userName"));
        let user = if user.is_empty() { self.settings.username.as_str() } else { user };
        let moref = Moref::new("VirtualMachine", &vm.id);
        let object = self.properties(&moref, &["datastore"]).await?;
        let mut asked = vec![(On::Vm, vm.name.clone(), moref)];
        let datastores = object.get("datastore").map_or(&[][..], |list| list.children.as_slice());
        for datastore in datastores.iter().filter_map(Node::moref) {
            let named = self.properties(&datastore, &["name"]).await?;
            let name = decode_name(named.text("name"));
            let name = if name.is_empty() { datastore.id.clone() } else { name };
            asked.push((On::Datastore, format!("datastore {name}"), datastore));
        }
        if let Some(path) = folder {
            let found = self.find_folder(path, vm.datacenter.as_deref()).await?;
            asked.extend(found.map(|found| (On::Folder, format!("folder {path}"), found)));
        }
        let mut granted = Granted::default();
        for (on, name, moref) in asked {
            let Some(privileges) = self.privileges_on(manager, user, &moref).await? else {
                return Ok(None);
            };
            granted.objects.push(GrantedObject { on, name, privileges });
        }
        Ok(Some(granted))
    }

    async fn privileges_on(
        &self,
        manager: &Moref,
        user: &str,
        entity: &Moref,
    ) -> Result<Option<HashSet<String>>, Error> {
        let args = Args::default().moref("entities", entity).text("userName", user);
        match self.soap.read(FETCH, manager, args).await {
            Ok(reply) => {
                let results = reply.all("returnval");
                let told = results.flat_map(|result| result.all("privileges"));
                Ok(Some(told.map(|privilege| privilege.text.trim().to_owned()).collect()))
            }
            Err(error @ (Error::Refused { .. } | Error::Reply { .. } | Error::Status { .. })) => {
                tracing::debug!(%error, "asking for privileges");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
