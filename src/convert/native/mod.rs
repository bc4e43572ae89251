//! Conversion by ourselves: images are rewritten on all cores, the guest is fixed through
//! libguestfs.
//!
//! ```text
//! disk-0.vmdk ──CONVERT──▶ work/images/disk-0.qcow2 ──VALIDATE──▶ <vm>.qcow2
//!                                   ▲ commit, when all went well
//!                          work/out/disk-0.qcow2 ◀──FIX── guestfish, or virt-v2v-in-place
//! ```
//!
//! A FIX that fails costs nothing but itself: the overlay that it worked on goes, the converted
//! disk is what it was, and the domain is planned for hardware that the guest knows already.

pub(super) mod customize;
mod environment;
mod fix;
pub(super) mod guestfs;
mod inspect;
mod report;
mod surgery;
pub(super) mod v2v;
mod validate;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use crate::manifest::Disk;
use crate::model::{ByteSize, ConvertedDisks, Stage, Warning};

use self::report::Stages;
use self::surgery::Surgery;
use super::leftovers::GuestfsFolders;
use super::qemu_img::Image;
use super::results::{Finished, publish_all};
use super::{Conversion, Error, Ready, Run};

/// Name of the file in the output directory that keeps what libguestfs said.
pub(super) const LOG: &str = "convert.log";

/// A disk under way.
struct Work<'a> {
    disk: &'a Disk,
    capacity: ByteSize,
    image: PathBuf,
}

/// Converts the disks of the run's manifest.
pub(super) async fn convert(run: &Run<'_>, ready: &Ready) -> Result<Conversion, Error> {
    let (mut stages, mut warnings) = (Stages::default(), Vec::new());
    let begin = Instant::now();
    let disks = images(run).await?;
    let made: Vec<_> = disks.iter().map(|disk| json!({"disk_id": disk.disk.id})).collect();
    let done = json!({ "disks_converted": disks.len(), "output_format": "qcow2", "converted_disks": made });
    stages.note("convert", begin.elapsed(), Ok(done));
    let (mut fixed, mut fix_failure) = (false, None);
    if run.settings.stages.inspect || run.settings.stages.fix {
        let guest = Surgery { run, without_kvm: Cell::new(false), ready, disks: &disks };
        let before = GuestfsFolders::now();
        let operated = guest.operate(&mut stages, &mut warnings).await;
        // An appliance that was ended leaves its sockets.
        before.remove_newer();
        match operated {
            Ok(done) => fixed = done,
            // Of any other error the images may not be what they were.
            Err(error @ (Error::Guestfs { .. } | Error::Child { .. })) => fix_failure = Some(error),
            Err(error) => return Err(error),
        }
    }
    if run.settings.stages.validate {
        let begin = Instant::now();
        let seen = validate(run, &disks, &mut warnings).await?;
        stages.note("validate", begin.elapsed(), Ok(seen));
    }
    let finished = disks.into_iter().map(|work| Finished {
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
    let report = stages.report(&ready.converter, run.manifest, results.as_ref(), &warnings);
    Ok(Conversion {
        disks: results,
        plan: None,
        warnings,
        converter: ready.converter.clone(),
        report,
        durations,
        fix_failure,
    })
}

/// Names the results. Images that became them have one name only in the end.
async fn publish(
    run: &Run<'_>,
    finished: Vec<Finished>,
    ready: &Ready,
) -> Result<ConvertedDisks, Error> {
    let results = publish_all(finished, &ready.results, run.tools).await?;
    let received = |disk: &&Disk| run.manifest.received(&disk.id).is_some();
    for disk in run.manifest.disks.iter().filter(received).filter(|_| run.settings.consume) {
        let removed = fs::remove_file(&disk.local_path);
        removed.map_err(Error::io(format!("remove {}", disk.local_path.display())))?;
    }
    Ok(results)
}

/// CONVERT, the boot disk first.
async fn images<'a>(run: &Run<'a>) -> Result<Vec<Work<'a>>, Error> {
    let mut done = Vec::new();
    for disk in run.manifest.disks_in_boot_order() {
        let capacity = run.capacity(disk).await?;
        let image = run.work.image(&disk.id);
        if run.manifest.received(&disk.id).is_some() {
            take(run, disk, &image).await?;
            done.push(Work { disk, capacity, image });
            continue;
        }
        let source = Image { path: &disk.local_path, format: disk.source_format };
        let (task, compression) = (format!("convert {}", disk.id), run.settings.compression);
        let to = (run.progress, task.as_str());
        run.tools.work_image(source, (&image, compression), capacity, to).await?;
        done.push(Work { disk, capacity, image });
    }
    Ok(done)
}

/// An image that was converted while it arrived: it becomes the result itself, or a copy of it does.
async fn take(run: &Run<'_>, disk: &Disk, image: &Path) -> Result<(), Error> {
    let doing = format!("take {}", disk.local_path.display());
    let (from, to, consume) = (disk.local_path.clone(), image.to_owned(), run.settings.consume);
    let work = move || match consume {
        true => fs::hard_link(from, to),
        // The kernel shares blocks where it can (copy_file_range(2)).
        false => fs::copy(from, to).map(drop),
    };
    let taken = tokio::task::spawn_blocking(work).await;
    taken.map_err(|join| Error::io(&doing)(join.into()))?.map_err(Error::io(doing))
}

/// VALIDATE; what each disk begins with.
async fn validate(
    run: &Run<'_>,
    disks: &[Work<'_>],
    warnings: &mut Vec<Warning>,
) -> Result<Value, Error> {
    let firmware = run.manifest.source_vm().firmware;
    let mut seen = Vec::new();
    for (index, work) in disks.iter().enumerate() {
        let id = &work.disk.id;
        validate::check(run.tools, id, &work.image, work.capacity).await?;
        let scratch = run.work.tmp().join("beginning");
        let beginning = validate::beginning(run.tools, &work.image, &scratch).await?;
        if index == 0
            && let Some(fault) = beginning.fault(firmware)
        {
            let text = format!("{id} will not boot: {fault}");
            warnings.push(Warning::new(Stage::Pipeline, "boot-disk-not-bootable", text));
        }
        seen.push(json!({ "disk_id": id, "integrity_check": "passed", "beginning": beginning }));
    }
    Ok(json!({ "disks_validated": disks.len(), "all_passed": true, "validation_results": seen }))
}
