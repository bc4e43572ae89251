//! What a Windows guest will get, told before anything changes.

use serde::Serialize;

use super::super::job::Job;
use super::stage_error::StageError;
use crate::convert::{self, Foretold, WindowsDrivers, WindowsSources};
use crate::domain;
use crate::model::{OsFamily, SourceVm, Stage};

/// The guest as far as its source tells it.
pub fn foretold(vm: &SourceVm) -> Foretold {
    Foretold {
        family: vm.guest.family,
        windows: domain::windows_ids(&vm.guest),
        arch: vm.arch.clone(),
    }
}

/// Refuses a `--virtio-win` that holds no drivers, whatever the guest is: the next one may be a
/// Windows.
///
/// # Errors
/// [`StageError`].
pub async fn check(job: &Job) -> Result<(), StageError> {
    let Some(settings) = &job.conversion else { return Ok(()) };
    convert::check_sources(&settings.windows)
        .await
        .map_err(|error| StageError::of(Stage::Preflight, &error).coded("virtio-win-unusable"))
}

/// The drivers of virtio that there are for a Windows.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WindowsFound {
    /// For people.
    #[serde(skip)]
    pub line: String,
    /// What there is.
    #[serde(flatten)]
    pub drivers: WindowsDrivers,
}

/// Looks for the drivers of a guest; none for what is no Windows.
pub async fn drivers(vm: &SourceVm, sources: &WindowsSources) -> Option<WindowsFound> {
    let guest = foretold(vm);
    if guest.family != OsFamily::Windows {
        return None;
    }
    let drivers = convert::drivers_for(sources, &guest).await;
    Some(WindowsFound { line: drivers.line(&guest), drivers })
}
