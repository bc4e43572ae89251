//! Powering a VM off, only on request, and on again: a service must not be down on both sides.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::soap::args::{Args, Moref};
use super::super::soap::session::VSphere;
use super::super::soap::tasks::pause;
use super::hardware::power_state;
use crate::exporter::{Error, Shutdown};
use crate::model::{PowerState, PoweredOff, SourceVm};
use crate::progress::Progress;

/// Longest time that powering off may take; it needs no guest.
const POWER_OFF_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest time that powering on may take; the guest may boot for longer. A question of the host
/// about the VM makes it wait without an end.
const POWER_ON_TIMEOUT: Duration = Duration::from_secs(120);

impl VSphere {
    /// Shuts the guest of `vm` down and waits until the VM is off. Where no VMware Tools run, or
    /// the guest takes longer than [`Shutdown::timeout`], the power is cut if [`Shutdown::force`]
    /// says so. `None` when the VM was off already.
    ///
    /// # Errors
    /// [`Error::NoTools`] and [`Error::StillOn`], which leave the VM on; [`Error::Task`] when the
    /// server refuses or fails to; [`Error::Cancelled`].
    pub async fn power_off(
        &self,
        vm: &SourceVm,
        how: Shutdown,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<Option<PoweredOff>, Error> {
        self.in_session(async || self.power_off_once(vm, how, progress, cancel).await).await
    }

    async fn power_off_once(
        &self,
        vm: &SourceVm,
        how: Shutdown,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<Option<PoweredOff>, Error> {
        let moref = Moref::new("VirtualMachine", &vm.id);
        if self.power_of(&moref).await? != PowerState::On {
            return Ok(None);
        }
        let name = || vm.name.clone();
        let why = if self.shut_down(&moref, &vm.name, progress).await? {
            let deadline = Instant::now() + how.timeout;
            while Instant::now() < deadline {
                if self.power_of(&moref).await? == PowerState::Off {
                    return Ok(Some(PoweredOff::Shutdown));
                }
                pause(cancel).await?;
            }
            Error::StillOn { vm: name(), after: how.timeout }
        } else {
            Error::NoTools { vm: name() }
        };
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if !how.force {
            return Err(why);
        }
        progress.note(format!("{why}: cutting its power"));
        self.cut_power(&moref, &vm.name, cancel).await?;
        Ok(Some(PoweredOff::Cut))
    }

    /// Powers `vm` on, unless the VM is on. Waits for a server that restarts, and for the end of a
    /// lease or a task of the VM, as long as a transfer would.
    ///
    /// # Errors
    /// [`Error::Task`] when the server refuses or fails to, [`Error::TimedOut`].
    pub async fn power_on(&self, vm: &SourceVm, progress: &Progress) -> Result<(), Error> {
        let mut pauses = self.settings.retry.of_server().pauses();
        let attempt = async || self.power_on_once(vm).await;
        while let Err(error) = self.in_session(attempt).await {
            let may_pass = error.is_loss() || is_busy(&error);
            let Some(pause) = pauses.next().filter(|_| may_pass) else { return Err(error) };
            let seconds = pause.as_secs_f64();
            progress.note(format!("{error}; powering {} on again in {seconds:.1} s", vm.name));
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    async fn power_on_once(&self, vm: &SourceVm) -> Result<(), Error> {
        let moref = Moref::new("VirtualMachine", &vm.id);
        if self.power_of(&moref).await? == PowerState::On {
            return Ok(());
        }
        let action = format!("powering on {}", vm.name);
        let end = async {
            let task = self.start_task("PowerOnVM_Task", &moref, Args::default(), &action).await?;
            let never = CancellationToken::new();
            self.end_of_task(&task, &action, POWER_ON_TIMEOUT, &never).await
        };
        match end.await {
            // Somebody else was faster.
            Err(Error::Task { source, .. }) if source.is("InvalidPowerState") => Ok(()),
            end => end.map(drop),
        }
    }

    /// Asks the guest to shut down; false when no VMware Tools run that could.
    async fn shut_down(
        &self,
        moref: &Moref,
        name: &str,
        progress: &Progress,
    ) -> Result<bool, Error> {
        progress.note(format!("shutting down the guest of {name}"));
        match self.soap.call("ShutdownGuest", moref, Args::default()).await {
            Ok(_) => Ok(true),
            // It went down by itself in between: the wait sees that.
            Err(Error::Refused { source, .. }) if source.is("InvalidPowerState") => Ok(true),
            Err(Error::Refused { source, .. }) if source.is("ToolsUnavailable") => Ok(false),
            Err(Error::Refused { source, .. }) => {
                Err(Error::Task { action: format!("shutting the guest of {name} down"), source })
            }
            Err(error) => Err(error),
        }
    }

    async fn cut_power(
        &self,
        moref: &Moref,
        name: &str,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        let action = format!("powering off {name}");
        let end = async {
            let task = self.start_task("PowerOffVM_Task", moref, Args::default(), &action).await?;
            self.end_of_task(&task, &action, POWER_OFF_TIMEOUT, cancel).await
        };
        match end.await {
            // Somebody else was faster.
            Err(Error::Task { source, .. }) if source.is("InvalidPowerState") => Ok(()),
            end => end.map(drop),
        }
    }

    async fn power_of(&self, moref: &Moref) -> Result<PowerState, Error> {
        let object = self.properties(moref, &["runtime.powerState"]).await?;
        Ok(power_state(object.text("runtime.powerState")))
    }
}

/// Whether the VM is busy: a lease or a task of it is about to end.
fn is_busy(error: &Error) -> bool {
    matches!(error, Error::Task { source, .. } if source.is("TaskInProgress"))
}
