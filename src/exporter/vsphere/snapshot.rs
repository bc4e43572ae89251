//! Our own snapshot of a running VM: taken for an export, and exactly that one removed again. It is
//! told from others by its name alone, which the caller notes before there is a snapshot, so that
//! even a killed run's is found.

use std::time::Duration;

use tokio::time::Instant;

use super::args::{Args, Moref};
use super::node::Node;
use super::session::{VSphere, lacks};
use super::soap::localized_fault;
use crate::exporter::{Error, Fault, Quiesce, SnapshotRequest};
use crate::model::{SourceVm, Stage, Warning};
use crate::progress::Progress;

const DESCRIPTION: &str = "taken by hyperexport for an export, which removes it at its end";
/// Longest time that taking or removing one may take: removing merges all that was written since.
const TASK_TIMEOUT: Duration = Duration::from_secs(3600);
/// Time between two looks at a task.
const POLL: Duration = Duration::from_millis(500);

/// A snapshot that was taken, and how.
pub(super) struct Taken {
    pub(super) moref: Moref,
    pub(super) warnings: Vec<Warning>,
}

impl VSphere {
    /// Takes the snapshot. It is waited for even when the run is cancelled, since it could not be
    /// removed before it is there.
    pub(super) async fn take_snapshot(
        &self,
        vm: &SourceVm,
        request: &SnapshotRequest,
        progress: &Progress,
    ) -> Result<Taken, Error> {
        progress.note(format!("take the snapshot {} of {}", request.name, vm.name));
        let not_quiesced = |why: &str| {
            let message = format!(
                "{} was not brought to rest for the snapshot ({why}): its disks are as after a \
                 power failure",
                vm.name
            );
            vec![Warning::new(Stage::Export, "not-quiesced", message)]
        };
        if request.quiesce == Quiesce::No {
            let moref = self.snapshot(vm, &request.name, false).await?;
            return Ok(Taken { moref, warnings: not_quiesced("--quiesce no") });
        }
        match self.snapshot(vm, &request.name, true).await {
            Ok(moref) => Ok(Taken { moref, warnings: Vec::new() }),
            Err(Error::Task { source, .. } | Error::Refused { source, .. })
                if request.quiesce == Quiesce::Try && is_of_quiescing(&source) =>
            {
                progress.note(format!("the guest cannot be brought to rest: {source}"));
                let moref = self.snapshot(vm, &request.name, false).await?;
                Ok(Taken { moref, warnings: not_quiesced(&source.to_string()) })
            }
            Err(error) => Err(error),
        }
    }

    /// Removes the snapshots of `vm` that have these names, each alone; those of others stay.
    ///
    /// # Errors
    /// [`Error::Task`] when the server refuses or fails to, or what happened on the way.
    pub async fn remove_snapshots(
        &self,
        vm: &SourceVm,
        names: &[String],
        progress: &Progress,
    ) -> Result<(), Error> {
        for name in names {
            self.in_session(async || {
                let Some(snapshot) = self.find_snapshot(vm, name).await? else { return Ok(()) };
                progress.note(format!("remove the snapshot {name} of {}", vm.name));
                let args =
                    Args::default().text("removeChildren", "false").text("consolidate", "true");
                let action = format!("remove the snapshot {name} of {}", vm.name);
                self.task("RemoveSnapshot_Task", &snapshot, args, action).await.map(drop)
            })
            .await?;
        }
        Ok(())
    }

    /// Takes a snapshot, or finds the one that was taken when the answer to that was lost.
    async fn snapshot(&self, vm: &SourceVm, name: &str, quiesce: bool) -> Result<Moref, Error> {
        let take = async || {
            let args = Args::default()
                .text("name", name)
                .text("description", DESCRIPTION)
                .text("memory", "false")
                .text("quiesce", if quiesce { "true" } else { "false" });
            let action = format!("take a snapshot of {}", vm.name);
            let of = Moref::new("VirtualMachine", &vm.id);
            self.task("CreateSnapshot_Task", &of, args, action).await
        };
        let taken = match take().await {
            Err(error) if error.is_loss() => {
                self.renew().await?;
                match self.find_snapshot(vm, name).await? {
                    Some(found) => Some(found),
                    None => take().await?,
                }
            }
            end => end?,
        };
        taken.ok_or_else(|| lacks("CreateSnapshot_Task", "result"))
    }

    /// Starts a task, waits for its end and returns what it made.
    async fn task(
        &self,
        method: &'static str,
        of: &Moref,
        args: Args,
        action: String,
    ) -> Result<Option<Moref>, Error> {
        let reply = match self.soap.call(method, of, args).await {
            Err(Error::Refused { source, .. }) => return Err(Error::Task { action, source }),
            reply => reply?,
        };
        let task = reply.child("returnval").and_then(Node::moref);
        let task = task.ok_or_else(|| lacks(method, "returnval"))?;
        let deadline = Instant::now() + TASK_TIMEOUT;
        while Instant::now() < deadline {
            let paths = ["info.state", "info.error", "info.result"];
            let object = self.properties(&task, &paths).await?;
            match object.text("info.state") {
                "success" => return Ok(object.moref("info.result")),
                "error" => {
                    let none = Node::default();
                    let source = localized_fault(object.get("info.error").unwrap_or(&none));
                    return Err(Error::Task { action, source });
                }
                _ => tokio::time::sleep(POLL).await,
            }
        }
        Err(Error::TimedOut { action, after: TASK_TIMEOUT })
    }

    async fn find_snapshot(&self, vm: &SourceVm, name: &str) -> Result<Option<Moref>, Error> {
        let moref = Moref::new("VirtualMachine", &vm.id);
        let object = self.properties(&moref, &["snapshot"]).await?;
        Ok(object.get("snapshot").and_then(|info| find(info, "rootSnapshotList", name)))
    }
}

/// Looks for a name in a snapshot tree, below the elements `list` of `node`.
fn find(node: &Node, list: &str, name: &str) -> Option<Moref> {
    node.all(list).find_map(|tree| {
        let here = (tree.text_of("name").trim() == name)
            .then(|| tree.child("snapshot").and_then(Node::moref))
            .flatten();
        here.or_else(|| find(tree, "childSnapshotList", name))
    })
}

/// Whether a snapshot failed for the guest's sake, so that one without it may succeed.
fn is_of_quiescing(fault: &Fault) -> bool {
    ["ApplicationQuiesceFault", "FilesystemQuiesceFault", "ToolsUnavailable", "SnapshotFault"]
        .iter()
        .any(|kind| fault.is(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_found_by_its_whole_name_at_any_depth() {
        let tree = |name: &str, id: &str, below: &str| {
            format!(
                "<snapshot type=\"VirtualMachineSnapshot\">{id}</snapshot><name>{name}</name>{below}"
            )
        };
        let below = format!("<childSnapshotList>{}</childSnapshotList>", tree("ours-1", "s-2", ""));
        let other = tree("ours-10", "s-3", "");
        let xml = format!(
            "<val><rootSnapshotList>{}</rootSnapshotList><rootSnapshotList>{other}\
             </rootSnapshotList></val>",
            tree("before the update", "s-1", &below)
        );
        let info = Node::parse(&xml).expect("well-formed");
        let found = |name| find(&info, "rootSnapshotList", name).map(|moref| moref.id);
        assert_eq!(found("ours-1").as_deref(), Some("s-2"));
        assert_eq!(found("ours-10").as_deref(), Some("s-3"));
        assert_eq!(found("ours"), None);
    }
}
