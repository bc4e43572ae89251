//! Checks all prerequisites of a migration.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::exporter::source::SourceSettings;
use crate::model::{Check, Health, Hint, chain};
use crate::{convert, libvirt};

/// Result of `hyperexport doctor`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Diagnosis {
    /// Connection URI of the libvirt that was checked.
    pub uri: String,
    /// Whether all checks that every migration needs have passed.
    pub ok: bool,
    /// Results of the single checks.
    pub checks: Vec<Check>,
}

/// Checks a libvirt, this machine, and the source if one is passed. Changes nothing.
pub async fn examine(
    target: &libvirt::Settings,
    asked: &libvirt::Examined,
    conversion: &convert::Settings,
    source: Option<&SourceSettings>,
    cancel: &CancellationToken,
) -> Diagnosis {
    let mut checks = match examined(target, asked).await {
        Ok(checks) => checks,
        Err(error) => vec![Check::failed("libvirt", chain(&error), error.hint())],
    };
    if let Some(source) = source {
        let asked = cancel.run_until_cancelled(of_source(source)).await;
        checks.extend(asked);
    }
    checks.extend(convert::examine(conversion, cancel).await);
    let ok = checks.iter().all(|check| check.health != Health::Failed);
    Diagnosis { uri: target.uri.clone(), ok, checks }
}

/// Logs in, or opens the files, and lists the VMs.
async fn of_source(settings: &SourceSettings) -> Check {
    const NAME: &str = "source";
    let listed = async {
        let source = settings.open().await?;
        let vms = source.list().await;
        source.leave().await;
        vms
    };
    match listed.await {
        Ok(vms) if vms.is_empty() => {
            let remedy =
                "check whether the login may see VMs: `hyperexport role` prints the privileges";
            Check::warning(NAME, "it can be reached, and shows no VM", remedy)
        }
        Ok(vms) => Check::ok(NAME, format!("it can be reached, and shows {} VMs", vms.len())),
        Err(error) => Check::failed(NAME, chain(&error), error.hint()),
    }
}

async fn examined(
    target: &libvirt::Settings,
    asked: &libvirt::Examined,
) -> Result<Vec<Check>, libvirt::Error> {
    libvirt::Connection::connect(target).await?.examine(asked).await
}
