//! Translates the pipeline's settings to requests of the libvirt module: one target, one VM.

use std::path::{Path, PathBuf};

use super::super::job::ImportSettings;
use crate::convert;
use crate::domain::{HostCapabilities, PlanOptions};
use crate::exporter::ExpectedMedium;
use crate::libvirt::{
    self, DefinedDomain, Draft, Error, ImportRequest, Journal, PoolChoice, Preview, Undo,
};
use crate::model::{
    ByteSize, ConvertedDisk, ConvertedDisks, DiskFormat, ExportedMedium, Sha256Digest, SourceVm,
    Stage, Warning, WarningCode,
};
use crate::progress::Control;

/// Conditions of a request to the target.
#[derive(Debug, Clone, Copy)]
pub struct TargetRequest<'a> {
    /// Whether to skip the trial definition.
    pub dry_run: bool,
    /// Paths of volumes that will be gone at the time of the import.
    pub going: &'a [String],
    /// Steps of a killed run that will be undone by then.
    pub undone: &'a [Undo],
}

/// Checks whether the target accepts the VM. Leaves no change there.
///
/// # Errors
/// The first failed check.
pub async fn preflight(
    target: &ImportSettings,
    vm: &SourceVm,
    disks: &ConvertedDisks,
    TargetRequest { dry_run, going, undone }: TargetRequest<'_>,
) -> Result<Vec<Warning>, Error> {
    // Checks without the host come first: they fail even if it does not answer.
    target.network_map.check(&vm.nics).map_err(Error::Plan)?;
    let host = ConnectedTarget::connect(target).await?;
    let request = ImportRequest { going, undone, ..host.request(target, vm, disks) };
    host.connection.check_replace(&request).await?;
    let mut warnings = host.connection.preflight(&request).await?;
    if host.pool.name != target.pool {
        let (other, wanted) = (&host.pool.name, &target.pool);
        let text =
            format!("storage pool '{wanted}' does not exist; '{other}' over its folder is used");
        warnings.push(Warning::new(Stage::Libvirt, WarningCode::PoolUsedInstead, text));
    }
    if let Some(plan) = &target.exactly {
        let differences = plan.differences(&host.connection.draft(&request).await?);
        if !differences.is_empty() {
            return Err(Error::PlanChanged { differences });
        }
    }
    if !dry_run {
        host.connection.test_define(&request).await?;
    }
    Ok(warnings)
}

/// A short preview of the domain that the target would get, before its disks exist.
///
/// # Errors
/// The first failed check.
pub async fn preview(
    target: &ImportSettings,
    vm: &SourceVm,
    disks: &ConvertedDisks,
    undone: &[Undo],
) -> Result<Preview, Error> {
    let host = ConnectedTarget::connect(target).await?;
    let request = ImportRequest { undone, ..host.request(target, vm, disks) };
    host.connection.preview(&request).await
}

/// The exact definition that the target would get.
///
/// # Errors
/// The first failed check.
pub async fn draft(
    target: &ImportSettings,
    vm: &SourceVm,
    disks: &ConvertedDisks,
    undone: &[Undo],
) -> Result<Draft, Error> {
    let host = ConnectedTarget::connect(target).await?;
    let request = ImportRequest { undone, ..host.request(target, vm, disks) };
    host.connection.draft(&request).await
}

/// Uploads the disks and defines the domain.
///
/// # Errors
/// [`Error`] of the failed step; all objects that were created are removed.
pub async fn import(
    target: &ImportSettings,
    vm: &SourceVm,
    disks: &ConvertedDisks,
    journal: &Journal,
    Control { progress, cancel }: Control<'_>,
) -> Result<DefinedDomain, Error> {
    let host = ConnectedTarget::connect(target).await?;
    let request = host.request(target, vm, disks);
    host.connection.import(&request, journal, progress, cancel).await
}

/// Whether the daemon, or its machine, cannot be reached now and may be reachable later. A daemon
/// that answers with an error is reachable.
pub fn is_unreachable(error: &Error) -> bool {
    matches!(error, Error::Unreachable { .. } | Error::Silent { .. })
}

/// The disks as a conversion will leave them at `paths`, boot disk first, for a preflight before
/// the conversion. `fixed` states whether the guest will support virtio. The allocated size is
/// unknown and 0.
pub fn expected_disks(
    vm: &SourceVm,
    paths: &[PathBuf],
    seed: Option<PathBuf>,
    fixed: bool,
) -> ConvertedDisks {
    let mut disks: Vec<_> = vm.disks.iter().collect();
    disks.sort_by_key(|disk| disk.boot_order);
    let expected = disks.iter().zip(paths).map(|(disk, path)| ConvertedDisk {
        id: disk.id.clone(),
        path: path.clone(),
        format: DiskFormat::Qcow2,
        capacity: disk.capacity,
        allocated: ByteSize(0),
        boot_order: disk.boot_order,
        fixed,
        medium: false,
        content: None,
    });
    let mut disks = ConvertedDisks(expected.collect());
    let seed = seed.and_then(|path| convert::seed_disk(path, ByteSize(0), &disks));
    disks.0.extend(seed);
    disks
}

/// The disks, and the media of the VM's drives whose files exist.
pub fn with_media(disks: &ConvertedDisks, media: &[ExportedMedium]) -> ConvertedDisks {
    let mut all = disks.clone();
    for medium in media.iter().filter(|medium| medium.path.is_file()) {
        all.0.push(medium.converted(all.0.len()));
    }
    all
}

/// The disks, and the media that the VM's drives will have after the export into `output`.
pub fn with_expected_media(
    disks: &ConvertedDisks,
    media: &[ExpectedMedium],
    output: &Path,
) -> ConvertedDisks {
    let mut all = disks.clone();
    for ExpectedMedium { id, in_place, size } in media {
        let file = output.join(format!("{id}.iso"));
        let path = in_place.clone().unwrap_or(file);
        let expected = ExportedMedium {
            id: id.clone(),
            path,
            file_size: *size,
            sha256: Sha256Digest([0; 32]),
        };
        all.0.push(expected.converted(all.0.len()));
    }
    all
}

/// Warnings about media whose files are gone.
pub fn gone_media(media: &[ExportedMedium]) -> Vec<Warning> {
    let gone = media.iter().filter(|medium| !medium.path.is_file());
    let warn = |medium: &ExportedMedium| {
        let text = format!("{} is gone: its CD-ROM drive stays empty", medium.path.display());
        Warning::new(Stage::Libvirt, WarningCode::IsoNotTaken, text)
    };
    gone.map(warn).collect()
}

/// A connected target and the settings of its domain.
struct ConnectedTarget {
    connection: libvirt::Connection,
    capabilities: HostCapabilities,
    options: PlanOptions,
    pool: PoolChoice,
}

impl ConnectedTarget {
    async fn connect(target: &ImportSettings) -> Result<Self, Error> {
        let connection = target.connections.open(&target.settings).await?;
        let capabilities = connection.capabilities().await?;
        let options = PlanOptions {
            name: target.name.clone(),
            domain_type: target.domain_type,
            bridge: target.bridge.clone(),
            network_map: target.network_map.clone(),
            hardware: target.hardware.clone(),
            allow_unbootable: target.allow_unbootable,
        };
        let pool = match &target.default_pool {
            Some(default) => connection.default_pool(default).await?,
            None => PoolChoice { name: target.pool.clone(), path: target.pool_path.clone() },
        };
        Ok(Self { connection, capabilities, options, pool })
    }

    fn request<'a>(
        &'a self,
        target: &'a ImportSettings,
        vm: &'a SourceVm,
        disks: &'a ConvertedDisks,
    ) -> ImportRequest<'a> {
        ImportRequest {
            vm,
            disks,
            host: &self.capabilities,
            options: &self.options,
            pool: &self.pool,
            autostart: target.autostart,
            after: &target.after,
            replace: target.replace.as_deref(),
            going: &[],
            undone: &[],
            exactly: target.exactly.as_ref(),
        }
    }
}
