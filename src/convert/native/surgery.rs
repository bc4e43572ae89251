//! INSPECT and FIX: the guest on overlays of its disks, which are written back only when all of it
//! went well.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use crate::convert::hyper2kvm::FORCE_TCG;
use crate::convert::preflight::Engine;
use crate::convert::{Error, Ready, Run};
use crate::model::{DiskId, Stage, Warning, chain};
use crate::progress::Unit;

use super::customize::customize;
use super::fix::{self, Report, Wanted};
use super::guestfs::{Appliance, Guestfs};
use super::inspect::{Family, Guest, inspect};
use super::report::Stages;
use super::{LOG, Work, v2v};

/// INSPECT and FIX.
pub(super) struct Surgery<'a> {
    pub(super) run: &'a Run<'a>,
    /// Whether the appliance has turned out not to run on KVM here.
    pub(super) without_kvm: Cell<bool>,
    pub(super) ready: &'a Ready,
    pub(super) disks: &'a [Work<'a>],
}

impl Surgery<'_> {
    /// Says whether the guest now boots on virtio.
    pub(super) async fn operate(
        &self,
        stages: &mut Stages,
        warnings: &mut Vec<Warning>,
    ) -> Result<bool, Error> {
        let (run, begin) = (self.run, Instant::now());
        let overlays = self.overlays().await?;
        let task = run.progress.task("inspect the guest", None, Unit::BasisPoints);
        let opened = async {
            let mut guestfs = self.open(&overlays, warnings).await?;
            let guest = inspect(&mut guestfs).await?;
            Ok((guestfs, guest))
        };
        let opened: Result<(Guestfs, Guest), Error> = opened.await;
        let seen = opened.as_ref().map(|(_, guest)| json!(guest));
        stages.note("inspect", begin.elapsed(), seen);
        drop(task);
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
        let _task = run.progress.task("fix the guest", None, Unit::BasisPoints);
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
