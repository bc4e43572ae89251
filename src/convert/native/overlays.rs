//! The overlays for INSPECT and FIX: an image changes only when every step succeeded.

use std::fs;
use std::path::PathBuf;

use super::guest_fix::GuestFix;
use crate::convert::Error;
use crate::model::DiskId;

impl GuestFix<'_> {
    /// Creates fresh overlays of all images, in the order of the manifest's disks, which is that of
    /// the guest's controllers.
    pub(super) async fn overlays(&self) -> Result<Vec<PathBuf>, Error> {
        let mut overlays = Vec::new();
        for disk in &self.run.manifest.disks {
            let overlay = self.overlay(&disk.id);
            let image = self.disks.iter().find(|work| work.disk.id == disk.id);
            let image =
                image.map_or_else(|| self.run.work.image(&disk.id), |work| work.image.clone());
            if overlay.exists() {
                let removed = fs::remove_file(&overlay);
                removed.map_err(Error::io(format!("removing {}", overlay.display())))?;
            }
            self.run.tools.overlay(&image, &overlay).await?;
            overlays.push(overlay);
        }
        Ok(overlays)
    }

    fn overlay(&self, disk: &DiskId) -> PathBuf {
        self.run.work.path().join(format!("fix-{disk}.qcow2"))
    }

    /// Renames overlays, so that the overlays of the next way do not replace them.
    pub(super) fn hold(&self, overlays: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
        let hold = |overlay: &PathBuf| {
            let held = overlay.with_extension("held");
            let renamed = fs::rename(overlay, &held);
            renamed.map_err(Error::io(format!("keeping {}", overlay.display())))?;
            Ok(held)
        };
        overlays.iter().map(hold).collect()
    }

    /// Writes the changes into the images.
    pub(super) async fn commit(&self, overlays: &[PathBuf]) -> Result<(), Error> {
        // In the order of the manifest's disks, in which `overlays` made them.
        for (disk, overlay) in self.run.manifest.disks.iter().zip(overlays) {
            if let Some(proofs) = self.proofs {
                proofs.will_commit(&disk.id, overlay).await?;
            }
            self.run.tools.commit(overlay, &self.run.work.images()).await?;
            let removed = fs::remove_file(overlay);
            removed.map_err(Error::io(format!("removing {}", overlay.display())))?;
        }
        Ok(())
    }
}
