//! Powers a VM off, only on request, and on again: a service must not be down on both hosts.

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

/// Timeout of powering off, which needs no guest.
const POWER_OFF_TIMEOUT: Duration = Duration::from_secs(120);
/// Timeout of powering on; the guest may take longer to boot. A question about the VM on its host
/// would otherwise block the call indefinitely.
const POWER_ON_TIMEOUT: Duration = Duration::from_secs(120);

impl VSphere {
    /// Shuts the guest of `vm` down, and waits until the VM is off. If VMware Tools are not
    /// running, or the guest exceeds [`Shutdown::timeout`], the VM is powered off hard if
    /// [`Shutdown::force`] is set. `None` if the VM was off already.
    ///
    /// # Errors
    /// [`Error::NoTools`] and [`Error::StillOn`], which leave the VM on; [`Error::Task`] when the
    /// server rejects the task or fails; [`Error::Cancelled`].
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

    /// Powers `vm` on, unless it is on. Waits for a restarting server, and for the end of a lease
    /// or a task of the VM, as long as the retries of a transfer.
    ///
    /// # Errors
    /// [`Error::Task`] when the server rejects the task or fails, [`Error::TimedOut`].
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
            // Another user has powered the VM on in the meantime.
            Err(Error::Task { source, .. }) if source.is("InvalidPowerState") => Ok(()),
            end => end.map(drop),
        }
    }

    /// Asks the guest to shut down; false if VMware Tools are not running.
    async fn shut_down(
        &self,
        moref: &Moref,
        name: &str,
        progress: &Progress,
    ) -> Result<bool, Error> {
        progress.note(format!("shutting down the guest of {name}"));
        match self.soap.call("ShutdownGuest", moref, Args::default()).await {
            Ok(_) => Ok(true),
            // The guest has shut down in the meantime, which the wait detects.
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
            // The VM was powered off in the meantime.
            Err(Error::Task { source, .. }) if source.is("InvalidPowerState") => Ok(()),
            end => end.map(drop),
        }
    }

    async fn power_of(&self, moref: &Moref) -> Result<PowerState, Error> {
        let object = self.properties(moref, &["runtime.powerState"]).await?;
        Ok(power_state(object.text("runtime.powerState")))
    }
}

/// Whether the VM is busy: a lease or a task on it is about to end.
fn is_busy(error: &Error) -> bool {
    matches!(error, Error::Task { source, .. } if source.is("TaskInProgress"))
}
