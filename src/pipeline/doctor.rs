//! Everything that a migration needs, examined before there is one.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::exporter::source::SourceSettings;
use crate::model::{Check, Health, Hint, chain};
use crate::{convert, libvirt};

/// What was found.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Diagnosis {
    /// Which libvirt was examined.
    pub uri: String,
    /// Whether everything is there that every migration needs.
    pub ok: bool,
    /// One by one.
    pub checks: Vec<Check>,
}

/// Examines a libvirt, this machine, and the source if there is one. Changes nothing.
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

/// Logs in, or opens what is there, and lists the VMs.
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
