//! The end of a migration: the guest is up. Never beside its source: two machines of one address
//! harm each other and everybody who talks to them.

use super::job::{Job, Target};
use super::stages::{Ledger, Stopped};
use crate::libvirt;
use crate::model::{PowerState, Stage, chain};

/// Starts the domain of a run that was just defined. The source is asked again: hours may have
/// passed since it was found powered off.
pub async fn after_run(job: &Job, target: &Target, ledger: &mut Ledger<'_>) {
    let Some(start) = &target.start else { return };
    let id = ledger.report.vm_id.clone().unwrap_or_else(|| job.vm.clone());
    let allowed = start.allow_running_source;
    let power = async {
        match allowed {
            true => Ok(PowerState::Off),
            false => source_power(job, &id).await,
        }
    };
    begin(target, ledger, power).await;
}

/// Starts the domain of `define`, whose source was in the state `power` when it was exported.
pub async fn after_define(target: &Target, power: PowerState, ledger: &mut Ledger<'_>) {
    begin(target, ledger, async { Ok(power) }).await;
}

/// Refuses a start beside a source that was running when it was exported.
///
/// # Errors
/// [`Stopped`].
pub fn check(target: &Target, power: PowerState) -> Result<(), Stopped> {
    match &target.start {
        Some(start) if !start.allow_running_source => refuse_running(power, Stage::Preflight),
        _ => Ok(()),
    }
}

async fn begin(
    target: &Target,
    ledger: &mut Ledger<'_>,
    power: impl Future<Output = Result<PowerState, Stopped>>,
) {
    let (Some(start), Some(domain)) = (&target.start, ledger.report.domain.clone()) else { return };
    let (progress, cancel) = (ledger.progress, ledger.cancel);
    let work = async {
        let power = power.await?;
        if !start.allow_running_source {
            refuse_running(power, Stage::Start)?;
        }
        progress.note(format!("starting {}: waiting until it {}", domain.name, start.wait.sign));
        let stopped = |error: libvirt::Error| Stopped::new(Stage::Start, &error, error.hint());
        let connection = target.connections.open(&target.settings).await.map_err(stopped)?;
        connection.start(&domain, &start.wait, cancel).await.map_err(stopped)
    };
    let seen = ledger.stage(Stage::Start, work).await;
    if let Some(domain) = &mut ledger.report.domain {
        domain.started = seen;
    }
}

fn refuse_running(power: PowerState, stage: Stage) -> Result<(), Stopped> {
    if power == PowerState::Off {
        return Ok(());
    }
    let message = match power {
        PowerState::On => "the source VM is powered on",
        _ => "the source VM may be powered on",
    };
    Err(Stopped::because(
        stage,
        format!("{message}: both would answer to the same addresses"),
        "power the source off, or start the domain beside it with --allow-running-source",
    ))
}

/// Over a session of its own: that of the export has ended by now.
async fn source_power(job: &Job, id: &str) -> Result<PowerState, Stopped> {
    let stopped = |error: super::source::Error| Stopped::new(Stage::Start, &error, error.hint());
    let source = job.source.open().await.map_err(stopped)?;
    let power = source.power(id).await;
    if let Err(error) = source.close().await {
        tracing::warn!(error = chain(&error), "log out");
    }
    power.map_err(stopped)
}
