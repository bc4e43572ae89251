//! Turns the output of hyper2kvm into results. Our own qemu-img checks every image, and the guest
//! must have changed if FIX ran. Only then does a file appear in the output directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::manifest::Disk;
use crate::model::{
    ByteSize, ConvertedDisks, DiskFormat, GuestFacts, Proof, Stage, Warning, WarningCode, chain,
};

use super::super::native::{self, FixList, Operated, WorkImage};
use super::super::output_files::HYPER2KVM_LOG;
use super::super::proof::{ConvertedImage, Proofs};
use super::super::results::{FinishedImage, publish_all};
use super::super::tools::qemu_img::{Image, NewQcow2};
use super::super::{ConversionRun, Error};
use super::Hyper2kvmOutcome;

/// The order in which hyper2kvm runs its stages.
const STAGES: [&str; 5] = ["load_manifest", "inspect", "fix", "convert", "validate"];

impl Hyper2kvmOutcome {
    /// Durations of the stages as hyper2kvm reports them.
    pub(in crate::convert) fn durations(&self) -> Vec<(String, Duration)> {
        let stages = &self.report.pipeline.stages;
        let ran = STAGES.iter().filter_map(|name| Some((*name, stages.get(*name)?)));
        ran.filter_map(|(name, stage)| {
            let duration = Duration::try_from_secs_f64(stage.duration).ok()?;
            Some((format!("hyper2kvm {name}"), duration))
        })
        .collect()
    }
}

/// What a finished run of hyper2kvm yields.
#[derive(Debug, Default)]
pub(in crate::convert) struct Accepted {
    /// The results; none when CONVERT is off.
    pub(in crate::convert) disks: Option<ConvertedDisks>,
    pub(in crate::convert) guest: Option<GuestFacts>,
    /// Changes that hyperexport made in the guest after hyper2kvm.
    pub(in crate::convert) changes: Vec<String>,
    /// Why the guest does not boot from virtio, if it does not.
    pub(in crate::convert) failure: Option<Error>,
    /// Proof that the results contain what was exported.
    pub(in crate::convert) proof: Option<Proof>,
    pub(in crate::convert) warnings: Vec<Warning>,
}

/// The output of a run of hyper2kvm.
pub(in crate::convert) struct Acceptance<'a> {
    pub(in crate::convert) run: &'a ConversionRun<'a>,
    pub(in crate::convert) outcome: &'a Hyper2kvmOutcome,
    /// Sizes that the guest sees, in the order of the manifest's disks.
    pub(in crate::convert) capacities: &'a [ByteSize],
}

impl Acceptance<'_> {
    /// Checks the output, completes what hyper2kvm leaves out, and moves the images to `results`,
    /// the boot disk first.
    pub(in crate::convert) async fn finish(
        &self,
        results: &[PathBuf],
        proofs: Proofs,
    ) -> Result<Accepted, Error> {
        let stages = self.run.settings.stages;
        let order = self.run.manifest.disks_in_boot_order();
        if !stages.convert {
            if let Some(boot) = order.first().filter(|_| stages.fix) {
                self.guest_changed(boot, &self.run.work.image(&boot.id)).await?;
            }
            return Ok(Accepted::default());
        }
        let mut images = Vec::new();
        for (i, disk) in order.iter().enumerate() {
            let image = self.checked(disk).await?;
            if i == 0 && stages.fix {
                self.guest_changed(disk, &image).await?;
            }
            images.push(image);
        }
        // The work images are no longer needed, and their space may be.
        self.remove_work_images().await?;
        let disks = order.iter().zip(images);
        let disks: Vec<_> = disks
            .map(|(disk, image)| WorkImage { disk, capacity: self.capacity(disk), image })
            .collect();
        let mut done = Accepted::default();
        let (mut operated, guest) = native::after(self.run, &disks, &mut done.warnings).await?;
        let fixed = self.is_fixed(&mut operated, &mut done.warnings);
        (done.guest, done.changes, done.failure) =
            (Some(guest), operated.changes, operated.failure);
        let mut finished = Vec::new();
        for WorkImage { disk, capacity, image } in disks {
            let image = self.compressed(disk, image).await?;
            finished.push(FinishedImage { id: disk.id.clone(), image, capacity, fixed });
        }
        done.proof = Some(self.prove(proofs, &finished, &mut done.warnings).await?);
        done.disks = Some(publish_all(finished, results, self.run.tools).await?);
        Ok(done)
    }

    /// Whether the guest boots from virtio, judged by what was read from the guest. hyper2kvm's
    /// report counts only where the guest could not be read at all.
    fn is_fixed(&self, operated: &mut Operated, warnings: &mut Vec<Warning>) -> bool {
        let drivers = operated.facts.as_ref().and_then(|facts| facts.drivers.as_ref());
        if drivers.is_some() {
            return self.run.settings.stages.fix && operated.is_fixed();
        }
        if matches!(operated.failure, Some(Error::NoSystem { .. })) {
            return false;
        }
        if let Some(error) = operated.failure.take() {
            let text = format!("reading the guest after hyper2kvm: {}", chain(&error));
            warnings.push(Warning::new(Stage::Pipeline, WarningCode::GuestNotVerified, text));
        }
        self.run.fixed(self.outcome)
    }

    /// Compares the results with the work images before hyper2kvm, which does not list the files
    /// that it changes.
    async fn prove(
        &self,
        proofs: Proofs,
        finished: &[FinishedImage],
        warnings: &mut Vec<Warning>,
    ) -> Result<Proof, Error> {
        let images = finished.iter().map(|disk| {
            let FinishedImage { id, image, capacity, .. } = disk;
            ConvertedImage { id, image, capacity: *capacity }
        });
        let proved = proofs.finish_anew(images).await?;
        let files = match self.run.settings.stages.fix {
            true => {
                warnings.extend(FixList::by("hyper2kvm").warning());
                None
            }
            false => {
                proved.unchanged()?;
                Some(Vec::new())
            }
        };
        Ok(proved.with_files(files, warnings))
    }

    fn not_done(&self, problem: String) -> Error {
        Error::NotDone { problem, log: self.run.output.join(HYPER2KVM_LOG) }
    }

    fn capacity(&self, disk: &Disk) -> ByteSize {
        let index = self.run.manifest.disks.iter().position(|d| d.id == disk.id);
        index.and_then(|i| self.capacities.get(i).copied()).unwrap_or_default()
    }

    /// The converted image of a disk: named by the report, complete, of the right format and size,
    /// and without references to other files.
    async fn checked(&self, disk: &Disk) -> Result<PathBuf, Error> {
        let report = &self.outcome.report;
        let image = report
            .artifact(&disk.id, &self.run.work.out())
            .map_err(|problem| self.not_done(problem))?;
        self.examine(disk, &image).await?;
        Ok(image)
    }

    async fn examine(&self, disk: &Disk, image: &Path) -> Result<(), Error> {
        let info = self.run.tools.info(image, DiskFormat::Qcow2).await?;
        let expected = self.capacity(disk).0;
        let id = &disk.id;
        if info.format != "qcow2" || info.backing_filename.is_some() {
            return Err(self.not_done(format!("the image of {id} is not a qcow2 of its own")));
        }
        if info.virtual_size != expected {
            let found = info.virtual_size;
            let problem = format!("{id} is {found} bytes for the guest, it was {expected}");
            return Err(self.not_done(problem));
        }
        self.run.tools.check(image).await
    }

    /// Checks that FIX changed the guest's disk: a FIX that changed nothing has failed, whatever it
    /// reports. The comparison ends at the first difference.
    async fn guest_changed(&self, boot: &Disk, image: &Path) -> Result<(), Error> {
        let source = Image { path: &boot.local_path, format: boot.source_format };
        let joined = self.run.work.tmp().join("joined.qcow2");
        let before = self.run.tools.joined(source, &joined).await?.unwrap_or(source);
        let after = Image { path: image, format: DiskFormat::Qcow2 };
        if self.run.tools.same(before, after).await? {
            return Err(self.not_done("fix changed nothing on the boot disk".to_owned()));
        }
        Ok(())
    }

    /// Compresses the image if the user asks for it, and checks it again.
    async fn compressed(&self, disk: &Disk, image: PathBuf) -> Result<PathBuf, Error> {
        let Some(compression) = self.run.settings.compression else { return Ok(image) };
        let to = self.run.work.path().join(format!("{}-compressed.qcow2", disk.id));
        let from = Image { path: &image, format: DiskFormat::Qcow2 };
        let new = NewQcow2 {
            path: to.clone(),
            compression: Some(compression),
            capacity: self.capacity(disk),
            task: format!("compress {}", disk.id),
        };
        self.run.tools.to_qcow2(from, &new, self.run.progress).await?;
        self.examine(disk, &to).await?;
        tokio::fs::remove_file(&image)
            .await
            .map_err(Error::io(format!("removing {}", image.display())))?;
        Ok(to)
    }

    async fn remove_work_images(&self) -> Result<(), Error> {
        let images = self.run.work.images();
        let doing = format!("removing {}", images.display());
        tokio::fs::remove_dir_all(&images).await.map_err(Error::io(doing))
    }
}
