//! Conversion by hyperexport itself: images are rewritten on all cores, the guest is fixed through
//! libguestfs.
//!
//! ```text
//! disk-0.vmdk ──CONVERT──▶ work/images/disk-0.qcow2 ──VALIDATE──▶ <vm>.qcow2
//!                                   ▲ commit, when all went well
//!                          work/out/disk-0.qcow2 ◀──FIX── guestfish, or virt-v2v-in-place
//! ```
//!
//! A FIX that fails does no damage: its overlay is removed, the converted disk stays unchanged, and
//! the domain is planned for hardware that the guest supports already.

mod attempt;
mod beginning;
mod bootable;
mod changes;
pub(super) mod customize;
mod devices;
mod evidence;
mod facts;
mod failure_reason;
mod fat;
pub(super) mod fix;
mod fix_list;
mod fixed_files;
mod guest_fix;
pub(super) mod guestfs;
mod guestfs_environment;
mod inspect;
mod lasting;
mod looking;
mod luks;
mod mounts;
mod operated;
mod overlays;
mod partitions;
#[cfg(test)]
mod played;
mod report;
mod systems;
mod transit;
mod treated;
pub(super) mod v2v;
mod validate;
mod windows;
mod work_image;

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use crate::budget::{Going, is_stop};
use crate::manifest::Disk;
use crate::model::{ConvertedDisks, DiskFormat, GuestFacts, SourceDisk, SourceVm, Warning};
use crate::panics;

use self::beginning::Beginning;
use self::guest_fix::GuestFix;
use self::report::{ConvertResult, ConverterStage, StageLog, ValidateResult};
use super::proof::Proofs;
use super::results::{FinishedImage, publish_all};
use super::tools::libguestfs_cleanup::GuestfsFolders;
use super::tools::qemu_img::{Image, NewQcow2};
use super::{Conversion, ConversionRun, Converter, Engine, Error, ReadyConversion};

pub(super) use self::fix::TOOLS;
pub(super) use self::fix_list::FixList;
pub(super) use self::operated::Operated;
pub use self::report::ReportedVolume;
#[cfg(test)]
pub(crate) use self::report::schema;
pub(super) use self::work_image::WorkImage;

/// Bytes of an image that are copied between two checks for cancellation.
const PIECE: u64 = 16 << 20;

/// Converts the disks of the run's manifest.
pub(super) async fn convert(
    run: &ConversionRun<'_>,
    ready: &ReadyConversion,
) -> Result<Conversion, Error> {
    let (mut stages, mut warnings) = (StageLog::default(), Vec::new());
    let begin = Instant::now();
    let disks = images(run).await?;
    let made = ConvertResult::of(disks.iter().map(|disk| disk.disk.id.clone()));
    stages.convert = ConverterStage::ended(begin.elapsed(), Ok(made));
    panics::point("pipeline");
    let proofs = Proofs::begin(run, disks.iter().map(WorkImage::converted));
    let fixes_guest = run.settings.stages.fix;
    let scope = FixScope { disks: &disks, proofs: Some(&proofs), fixes: fixes_guest };
    let inspected = inspect_and_fix(run, &ready.engine, scope, &mut stages, &mut warnings).await;
    let operated = match inspected {
        Ok(operated) => operated,
        Err(error) => {
            proofs.stop().await;
            return Err(error);
        }
    };
    let fixed = fixes_guest && operated.is_fixed();
    let Operated { facts, changes, failure, fixes } = operated;
    let proved = proofs.finish(disks.iter().map(WorkImage::converted)).await?;
    warnings.extend(fixes.warning());
    let proof = proved.with_files(Some(fixes.files), &mut warnings);
    let guest = examine(run, &disks, facts, &mut stages, &mut warnings).await?;
    let finished = disks.into_iter().map(|work| FinishedImage {
        id: work.disk.id.clone(),
        image: work.image,
        capacity: work.capacity,
        fixed,
    });
    let results = match run.settings.stages.convert {
        true => Some(publish(run, finished.collect(), ready).await?),
        false => None,
    };
    let durations = stages.durations();
    let proof = results.is_some().then_some(proof);
    let proved = results.as_ref().zip(proof.as_ref());
    let report = stages.report(&ready.converter, run.manifest, proved, &warnings);
    Ok(Conversion {
        proof,
        disks: results,
        plan: None,
        warnings,
        converter: ready.converter.clone(),
        guest: Some(guest),
        changes,
        report,
        durations,
        fix_failure: failure,
    })
}

/// The scope of INSPECT and FIX.
struct FixScope<'a> {
    disks: &'a [WorkImage<'a>],
    /// Notified of the blocks that FIX changes.
    proofs: Option<&'a Proofs>,
    /// Whether FIX may change the guest.
    fixes: bool,
}

/// Runs INSPECT and FIX as far as they are enabled.
async fn inspect_and_fix(
    run: &ConversionRun<'_>,
    engine: &Engine,
    FixScope { disks, proofs, fixes }: FixScope<'_>,
    stages: &mut StageLog,
    warnings: &mut Vec<Warning>,
) -> Result<Operated, Error> {
    if !run.settings.stages.inspect && !run.settings.stages.fix {
        return Ok(Operated::default());
    }
    let vm = with_boot_disk(run, disks).await?;
    let without_kvm = Cell::new(false);
    let surgery = GuestFix { run, vm, without_kvm, engine, disks, fixes, proofs };
    let before = GuestfsFolders::now();
    let operated = surgery.inspect_and_fix(stages, warnings).await;
    // An appliance that was killed leaves its sockets.
    before.remove_newer();
    operated
}

/// The VM with its boot disk. Where the source names none of several disks, the content of the
/// disks decides.
async fn with_boot_disk(
    run: &ConversionRun<'_>,
    disks: &[WorkImage<'_>],
) -> Result<SourceVm, Error> {
    let mut vm = run.manifest.source_vm();
    if !vm.assumed.boot_disk || disks.len() < 2 {
        return Ok(vm);
    }
    let mut starts = Vec::new();
    for work in disks {
        starts.push((work.disk.id.clone(), beginning(run, work).await?));
    }
    if let Some((id, _)) = bootable::boot_disk(&vm, &starts) {
        SourceDisk::boot_from(&mut vm.disks, id);
    }
    Ok(vm)
}

/// Reads the beginning of a disk.
async fn beginning(run: &ConversionRun<'_>, work: &WorkImage<'_>) -> Result<Beginning, Error> {
    let scratch = run.work.tmp().join("beginning");
    let image = Image { path: &work.image, format: DiskFormat::Qcow2 };
    validate::beginning(run.tools, image, &scratch).await
}

/// Runs VALIDATE, and reads the beginnings of the disks, which the plan needs whichever stages are
/// enabled.
async fn examine(
    run: &ConversionRun<'_>,
    disks: &[WorkImage<'_>],
    facts: Option<GuestFacts>,
    stages: &mut StageLog,
    warnings: &mut Vec<Warning>,
) -> Result<GuestFacts, Error> {
    let begin = Instant::now();
    let mut starts = Vec::new();
    for work in disks {
        if run.settings.stages.validate {
            validate::check(run.tools, &work.disk.id, &work.image, work.capacity).await?;
        }
        starts.push((work.disk.id.clone(), beginning(run, work).await?));
    }
    let guest = bootable::judge(&run.manifest.source_vm(), &starts, facts);
    if run.settings.stages.validate {
        warnings.extend(bootable::fault(&run.manifest.source_vm(), &starts, &guest));
        let passed = ValidateResult::passed(&starts);
        stages.validate = ConverterStage::ended(begin.elapsed(), Ok(passed));
    }
    Ok(guest)
}

/// Inspects disks that hyper2kvm has converted: their beginnings, and what the guest boots from.
/// Where hyperexport chose hyper2kvm, FIX adds what hyper2kvm leaves out: the network, the boot
/// loader and drivers. Where the user chose hyper2kvm, the guest is only read.
pub(super) async fn after(
    run: &ConversionRun<'_>,
    disks: &[WorkImage<'_>],
    warnings: &mut Vec<Warning>,
) -> Result<(Operated, GuestFacts), Error> {
    let (mut stages, wanted) = (StageLog::default(), run.settings.stages);
    let ours = run.settings.chosen() == Converter::Auto;
    let mut operated = match ours || wanted.fix {
        true => {
            let scope = FixScope { disks, proofs: None, fixes: ours && wanted.fix };
            inspect_and_fix(run, &Engine::Native, scope, &mut stages, warnings).await?
        }
        false => Operated::default(),
    };
    let is_read = operated.facts.as_ref().is_some_and(|facts| facts.drivers.is_some());
    if wanted.fix && is_read && operated.failure.is_none() {
        operated = operated::fit(operated);
    }
    let facts = operated.facts.take();
    let guest = examine(run, disks, facts.clone(), &mut stages, warnings).await?;
    operated.facts = facts;
    Ok((operated, guest))
}

/// Moves the images to the results' names, and removes the source paths of images that became
/// results.
async fn publish(
    run: &ConversionRun<'_>,
    finished: Vec<FinishedImage>,
    ready: &ReadyConversion,
) -> Result<ConvertedDisks, Error> {
    let results = publish_all(finished, &ready.results, run.tools).await?;
    let received = |disk: &&Disk| run.manifest.received(&disk.id).is_some();
    for disk in run.manifest.disks.iter().filter(received).filter(|_| run.settings.consume) {
        let removed = fs::remove_file(&disk.local_path);
        removed.map_err(Error::io(format!("removing {}", disk.local_path.display())))?;
    }
    Ok(results)
}

/// CONVERT, the boot disk first.
async fn images<'a>(run: &ConversionRun<'a>) -> Result<Vec<WorkImage<'a>>, Error> {
    let mut done = Vec::new();
    for disk in run.manifest.disks_in_boot_order() {
        let capacity = run.capacity(disk).await?;
        let image = run.work.image(&disk.id);
        if run.manifest.received(&disk.id).is_some() {
            take(run, disk, &image).await?;
            done.push(WorkImage { disk, capacity, image });
            continue;
        }
        let source = Image { path: &disk.local_path, format: disk.source_format };
        let to = NewQcow2 {
            path: image.clone(),
            compression: run.settings.compression,
            capacity,
            task: format!("convert {}", disk.id),
        };
        run.tools.work_image(source, &to, run.progress).await?;
        done.push(WorkImage { disk, capacity, image });
    }
    Ok(done)
}

/// Uses an image that was converted during the download: the image itself or a copy becomes the
/// result.
async fn take(run: &ConversionRun<'_>, disk: &Disk, image: &Path) -> Result<(), Error> {
    let doing = format!("taking {}", disk.local_path.display());
    let (from, to, consume) = (disk.local_path.clone(), image.to_owned(), run.settings.consume);
    let going = run.tools.going();
    let work = move || match consume {
        true => fs::hard_link(from, to),
        false => copy(&from, &to, &going),
    };
    let taken = tokio::task::spawn_blocking(work).await;
    let taken = taken.unwrap_or_else(|join| Err(join.into()));
    taken.map_err(|error| if is_stop(&error) { Error::Cancelled } else { Error::io(doing)(error) })
}

/// Copies a file until the run is cancelled. The kernel copies each piece, and shares its blocks
/// where it can (`copy_file_range(2)`).
fn copy(from: &Path, to: &Path, going: &Going) -> io::Result<()> {
    let (from, mut to) = (File::open(from)?, File::create_new(to)?);
    loop {
        going.check()?;
        if io::copy(&mut (&from).take(PIECE), &mut to)? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn a_copy_is_whole_and_ends_with_the_run() {
        let dir = tempfile::tempdir().expect("a folder");
        let [from, to, other] = ["from", "to", "other"].map(|name| dir.path().join(name));
        let file = File::create(&from).expect("a file");
        file.set_len(2 * PIECE + 7).expect("sized");
        file.write_all_at(b"data", PIECE - 2).expect("written");
        file.write_all_at(b"end", 2 * PIECE + 4).expect("written");
        copy(&from, &to, &Going::default()).expect("copied");
        assert!(fs::read(&from).expect("read") == fs::read(&to).expect("read"));
        let cancel = CancellationToken::new();
        cancel.cancel();
        let error = copy(&from, &other, &Going::from(&cancel)).expect_err("cancelled");
        assert!(is_stop(&error));
    }
}
