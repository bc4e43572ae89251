//! Powering a VM off, the only change ever made to a source VM, and only on request.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::args::{Args, Moref};
use super::hardware::power_state;
use super::session::VSphere;
use super::tasks::pause;
use crate::exporter::Error;
use crate::model::{PowerState, SourceVm};
use crate::progress::Progress;

/// Longest time that powering off may take; it needs no guest.
const POWER_OFF_TIMEOUT: Duration = Duration::from_secs(120);

impl VSphere {
    /// Shuts the guest of `vm` down if VMware Tools run in it, waits up to `shutdown_timeout` for
    /// that, and then powers the VM off if it is still on. A VM that is off stays so.
    ///
    /// # Errors
    /// [`Error::Task`] when the server refuses or fails to, [`Error::Cancelled`].
    pub async fn power_off(
        &self,
        vm: &SourceVm,
        shutdown_timeout: Duration,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        self.in_session(async || self.power_off_once(vm, shutdown_timeout, progress, cancel).await)
            .await
    }

    async fn power_off_once(
        &self,
        vm: &SourceVm,
        shutdown_timeout: Duration,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        let moref = Moref::new("VirtualMachine", &vm.id);
        if self.power_of(&moref).await? != PowerState::On {
            return Ok(());
        }
        if self.shut_down(&moref, &vm.name, progress).await? {
            let deadline = Instant::now() + shutdown_timeout;
            while Instant::now() < deadline {
                if self.power_of(&moref).await? == PowerState::Off {
                    return Ok(());
                }
                pause(cancel).await?;
            }
            let limit = humantime::format_duration(shutdown_timeout);
            progress.note(format!("{} did not shut down within {limit}", vm.name));
        }
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        progress.note(format!("power {} off", vm.name));
        self.cut_power(&moref, &vm.name, cancel).await
    }

    /// Asks the guest to shut down; false when no VMware Tools run that could.
    async fn shut_down(
        &self,
        moref: &Moref,
        name: &str,
        progress: &Progress,
    ) -> Result<bool, Error> {
        progress.note(format!("shut the guest of {name} down"));
        match self.soap.call("ShutdownGuest", moref, Args::default()).await {
            Ok(_) => Ok(true),
            // It went down by itself in between: the wait sees that.
            Err(Error::Refused { source, .. }) if source.is("InvalidPowerState") => Ok(true),
            Err(Error::Refused { source, .. }) if source.is("ToolsUnavailable") => {
                progress.note(format!("no VMware Tools run in {name}"));
                Ok(false)
            }
            Err(Error::Refused { source, .. }) => {
                Err(Error::Task { action: format!("shut the guest of {name} down"), source })
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
        let action = format!("power off {name}");
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
