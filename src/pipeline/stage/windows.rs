//! Checks of Windows guests and their drivers, before anything changes.

use serde::Serialize;

use super::super::job::Job;
use super::stage_error::StageError;
use crate::convert::{self, Foretold, WindowsDrivers, WindowsSources};
use crate::domain;
use crate::model::{OsFamily, SourceVm, Stage};

/// The guest as far as its source describes it.
pub fn foretold(vm: &SourceVm) -> Foretold {
    Foretold {
        family: vm.guest.family,
        windows: domain::windows_ids(&vm.guest),
        arch: vm.arch.clone(),
    }
}

/// Rejects a `--virtio-win` without drivers, whatever the guest is: the next one may be Windows.
///
/// # Errors
/// [`StageError`] with the code `virtio-win-unusable`.
pub async fn check(job: &Job) -> Result<(), StageError> {
    let Some(settings) = &job.conversion else { return Ok(()) };
    convert::check_sources(&settings.windows)
        .await
        .map_err(|error| StageError::of(Stage::Preflight, &error).coded("virtio-win-unusable"))
}

/// virtio drivers that were found for a Windows guest.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WindowsFound {
    /// Summary line as people read it.
    #[serde(skip)]
    pub line: String,
    /// Drivers that were found, and where.
    #[serde(flatten)]
    pub drivers: WindowsDrivers,
}

/// Finds the drivers for a guest; `None` if the guest is not Windows.
pub async fn drivers(vm: &SourceVm, sources: &WindowsSources) -> Option<WindowsFound> {
    let guest = foretold(vm);
    if guest.family != OsFamily::Windows {
        return None;
    }
    let drivers = convert::drivers_for(sources, &guest).await;
    Some(WindowsFound { line: drivers.line(&guest), drivers })
}
