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
use crate::model::{ConvertedDisks, SourceVm, Stage, Warning, chain};

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

/// Asks. A libvirt host that cannot be reached now may be there later, and only the warning says so, unless
/// the run does something that is in vain, or harm, without a domain. One that answers and says no will
/// say no later, too.
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
    judged(asked, (job, target), ready)
}

/// Removes what is in the way and may go. Nothing refuses the run any more by then.
///
/// # Errors
/// [`Stopped`] when a volume cannot be compared or removed.
pub async fn clear(
    job: &Job,
    ready: &Ready,
    cancel: &CancellationToken,
) -> Result<Vec<Warning>, Stopped> {
    let Some(target) = &job.target else { return Ok(Vec::new()) };
    if ready.going.is_empty() || job.is_dry() {
        return Ok(Vec::new());
    }
    let name = &ready.vm.name;
    let cleared = kept_domain::clear(target, &ready.output, name, (false, cancel)).await;
    let cleared = cleared.map_err(|failed| match failed {
        Failed::Refused(stopped) => stopped,
        Failed::Libvirt(error) => Stopped::new(Stage::Preflight, &error, error.hint()),
    })?;
    if let Some(stays) = cleared.left.first() {
        let hint = "remove it, or give another --libvirt-name";
        return Err(Stopped::because(Stage::Preflight, format!("{stays} is in the way"), hint));
    }
    let removed = cleared.done.into_iter().map(|what| {
        let text = format!("removed {what}, which its domain has left as it was made");
        Warning::new(Stage::Preflight, "taken-back", text)
    });
    Ok(removed.collect())
}

fn judged(
    asked: Result<(), Failed>,
    (job, target): (&Job, &Target),
    ready: &mut Ready,
) -> Result<(), Stopped> {
    match asked {
        Ok(()) => Ok(()),
        Err(Failed::Refused(stopped)) => Err(stopped),
        Err(Failed::Libvirt(error)) if target::is_unreachable(&error) => {
            if let Some(flag) = needs_domain(job, target) {
                let text = format!("{flag} needs the libvirt of the domain: {}", chain(&error));
                let hint = error.hint().map_or_else(String::new, |hint| format!("{hint}; "));
                let hint = format!("{hint}or leave {flag} out, and define the domain later");
                let stopped = Stopped::because(Stage::Preflight, text, hint);
                return Err(stopped.coded("libvirt-unreachable"));
            }
            let text = with_hint(&error, error.hint());
            ready.warnings.push(Warning::new(Stage::Preflight, "libvirt-unreachable", text));
            Ok(())
        }
        Err(Failed::Libvirt(error)) => Err(Stopped::new(Stage::Preflight, &error, error.hint())),
    }
}

/// The flag that makes no sense without a domain at the end of the run.
fn needs_domain(job: &Job, target: &Target) -> Option<&'static str> {
    [
        ("--power-off", job.power_off.is_some()),
        ("--libvirt-start", target.start.is_some()),
        ("--replace", target.replace.is_some()),
        ("--strict", job.strict),
    ]
    .into_iter()
    .find_map(|(flag, given)| given.then_some(flag))
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
    ready.going = in_the_way.would_go;
    let disks = disks(job, ready);
    let asked = (job.dry_run, ready.going.as_slice());
    ready.warnings.extend(target::preflight(target, &ready.vm, &disks, asked).await?);
    if job.dry_run {
        ready.preview = Some(target::preview(target, &ready.vm, &disks).await?);
    }
    Ok(())
}

/// The disks as they are, or as a conversion will leave them.
fn disks(job: &Job, ready: &Ready) -> ConvertedDisks {
    let media = match &ready.earlier {
        Earlier::Export(kept) => kept.media.as_slice(),
        _ => &[],
    };
    if let Earlier::Export(kept) = &ready.earlier
        && let Converted::Kept(kept) = &kept.converted
    {
        return target::with_media(&kept.disks, media);
    }
    let fixes = job.conversion.as_ref().is_some_and(|settings| settings.stages.fix);
    let (vm, output) = (&ready.vm, &ready.output);
    let paths = convert::result_paths(&vm.into(), output);
    let disks = target::expected_disks(vm, (&paths, seed(job, vm, output)), fixes);
    target::with_media(&disks, media)
}
