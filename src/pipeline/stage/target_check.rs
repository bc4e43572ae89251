//! Checks of the target in preflight: whether it accepts the VM, or already has its domain.

use tokio_util::sync::CancellationToken;

use super::super::job::{ImportSettings, Job};
use super::super::output::in_use::InUse;
use super::super::output::records::Record;
use super::kept_domain::{self, Failed};
use super::ready::{ReadyRun, RunDetails, seed, with_hint};
use super::stage_error::{At, StageError};
use super::{recovery, target};
use crate::convert;
use crate::model::{ConvertedDisks, Hint, SourceVm, Stage, Warning, WarningCode, chain};
use crate::pipeline::output::reuse::{PreviousConversion, PreviousRun};

/// The run that defined the requested domain, if the domain exists. `None` if the host cannot be
/// reached.
pub async fn domain<'a>(job: &Job, vm: &SourceVm, records: &'a [Record]) -> Option<&'a Record> {
    let target = job.target.as_ref()?;
    kept_domain::standing(target, records, &vm.name).await.unwrap_or_default()
}

/// Checks the target. An unreachable libvirt host is only a warning, since it may be reachable
/// later, unless the run is useless or harmful without a domain. A host that answers with an error
/// stops the run.
///
/// # Errors
/// [`StageError`] with the first failed check.
pub async fn check(
    job: &Job,
    target: &ImportSettings,
    ready: &mut ReadyRun,
    told: &RunDetails,
    cancel: &CancellationToken,
) -> Result<(), StageError> {
    let asked = ask(job, target, ready, told, cancel).await;
    judged(asked, job, target, ready)
}

/// Removes obstacles that may be removed, after all checks have passed.
///
/// # Errors
/// [`StageError`] when a volume cannot be compared or removed.
pub async fn clear(
    job: &Job,
    ready: &ReadyRun,
    cancel: &CancellationToken,
) -> Result<Vec<Warning>, StageError> {
    let Some(target) = &job.target else { return Ok(Vec::new()) };
    if ready.going.is_empty() || job.is_dry() {
        return Ok(Vec::new());
    }
    let name = &ready.vm.name;
    let cleared = kept_domain::clear(target, &ready.records, name, false, cancel).await;
    let cleared = cleared.at(Stage::Preflight)?;
    if let Some(stays) = cleared.left.first() {
        let hint = "remove it, or pass another --libvirt-name";
        return Err(StageError::because(Stage::Preflight, format!("{stays} is in the way"), hint));
    }
    let removed = cleared.done.into_iter().map(|what| {
        let text = format!("removed {what}, which its domain has left unchanged");
        Warning::new(Stage::Preflight, recovery::TAKEN_BACK, text)
    });
    Ok(removed.collect())
}

fn judged(
    asked: Result<(), Failed>,
    job: &Job,
    target: &ImportSettings,
    ready: &mut ReadyRun,
) -> Result<(), StageError> {
    match asked {
        Ok(()) => Ok(()),
        Err(Failed::Refused(stopped)) => Err(stopped),
        Err(Failed::Libvirt(error)) if target::is_unreachable(&error) => {
            if let Some(flag) = needs_domain(job, target) {
                let text = format!("{flag} needs the libvirt of the domain: {}", chain(&error));
                let hint = error.hint().map_or_else(String::new, |hint| format!("{hint}; "));
                let hint = match flag {
                    STRICT => format!("{hint}or export now, and define the domain later"),
                    flag => format!("{hint}or leave {flag} out, and define the domain later"),
                };
                let stopped = StageError::because(Stage::Preflight, text, hint);
                return Err(stopped.coded("libvirt-unreachable"));
            }
            let text = with_hint(&error, error.hint());
            ready.warnings.push(Warning::new(
                Stage::Preflight,
                WarningCode::LibvirtUnreachable,
                text,
            ));
            Ok(())
        }
        Err(Failed::Libvirt(error)) => Err(StageError::of(Stage::Preflight, &error)),
    }
}

/// Name of a run whose failed stages set the exit code: `--strict`, or the verb `migrate`.
const STRICT: &str = "a strict run (migrate, --strict)";

/// The flag that makes no sense without a domain at the end of the run.
fn needs_domain(job: &Job, target: &ImportSettings) -> Option<&'static str> {
    [
        ("--power-off", job.power_off.is_some()),
        ("--libvirt-start", target.start.is_some()),
        ("--replace", target.replace.is_some()),
        (STRICT, job.strict),
    ]
    .into_iter()
    .find_map(|(flag, given)| given.then_some(flag))
}

async fn ask(
    job: &Job,
    target: &ImportSettings,
    ready: &mut ReadyRun,
    told: &RunDetails,
    cancel: &CancellationToken,
) -> Result<(), Failed> {
    let recovery = recovery::first(&ready.output, target, job.dry_run, told).await?;
    ready.first = recovery.plan;
    if let Some(record) = recovery.kept {
        ready.records.insert(0, record);
        still_free(ready)?;
    }
    let (output, name) = (&ready.output, &ready.vm.name);
    if let PreviousRun::Export(kept) = &ready.earlier
        && !matches!(kept.converted, PreviousConversion::Again(_))
    {
        ready.domain = kept_domain::find(target, output, &ready.records, name, kept).await?;
        if ready.domain.is_some() {
            return Ok(());
        }
    }
    let in_the_way = kept_domain::clear(target, &ready.records, name, true, cancel).await?;
    ready.going = in_the_way.would_go;
    let disks = disks(job, ready);
    let asked = target::TargetRequest {
        dry_run: job.dry_run,
        going: &ready.going,
        undone: &recovery.undone,
    };
    ready.warnings.extend(target::preflight(target, &ready.vm, &disks, asked).await?);
    if job.dry_run {
        let undone = &recovery.undone;
        ready.preview = Some(target::preview(target, &ready.vm, &disks, undone).await?);
    }
    Ok(())
}

/// Refuses to replace a file that the domain of a killed run uses.
fn still_free(ready: &ReadyRun) -> Result<(), StageError> {
    let PreviousRun::Replaced(names) = &ready.earlier else { return Ok(()) };
    let (output, in_use) = (&ready.output, InUse::of(&ready.records, &ready.output)?);
    names.iter().try_for_each(|name| in_use.refuse(&output.join(name), output))
}

/// The disks as they are, or as a conversion will leave them.
fn disks(job: &Job, ready: &ReadyRun) -> ConvertedDisks {
    let kept = match &ready.earlier {
        PreviousRun::Export(kept) => Some(kept),
        PreviousRun::Nothing | PreviousRun::Replaced(_) => None,
    };
    if let Some(kept) = kept
        && let PreviousConversion::Kept(conversion) = &kept.converted
    {
        return target::with_media(&conversion.disks, &kept.media);
    }
    let fixes = job.conversion.as_ref().is_some_and(|settings| settings.stages.fix);
    let (vm, output) = (&ready.vm, &ready.output);
    let paths = convert::result_paths(&vm.into(), output);
    let disks = target::expected_disks(vm, &paths, seed(job, vm, output), fixes);
    match kept {
        Some(kept) => target::with_media(&disks, &kept.media),
        None => target::with_expected_media(&disks, &ready.media, output),
    }
}
