//! What preflight asks of the target: whether it will take the VM, or has its domain already.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::converted::Converted;
use super::earlier::Earlier;
use super::job::{Job, Target};
use super::kept_domain::{self, Failed};
use super::preflight::{Ready, seed, with_hint};
use super::stages::Stopped;
use super::{later, target};
use crate::convert;
use crate::libvirt::Error;
use crate::model::{ConvertedDisks, SourceVm, Stage, Warning};

/// Whether the domain that is asked for is there, defined by a run into `output`, and stays. A host that
/// cannot be asked now does not say so.
///
/// # Errors
/// [`Stopped`] when a record cannot be read.
pub async fn has_domain(job: &Job, vm: &SourceVm, output: &Path) -> Result<bool, Stopped> {
    let Some(target) = &job.target else { return Ok(false) };
    if target.replace.as_ref() == Some(&target.domain_name(&vm.name)) {
        return Ok(false);
    }
    match kept_domain::is_there(target, output, &vm.name).await {
        Ok(there) => Ok(there),
        Err(Failed::Libvirt(_)) => Ok(false),
        Err(Failed::Refused(stopped)) => Err(stopped),
    }
}

/// Asks. A libvirt host that cannot be reached now may be there later; one that answers and says no
/// will say no later, too.
///
/// # Errors
/// [`Stopped`] with what the host refuses.
pub async fn check(
    job: &Job,
    target: &Target,
    ready: &mut Ready,
    cancel: &CancellationToken,
) -> Result<(), Stopped> {
    let asked = ask(job, target, ready, cancel).await;
    judged(asked, ready)
}

/// Removes what is in the way and may go, once nothing else refuses the run; then the host is asked
/// again, which may have stopped at that before.
///
/// # Errors
/// [`Stopped`] with what the host refuses.
pub async fn clear(
    job: &Job,
    target: &Target,
    ready: &mut Ready,
    cancel: &CancellationToken,
) -> Result<(), Stopped> {
    if job.dry_run || ready.domain.is_some() {
        return Ok(());
    }
    let cleared = cleared(job, target, ready, cancel).await;
    judged(cleared, ready)
}

async fn cleared(
    job: &Job,
    target: &Target,
    ready: &mut Ready,
    cancel: &CancellationToken,
) -> Result<(), Failed> {
    let name = &ready.vm.name;
    let cleared = kept_domain::clear(target, &ready.output, name, (false, cancel)).await?;
    if cleared.done.is_empty() {
        return Ok(());
    }
    ready.warnings.extend(cleared.done.into_iter().map(|what| {
        let text = format!("removed {what}, which its domain has left as it was made");
        Warning::new(Stage::Preflight, "taken-back", text)
    }));
    let disks = disks(job, ready);
    ready.warnings.extend(target::preflight(target, &ready.vm, &disks, false).await?);
    Ok(())
}

fn judged(asked: Result<(), Failed>, ready: &mut Ready) -> Result<(), Stopped> {
    match asked {
        Ok(()) => Ok(()),
        Err(Failed::Refused(stopped)) => Err(stopped),
        Err(Failed::Libvirt(error)) if target::is_unreachable(&error) => {
            let text = with_hint(&error, error.hint());
            ready.warnings.push(Warning::new(Stage::Preflight, "libvirt-unreachable", text));
            Ok(())
        }
        Err(Failed::Libvirt(error)) => Err(Stopped::new(Stage::Preflight, &error, error.hint())),
    }
}

async fn ask(
    job: &Job,
    target: &Target,
    ready: &mut Ready,
    cancel: &CancellationToken,
) -> Result<(), Failed> {
    let output = &ready.output;
    if !job.dry_run {
        ready.warnings.extend(later::recover(output, target).await?);
    }
    if let Earlier::Export(kept) = &ready.earlier
        && !matches!(kept.converted, Converted::Again(_))
    {
        ready.domain = kept_domain::find(target, output, &ready.vm.name, kept).await?;
        if ready.domain.is_some() {
            return Ok(());
        }
    }
    let in_the_way = kept_domain::clear(target, output, &ready.vm.name, (true, cancel)).await?;
    let disks = disks(job, ready);
    match target::preflight(target, &ready.vm, &disks, job.dry_run).await {
        Ok(more) => ready.warnings.extend(more),
        // It goes before the run begins.
        Err(Error::VolumeExists { name, .. }) if in_the_way.would_go.contains(&name) => {}
        Err(error) => return Err(error.into()),
    }
    if job.dry_run {
        ready.preview = Some(target::preview(target, &ready.vm, &disks).await?);
    }
    Ok(())
}

/// The disks as they are, or as a conversion will leave them.
fn disks(job: &Job, ready: &Ready) -> ConvertedDisks {
    if let Earlier::Export(kept) = &ready.earlier
        && let Converted::Kept(kept) = &kept.converted
    {
        return kept.disks.clone();
    }
    let fixes = job.conversion.as_ref().is_some_and(|settings| settings.stages.fix);
    let (vm, output) = (&ready.vm, &ready.output);
    let paths = convert::result_paths(&vm.into(), output);
    target::expected_disks(vm, (&paths, seed(job, vm, output)), fixes)
}
