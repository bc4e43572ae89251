//! Powers the source VM on again: a VM that was powered off for its export is powered on if the run
//! does not succeed. Never while its domain is running or may be: two machines with the same
//! addresses would conflict.

use std::time::{Duration, Instant};

use super::super::job::{ComesBack, Job};
use super::super::output::held::{LockedOutput, identity};
use super::super::output::journal;
use super::super::output::made::Returned;
use super::super::output::output_lock::SwitchedOff;
use super::super::output::records::Record;
use super::super::output::report::{RunOutcome, RunReport};
use super::ready::ReadyRun;
use super::stage_runner::StageRunner;
use crate::exporter::source::{Error, Source};
use crate::libvirt::{Connections, Undo};
use crate::model::{
    PowerState, PoweredOff, SourceState, SourceVm, Stage, Warning, WarningCode, chain,
};
use crate::progress::Progress;

/// How long to wait for a guest that was still shutting down when the run ended.
const SHUTTING_DOWN: Duration = Duration::from_secs(60);
/// Interval between two checks of its power state.
const POLL: Duration = Duration::from_secs(1);

/// End of a run, as far as its source VM is concerned.
pub(in crate::pipeline) struct RunEnd {
    pub(in crate::pipeline) outcome: RunOutcome,
    /// Whether all steps of `--source-after` were done.
    pub(in crate::pipeline) followed: bool,
}

/// Powers the VM on that this run, or a killed run before, has powered off, if the outcome and the
/// flags require it. The result is printed and recorded in the report.
pub(in crate::pipeline) async fn settle(
    job: &Job,
    ready: &ReadyRun,
    held: &mut LockedOutput,
    RunEnd { outcome, followed }: RunEnd,
    ledger: &mut StageRunner<'_>,
) {
    let Some(owed) = held.claim.switched_off() else { return };
    if owed.vm != identity(&ready.vm) {
        ledger.warn(of_other(&owed));
        return;
    }
    if let Some(source) = &mut ledger.report.source {
        source.powered_off = source.powered_off.or(owed.how);
    }
    // After failed steps of `--source-after`, the VM must not run: its network cards may be
    // connected.
    let returned = match stays_off(job, outcome) || !followed {
        true => Returned::StaysOff,
        false => match may_run(job, ready, &ledger.report).await {
            Some(why) => {
                ledger.warn(beside_domain(&ready.vm.name, &why));
                Returned::DomainMayRun
            }
            None => bring_back(job, &ready.vm, &owed, ledger).await,
        },
    };
    if returned == Returned::On
        && let Err(error) = held.claim.switched_on()
    {
        tracing::debug!(%error, "recording that the VM is on");
    }
    // The next run tries again.
    held.claim.stays = returned == Returned::Failed;
    if let Some(source) = &mut ledger.report.source {
        source.returned = Some(returned);
    }
}

/// Warns of a VM that a killed run has left powered off, when this run is rejected and does not
/// power it on.
pub(in crate::pipeline) fn left_off(owed: &SwitchedOff) -> Warning {
    let name = &owed.name;
    let text = format!(
        "{name} was switched off by a killed run and stays off: the next run of this folder that \
         is not refused powers it on, or hyperexport undo --power-on-source does"
    );
    Warning::new(Stage::Preflight, WarningCode::SourceLeftOff, text)
}

/// Whether a run with this outcome leaves the VM off. A run without `--power-off` always powers on
/// a VM that a killed run has powered off.
fn stays_off(job: &Job, outcome: RunOutcome) -> bool {
    match job.comes_back {
        ComesBack::Never => true,
        ComesBack::Always => false,
        ComesBack::AfterFailure => outcome == RunOutcome::Done && job.power_off.is_some(),
    }
}

async fn bring_back(
    job: &Job,
    vm: &SourceVm,
    owed: &SwitchedOff,
    ledger: &mut StageRunner<'_>,
) -> Returned {
    let back = power_on(job, vm, owed.how, ledger.progress).await;
    let name = &vm.name;
    let warning = match back {
        Ok(Some(state)) => {
            if let Some(source) = &mut ledger.report.source {
                source.state = state;
                // A guest that went down only now has shut down by itself.
                source.powered_off.get_or_insert(PoweredOff::Shutdown);
            }
            return Returned::On;
        }
        Ok(None) => {
            let text = format!(
                "{name} was asked to shut down and still runs: its guest may shut down later; the \
                 next run of this folder then powers it on"
            );
            Warning::new(Stage::Export, WarningCode::SourceMayGoOff, text)
        }
        Err(error) => {
            let text = format!(
                "{name} is off and could not be powered on again: {}; power it on yourself, or run the \
                 same command again, which tries that, too",
                chain(&error)
            );
            Warning::new(Stage::Export, WarningCode::SourceLeftOff, text)
        }
    };
    ledger.warn(warning);
    Returned::Failed
}

/// Powers the VM on in a new session: that of the export has ended, perhaps with an error. Returns
/// the state of the VM; `None` if its guest is still shutting down.
async fn power_on(
    job: &Job,
    vm: &SourceVm,
    how: Option<PoweredOff>,
    progress: &Progress,
) -> Result<Option<SourceState>, Error> {
    let source = job.source.open().await?;
    let end = async {
        if how.is_none() && !has_gone_down(&source, vm, progress).await? {
            return Ok(None);
        }
        progress.note(format!("powering {} on again", vm.name));
        source.power_on(vm, progress).await?;
        source.state(vm).await.map(Some)
    };
    let end = end.await;
    source.leave().await;
    end
}

/// Waits for a guest that was asked to shut down and was not yet powered off.
async fn has_gone_down(source: &Source, vm: &SourceVm, progress: &Progress) -> Result<bool, Error> {
    let begun = Instant::now();
    let mut told = false;
    while source.state(vm).await?.power == PowerState::On {
        if begun.elapsed() > SHUTTING_DOWN {
            return Ok(false);
        }
        if !told {
            progress.note(format!("waiting until {} is down, to power it on again", vm.name));
            told = true;
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(true)
}

/// Describes, as a clause, the domain that runs or may run instead of the VM. Domains of this run,
/// of earlier runs of the directory and of an unfinished run count. An unreachable domain may run.
async fn may_run(job: &Job, ready: &ReadyRun, report: &RunReport) -> Option<String> {
    let kept = ready.domain.iter().map(|kept| &kept.domain);
    let own = report.domain.iter().chain(kept);
    let of_run = own.map(|domain| (domain.uri.clone(), domain.undo.clone()));
    let connections = job.target.as_ref().map(|target| target.connections.clone());
    let connections = connections.unwrap_or_default();
    let all = of_run.chain(of_folder(&report.output, &ready.records)).collect();
    domain_may_run(all, &connections).await
}

/// The undo steps of the domains of all runs of a directory, each with its libvirt URI.
pub(in crate::pipeline) fn of_folder(
    output: &std::path::Path,
    records: &[Record],
) -> Vec<(String, Vec<Undo>)> {
    let there = records.iter().filter(|record| !record.is_undone());
    let domains = there.filter_map(|record| record.report.domain.as_ref());
    let recorded = domains.map(|domain| (domain.uri.clone(), domain.undo.clone()));
    let pending = journal::pending(output).ok().flatten();
    recorded.chain(pending.map(|pending| (pending.uri, pending.steps))).collect()
}

/// Describes, as a clause, the first of these domains that runs or may run.
pub(in crate::pipeline) async fn domain_may_run(
    domains: Vec<(String, Vec<Undo>)>,
    connections: &Connections,
) -> Option<String> {
    for (uri, steps) in domains {
        let settings = journal::settings(&uri);
        let found = async { connections.open(&settings).await?.may_run(&steps).await };
        match found.await {
            Ok(None) => {}
            Ok(Some(name)) => {
                return Some(format!("domain '{name}' at {uri} runs, or starts with its host"));
            }
            Err(error) => {
                return Some(format!(
                    "whether its domain at {uri} runs is unknown: {}",
                    chain(&error)
                ));
            }
        }
    }
    None
}

fn beside_domain(name: &str, why: &str) -> Warning {
    let text =
        format!("{name} stays off: {why}; two machines with the same addresses would conflict");
    Warning::new(Stage::Export, WarningCode::SourceStaysOff, text)
}

fn of_other(owed: &SwitchedOff) -> Warning {
    let text = format!(
        "{} was switched off by a killed run of this folder and is another VM than that of this \
         run: power it on yourself",
        owed.name
    );
    Warning::new(Stage::Export, WarningCode::SourceLeftOff, text)
}
