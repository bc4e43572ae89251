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
mod fix;
mod guestfs;
mod inspect;
mod report;
pub(super) mod v2v;
mod validate;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use crate::child::Program;
use crate::manifest::Disk;
use crate::model::{ByteSize, ConvertedDisks, DiskId, Stage, Warning, chain};

use self::customize::customize;
use self::fix::{Report, Wanted};
use self::guestfs::{Appliance, Guestfs};
use self::inspect::{Family, Guest, inspect};
use self::report::Stages;
use super::environment::APPLIANCE_CACHE;
use super::hyper2kvm::FORCE_TCG;
use super::preflight::Engine;
use super::qemu_img::Image;
use super::results::{Finished, publish_all};
use super::{Conversion, Error, Ready, Run};

/// Name of the file in the output directory that keeps what libguestfs said.
pub(super) const LOG: &str = "convert.log";

/// What every program of libguestfs gets to see.
trait Environment {
    /// Nothing of the user's shell, and only folders of the run's own.
    fn environment(self, run: &Run<'_>, backend_settings: Option<&str>) -> Self;
}

impl Environment for Program {
    fn environment(self, run: &Run<'_>, backend_settings: Option<&str>) -> Self {
        let program = self
            .clear_env()
            .env("PATH", &run.settings.path)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", run.work.path())
            .env("TMPDIR", run.work.tmp())
            .env("LIBGUESTFS_TMPDIR", run.work.tmp())
            .env("LIBGUESTFS_CACHEDIR", APPLIANCE_CACHE)
            .env("LIBGUESTFS_BACKEND", "direct")
            .dir(run.work.path());
        match backend_settings {
            Some(given) => program.env("LIBGUESTFS_BACKEND_SETTINGS", given),
            None => program,
        }
    }
}

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
        match guest.operate(&mut stages, &mut warnings).await {
            Ok(done) => fixed = done,
            Err(error @ (Error::Cancelled | Error::TimedOut { .. })) => return Err(error),
            Err(error) => fix_failure = Some(error),
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

/// INSPECT and FIX.
struct Surgery<'a> {
    run: &'a Run<'a>,
    /// Whether the appliance has turned out not to run on KVM here.
    without_kvm: Cell<bool>,
    ready: &'a Ready,
    disks: &'a [Work<'a>],
}

impl Surgery<'_> {
    /// Says whether the guest now boots on virtio.
    async fn operate(
        &self,
        stages: &mut Stages,
        warnings: &mut Vec<Warning>,
    ) -> Result<bool, Error> {
        let (run, begin) = (self.run, Instant::now());
        let overlays = self.overlays().await?;
        let opened = async {
            let mut guestfs = self.open(&overlays, warnings).await?;
            let guest = inspect(&mut guestfs).await?;
            Ok((guestfs, guest))
        };
        let opened: Result<(Guestfs, Guest), Error> = opened.await;
        let seen = opened.as_ref().map(|(_, guest)| json!(guest));
        stages.note("inspect", begin.elapsed(), seen);
        let (guestfs, guest) = match opened {
            Err(error @ Error::Guestfs { .. }) if !run.settings.stages.fix => {
                let warning = Warning::new(Stage::Pipeline, "guest-not-inspected", chain(&error));
                warnings.push(warning);
                return Ok(false);
            }
            opened => opened?,
        };
        if !run.settings.stages.fix {
            guestfs.end().await?;
            return Ok(false);
        }
        run.progress.note(format!("fixing {} ({})", guest.hostname, guest.product));
        let begin = Instant::now();
        let mut report = Report::new(run.progress);
        let fixed = self.fix(guestfs, &guest, &overlays, &mut report).await;
        let fixed = match fixed {
            Ok(()) => self.commit(&overlays).await,
            failed => failed,
        };
        warnings.append(&mut report.warnings);
        let done = json!({
            "boot_disk_id": self.disks.first().map(|work| &work.disk.id),
            "changes": report.changes,
            "bootable_kernels": report.bootable,
            "network": report.interfaces,
        });
        stages.note("fix", begin.elapsed(), fixed.as_ref().map(|()| done));
        fixed.map(|()| true)
    }

    async fn fix(
        &self,
        mut guestfs: Guestfs,
        guest: &Guest,
        overlays: &[PathBuf],
        report: &mut Report<'_>,
    ) -> Result<(), Error> {
        let run = self.run;
        let by_v2v = match self.ready.engine {
            Engine::VirtV2v => true,
            // Its strength: drivers of Windows, and boot loaders of Red Hat's and SUSE's.
            _ => {
                matches!(guest.family(), Family::Windows | Family::RedHat | Family::Suse)
                    && v2v::is_there(run.tools).await
            }
        };
        if by_v2v {
            guestfs.end().await?;
            v2v::fix(run, overlays, self.backend_settings(), report).await?;
            if guest.os != "linux" {
                return customize(run, overlays, self.backend_settings()).await;
            }
            guestfs = self.open(overlays, &mut report.warnings).await?;
            inspect(&mut guestfs).await?;
        }
        if guest.os != "linux" {
            return Err(Error::Guestfs {
                doing: format!("fix {}", guest.product),
                message: "that takes virt-v2v-in-place, which is not installed".to_owned(),
            });
        }
        let preserve_network = run.settings.preserve_network;
        let wanted = Wanted { manifest: run.manifest, preserve_network };
        fix::linux(&mut guestfs, guest, &wanted, report).await?;
        guestfs.end().await?;
        customize(run, overlays, self.backend_settings()).await
    }

    /// `LIBGUESTFS_BACKEND_SETTINGS` as the user gave them, or as they turned out to be needed.
    fn backend_settings(&self) -> Option<&str> {
        let needed = Some(FORCE_TCG).filter(|_| self.without_kvm.get());
        self.run.settings.guestfs_backend_settings.as_deref().or(needed)
    }

    /// Overlays of all images, in the order that the guest's controllers had them.
    async fn overlays(&self) -> Result<Vec<PathBuf>, Error> {
        let mut overlays = Vec::new();
        for disk in &self.run.manifest.disks {
            let overlay = self.overlay(&disk.id);
            self.run.tools.overlay(&self.run.work.image(&disk.id), &overlay).await?;
            overlays.push(overlay);
        }
        Ok(overlays)
    }

    fn overlay(&self, disk: &DiskId) -> PathBuf {
        self.run.work.out().join(format!("{disk}.qcow2"))
    }

    /// Writes the changes into the images.
    async fn commit(&self, overlays: &[PathBuf]) -> Result<(), Error> {
        for overlay in overlays {
            self.run.tools.commit(overlay).await?;
            let removed = fs::remove_file(overlay);
            removed.map_err(Error::io(format!("remove {}", overlay.display())))?;
        }
        Ok(())
    }

    /// Starts the appliance; without KVM where that does not run guests, unless the user said how.
    async fn open(
        &self,
        overlays: &[PathBuf],
        warnings: &mut Vec<Warning>,
    ) -> Result<Guestfs, Error> {
        let run = self.run;
        let log = run.output.join(LOG);
        let given = self.backend_settings();
        let appliance = Appliance { run, log: &log, backend_settings: given };
        match appliance.start(overlays).await {
            Err(error @ Error::Guestfs { .. }) if given.is_none() => {
                let message = format!("{}; running it without KVM, which is slow", chain(&error));
                run.progress.note(&message);
                warnings.push(Warning::new(Stage::Pipeline, "libguestfs-without-kvm", message));
                self.without_kvm.set(true);
                Appliance { backend_settings: Some(FORCE_TCG), ..appliance }.start(overlays).await
            }
            started => started,
        }
    }
}
