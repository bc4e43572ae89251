//! Everything that a migration needs, examined before there is one.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::model::{Check, Health, chain};
use crate::{convert, libvirt};

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    /// Which libvirt was examined.
    pub uri: String,
    /// Whether everything is there that every migration needs.
    pub ok: bool,
    /// One by one.
    pub checks: Vec<Check>,
}

/// Examines a libvirt and this machine. Changes nothing.
pub async fn examine(
    (target, default_pool): (&libvirt::Settings, &libvirt::DefaultPool),
    conversion: &convert::Settings,
    cancel: &CancellationToken,
) -> Diagnosis {
    let mut checks = match examined(target, default_pool).await {
        Ok(checks) => checks,
        Err(error) => vec![Check::failed("libvirt", chain(&error), error.hint())],
    };
    checks.extend(convert::examine(conversion, cancel).await);
    let ok = checks.iter().all(|check| check.health != Health::Failed);
    Diagnosis { uri: target.uri.clone(), ok, checks }
}

async fn examined(
    target: &libvirt::Settings,
    default_pool: &libvirt::DefaultPool,
) -> Result<Vec<Check>, libvirt::Error> {
    libvirt::Connection::connect(target).await?.examine(default_pool).await
}
