//! Steps on a VM after its successful migration. Each step is first planned, which is read-only,
//! then done. A step is undone only while the VM is as the step has left it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::inventory::inventory_names::{decode_name, encode_name};
use super::super::soap::args::{Args, Moref};
use super::super::soap::node::Node;
use super::super::soap::properties::Object;
use super::super::soap::session::VSphere;
use crate::exporter::Error;
use crate::model::{PowerState, SourceAfter, SourceStep, SourceVm};

/// Maximum time of a step: no step moves data.
const TASK_TIMEOUT: Duration = Duration::from_secs(300);
/// Maximum length of a VM name, in characters (vim25 reference, `VirtualMachineConfigSpec.name`).
const LONGEST_NAME: usize = 80;
/// Properties that the steps depend on.
const PROPERTIES: [&str; 5] =
    ["name", "parent", "config.annotation", "config.hardware", "runtime.powerState"];

impl VSphere {
    /// The step that `wanted` requires in the current state of the VM; `None` if nothing has to be
    /// done. `note` is the line for the VM's annotation. Read-only.
    ///
    /// # Errors
    /// [`Error::CannotFollow`] when the step cannot be done.
    pub async fn plan_step(
        &self,
        vm: &SourceVm,
        wanted: &SourceAfter,
        note: &str,
    ) -> Result<Option<SourceStep>, Error> {
        self.in_session(async || self.plan_step_once(vm, wanted, note).await).await
    }

    async fn plan_step_once(
        &self,
        vm: &SourceVm,
        wanted: &SourceAfter,
        note: &str,
    ) -> Result<Option<SourceStep>, Error> {
        let cannot = |reason: String| Error::CannotFollow { step: wanted.to_string(), reason };
        let now = self.of_steps(vm).await?;
        Ok(match wanted {
            SourceAfter::DisconnectNics => {
                let cards: Vec<_> =
                    cards(&now).map(|card| card.text_of("key").to_owned()).collect();
                (!cards.is_empty()).then_some(SourceStep::DisconnectNics { cards })
            }
            SourceAfter::Rename(suffix) => {
                let from = decode_name(now.text("name"));
                let to = format!("{from}{suffix}");
                if encode_name(&to).chars().count() > LONGEST_NAME {
                    return Err(cannot(format!("'{to}' is longer than {LONGEST_NAME} characters")));
                }
                (!from.ends_with(suffix)).then_some(SourceStep::Rename { from, to })
            }
            SourceAfter::Folder(path) => {
                let to = self.find_folder(path, vm.datacenter.as_deref()).await?;
                let to = to.ok_or_else(|| cannot("no such folder of VMs exists".to_owned()))?;
                let from = now.moref("parent").filter(|parent| parent.kind == "Folder");
                let from = from.ok_or_else(|| cannot("the VM is in no folder".to_owned()))?;
                let (path, is_there) = (path.clone(), from == to);
                (!is_there).then_some(SourceStep::Move { path, from: from.id, to: to.id })
            }
            SourceAfter::Tag { category, name } => {
                let found = self.find_tag(&vm.id, category, name).await?;
                let found =
                    found.ok_or_else(|| cannot("no such tag exists in vCenter".to_owned()))?;
                let name = format!("{category}/{name}");
                (!found.attached).then_some(SourceStep::Tag { name, tag: found.id })
            }
            SourceAfter::Note => SourceStep::note(now.text("config.annotation"), note),
        })
    }

    /// Executes a step on the VM.
    ///
    /// # Errors
    /// [`Error::Task`] when the server rejects the step or fails.
    pub async fn do_step(&self, vm: &SourceVm, step: &SourceStep) -> Result<(), Error> {
        self.in_session(async || match step {
            SourceStep::DisconnectNics { cards } => self.connect_cards(vm, cards, false).await,
            SourceStep::Rename { to, .. } => self.rename(vm, to).await,
            SourceStep::Move { to, .. } => self.move_into(vm, to).await,
            SourceStep::Tag { tag, .. } => self.attach(&vm.id, tag, true).await,
            SourceStep::Note { after, .. } => self.annotate(vm, after).await,
        })
        .await
    }

    /// Undoes a step, unless the VM was changed since; false if nothing was undone.
    ///
    /// # Errors
    /// [`Error::Task`] when the server rejects the step or fails.
    pub async fn undo_step(&self, vm: &SourceVm, step: &SourceStep) -> Result<bool, Error> {
        self.in_session(async || self.undo_step_once(vm, step).await).await
    }

    async fn undo_step_once(&self, vm: &SourceVm, step: &SourceStep) -> Result<bool, Error> {
        let now = self.of_steps(vm).await?;
        let is_as_left = match step {
            SourceStep::DisconnectNics { .. } | SourceStep::Tag { .. } => true,
            SourceStep::Rename { to, .. } => decode_name(now.text("name")) == *to,
            SourceStep::Move { to, .. } => now.moref("parent").is_some_and(|now| now.id == *to),
            SourceStep::Note { after, .. } => now.text("config.annotation") == after,
        };
        if !is_as_left {
            return Ok(false);
        }
        match step {
            SourceStep::DisconnectNics { cards } => self.connect_cards(vm, cards, true).await?,
            SourceStep::Rename { from, .. } => self.rename(vm, from).await?,
            SourceStep::Move { from, .. } => self.move_into(vm, from).await?,
            SourceStep::Tag { tag, .. } => self.attach(&vm.id, tag, false).await?,
            SourceStep::Note { before, .. } => self.annotate(vm, before).await?,
        }
        Ok(true)
    }

    async fn of_steps(&self, vm: &SourceVm) -> Result<Object, Error> {
        self.properties(&Moref::new("VirtualMachine", &vm.id), &PROPERTIES).await
    }

    /// Sets whether cards are connected when the VM starts. A device is sent back completely, as it
    /// was read: the server may treat omitted properties as unset.
    async fn connect_cards(&self, vm: &SourceVm, keys: &[String], on: bool) -> Result<(), Error> {
        let now = self.of_steps(vm).await?;
        let runs = super::hardware::power_state(now.text("runtime.powerState")) == PowerState::On;
        let devices = now.get("config.hardware").into_iter().flat_map(|all| all.all("device"));
        let mut spec = Args::default();
        for card in devices.filter(|card| keys.iter().any(|key| key == card.text_of("key"))) {
            let mut card = card.clone();
            set(&mut card, "startConnected", on);
            set(&mut card, "connected", on && runs);
            let change = Args::default().text("operation", "edit").node("device", &card);
            spec = spec.nested("deviceChange", change);
        }
        self.reconfigure(vm, spec, "changing the network cards").await
    }

    async fn annotate(&self, vm: &SourceVm, text: &str) -> Result<(), Error> {
        self.reconfigure(vm, Args::default().text("annotation", text), "changing the notes").await
    }

    async fn reconfigure(&self, vm: &SourceVm, spec: Args, verb: &str) -> Result<(), Error> {
        let action = format!("{verb} of {}", vm.name);
        let of = Moref::new("VirtualMachine", &vm.id);
        self.whole_task("ReconfigVM_Task", &of, Args::default().nested("spec", spec), &action).await
    }

    async fn rename(&self, vm: &SourceVm, name: &str) -> Result<(), Error> {
        let action = format!("renaming {} to '{name}'", vm.name);
        let args = Args::default().text("newName", &encode_name(name));
        self.whole_task("Rename_Task", &Moref::new("VirtualMachine", &vm.id), args, &action).await
    }

    async fn move_into(&self, vm: &SourceVm, folder: &str) -> Result<(), Error> {
        let action = format!("moving {} to another folder", vm.name);
        let args = Args::default().moref("list", &Moref::new("VirtualMachine", &vm.id));
        self.whole_task("MoveIntoFolder_Task", &Moref::new("Folder", folder), args, &action).await
    }

    /// Runs a task from its start to its end, even if the run is interrupted.
    async fn whole_task(
        &self,
        method: &'static str,
        of: &Moref,
        args: Args,
        action: &str,
    ) -> Result<(), Error> {
        let task = self.start_task(method, of, args, action).await?;
        let never = CancellationToken::new();
        self.end_of_task(&task, action, TASK_TIMEOUT, &never).await.map(drop)
    }
}

/// The network cards that are connected when the VM starts.
fn cards(now: &Object) -> impl Iterator<Item = &Node> {
    let devices = now.get("config.hardware").into_iter().flat_map(|all| all.all("device"));
    devices.filter(|device| {
        let connectable = device.child("connectable");
        device.child("macAddress").is_some()
            && connectable.is_some_and(|connectable| connectable.flag("startConnected"))
    })
}

/// Sets a flag in a device's `connectable`, which every card has.
fn set(card: &mut Node, flag: &str, on: bool) {
    let connectable = card.children.iter_mut().find(|child| child.name == "connectable");
    let flag = connectable.and_then(|all| all.children.iter_mut().find(|one| one.name == flag));
    if let Some(flag) = flag {
        flag.text = if on { "true" } else { "false" }.to_owned();
    }
}
