//! Temporary snapshot of a running VM: taken for an export, and removed afterwards. The snapshot is
//! only identified by its name. The caller records the name before the snapshot exists, so that a
//! snapshot of an interrupted run is found, too; a snapshot that is still being taken is awaited.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::soap::args::{Args, Moref};
use super::super::soap::node::Node;
use super::super::soap::session::{VSphere, lacks};
use crate::exporter::{Error, Fault, Quiesce, SNAPSHOT_PREFIX, SnapshotRequest};
use crate::model::{SourceVm, Stage, Warning, WarningCode};
use crate::progress::{Control, Progress};

/// Property with the roots of a VM's snapshot trees.
const ROOTS: &str = "rootSnapshotList";
const DESCRIPTION: &str = "taken by hyperexport for an export, which removes it at its end";
/// Timeout of taking or removing a snapshot: removing merges all blocks written since.
const TASK_TIMEOUT: Duration = Duration::from_secs(3600);

/// A snapshot that was taken, with its warnings.
pub(in crate::exporter::vsphere) struct TakenSnapshot {
    pub(in crate::exporter::vsphere) moref: Moref,
    pub(in crate::exporter::vsphere) warnings: Vec<Warning>,
}

impl VSphere {
    /// Takes the snapshot. Waits for it even when the run is cancelled, since it cannot be removed
    /// before it exists.
    pub(in crate::exporter::vsphere) async fn take_snapshot(
        &self,
        vm: &SourceVm,
        request: &SnapshotRequest,
        control: Control<'_>,
    ) -> Result<TakenSnapshot, Error> {
        let progress = control.progress;
        progress.note(format!("taking the snapshot {} of {}", request.name, vm.name));
        let not_quiesced = |why: &str| {
            let message = format!(
                "{} was not brought to rest for the snapshot ({why}): its disks are as after a \
                 power failure",
                vm.name
            );
            vec![Warning::new(Stage::Export, WarningCode::NotQuiesced, message)]
        };
        let goes_on = match request.quiesce {
            Quiesce::No => Some("--quiesce no"),
            Quiesce::Try if request.tools == Some(false) => Some("no VMware Tools run in it"),
            Quiesce::Try | Quiesce::Yes => None,
        };
        if let Some(why) = goes_on {
            let moref = self.snapshot(vm, &request.name, false, control).await?;
            return Ok(TakenSnapshot { moref, warnings: not_quiesced(why) });
        }
        match self.snapshot(vm, &request.name, true, control).await {
            Ok(moref) => Ok(TakenSnapshot { moref, warnings: Vec::new() }),
            Err(Error::Task { source, .. } | Error::Refused { source, .. })
                if request.quiesce == Quiesce::Try && is_of_quiescing(&source) =>
            {
                progress.note(format!("the guest cannot be brought to rest: {source}"));
                let moref = self.snapshot(vm, &request.name, false, control).await?;
                Ok(TakenSnapshot { moref, warnings: not_quiesced(&source.to_string()) })
            }
            Err(error) => Err(error),
        }
    }

    /// Removes the snapshots of `vm` with these names, without their children; other snapshots
    /// stay. Waits for a restarting server: a forgotten snapshot grows as long as the VM runs.
    ///
    /// # Errors
    /// [`Error::Task`] when the server rejects the task or fails; errors of the connection.
    pub async fn remove_snapshots(
        &self,
        vm: &SourceVm,
        names: &[String],
        progress: &Progress,
    ) -> Result<(), Error> {
        for name in names {
            let mut pauses = self.settings.retry.of_server().pauses();
            let remove = async || self.remove_snapshot(vm, name, progress).await;
            while let Err(error) = self.in_session(remove).await {
                let Some(pause) = pauses.next().filter(|_| error.is_loss()) else {
                    return Err(error);
                };
                let seconds = pause.as_secs_f64();
                progress.note(format!("{error}; the snapshot {name} again in {seconds:.1} s"));
                tokio::time::sleep(pause).await;
            }
        }
        Ok(())
    }

    async fn remove_snapshot(
        &self,
        vm: &SourceVm,
        name: &str,
        progress: &Progress,
    ) -> Result<(), Error> {
        self.settle(vm, progress).await?;
        for snapshot in self.find_snapshots(vm, name).await? {
            let action = format!("removing the snapshot {name} of {}", vm.name);
            progress.note(action.clone());
            let args = Args::default().text("removeChildren", "false").text("consolidate", "true");
            self.snapshot_task("RemoveSnapshot_Task", &snapshot, args, &action).await?;
        }
        Ok(())
    }

    /// Takes a snapshot, or finds the existing one if the reply was lost. Waits for a restarting
    /// server.
    async fn snapshot(
        &self,
        vm: &SourceVm,
        name: &str,
        quiesce: bool,
        Control { progress, cancel }: Control<'_>,
    ) -> Result<Moref, Error> {
        let mut pauses = self.settings.retry.of_server().pauses();
        let mut lost = false;
        loop {
            let attempt = async {
                if lost {
                    self.renew().await?;
                    self.settle(vm, progress).await?;
                    if let Some(found) = self.find_snapshots(vm, name).await?.pop() {
                        return Ok(found);
                    }
                }
                self.create_snapshot(vm, name, quiesce).await
            };
            let error = match attempt.await {
                Err(error) if error.is_loss() && !cancel.is_cancelled() => error,
                end => return end,
            };
            let Some(pause) = pauses.next() else { return Err(error) };
            let seconds = pause.as_secs_f64();
            progress.note(format!("{error}; the snapshot {name} again in {seconds:.1} s"));
            tokio::select! {
                () = cancel.cancelled() => return Err(error),
                () = tokio::time::sleep(pause) => lost = true,
            }
        }
    }

    async fn create_snapshot(
        &self,
        vm: &SourceVm,
        name: &str,
        quiesce: bool,
    ) -> Result<Moref, Error> {
        const METHOD: &str = "CreateSnapshot_Task";
        let args = Args::default()
            .text("name", name)
            .text("description", DESCRIPTION)
            .text("memory", "false")
            .text("quiesce", if quiesce { "true" } else { "false" });
        let action = format!("taking a snapshot of {}", vm.name);
        let of = Moref::new("VirtualMachine", &vm.id);
        let taken = self.snapshot_task(METHOD, &of, args, &action).await?;
        taken.ok_or_else(|| lacks(METHOD, "result"))
    }

    /// Runs a snapshot task to its end, even if the run is cancelled.
    async fn snapshot_task(
        &self,
        method: &'static str,
        of: &Moref,
        args: Args,
        action: &str,
    ) -> Result<Option<Moref>, Error> {
        let task = self.start_task(method, of, args, action).await?;
        self.end_of_task(&task, action, TASK_TIMEOUT, &CancellationToken::new()).await
    }

    /// Waits until no snapshot of `vm` is being taken or removed: the task of an interrupted run,
    /// or of a lost reply, may still be running and not be listed yet.
    async fn settle(&self, vm: &SourceVm, progress: &Progress) -> Result<(), Error> {
        const RECENT: &str = "recentTask";
        let object = self.properties(&Moref::new("VirtualMachine", &vm.id), &[RECENT]).await?;
        let recent = object.get(RECENT).map_or(&[][..], |list| list.children.as_slice());
        for task in recent.iter().filter_map(Node::moref) {
            match self.settled(&task, vm, progress).await {
                // The task has ended, successfully or not, or so long ago that the server has
                // forgotten it.
                Ok(()) | Err(Error::Task { .. } | Error::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn settled(&self, task: &Moref, vm: &SourceVm, progress: &Progress) -> Result<(), Error> {
        let object = self.properties(task, &["info.state", "info.name"]).await?;
        let is_under_way = matches!(object.text("info.state"), "queued" | "running");
        if !is_under_way || !object.text("info.name").contains("Snapshot") {
            return Ok(());
        }
        let action = format!("waiting for a snapshot of {} that is under way", vm.name);
        progress.note(action.clone());
        let never = CancellationToken::new();
        self.end_of_task(task, &action, TASK_TIMEOUT, &never).await.map(drop)
    }

    async fn find_snapshots(&self, vm: &SourceVm, name: &str) -> Result<Vec<Moref>, Error> {
        let moref = Moref::new("VirtualMachine", &vm.id);
        let object = self.properties(&moref, &["snapshot"]).await?;
        Ok(object.get("snapshot").map(|info| find(info, name)).unwrap_or_default())
    }
}

/// All snapshots of a tree, from the elements `list` of `node` downwards.
fn all<'a>(node: &'a Node, list: &'static str) -> Vec<&'a Node> {
    let below = |tree| [vec![tree], all(tree, "childSnapshotList")].concat();
    node.all(list).flat_map(below).collect()
}

/// Snapshots of that name in a `VirtualMachineSnapshotInfo`.
fn find(info: &Node, name: &str) -> Vec<Moref> {
    let named = all(info, ROOTS).into_iter().filter(|tree| tree.text_of("name").trim() == name);
    named.filter_map(|tree| tree.child("snapshot").and_then(Node::moref)).collect()
}

/// Names of the snapshots in `info` that runs of this program took.
pub(in crate::exporter::vsphere) fn of_ours(info: &Node) -> Vec<String> {
    let names = all(info, ROOTS).into_iter().map(|tree| tree.text_of("name").trim().to_owned());
    names.filter(|name| name.starts_with(SNAPSHOT_PREFIX)).collect()
}

/// Whether a snapshot failed because of quiescing, so that one without quiescing may succeed.
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
        let left =
            format!("<childSnapshotList>{}</childSnapshotList>", tree("hyperexport-1", "s-4", ""));
        let below =
            format!("<childSnapshotList>{}</childSnapshotList>", tree("ours-1", "s-2", &left));
        let other = tree("ours-10", "s-3", "");
        let xml = format!(
            "<val><rootSnapshotList>{}</rootSnapshotList><rootSnapshotList>{other}\
             </rootSnapshotList></val>",
            tree("before the update", "s-1", &below)
        );
        let info = Node::parse(&xml).expect("well-formed");
        let found =
            |name| -> Vec<_> { find(&info, name).into_iter().map(|moref| moref.id).collect() };
        assert_eq!(found("ours-1"), ["s-2"]);
        assert_eq!(found("ours-10"), ["s-3"]);
        assert_eq!(found("ours"), [""; 0]);
        assert_eq!(of_ours(&info), ["hyperexport-1"]);
    }
}
