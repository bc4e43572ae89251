//! A libvirt host as a source: converts a domain's volumes to files of the export.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::source::Error;
use crate::exporter::{
    self, BandwidthLimit, ExpectedMedium, ExportRequest, FinishedDisk, IncomingDisk, Inspected,
    LARGEST_NVRAM, NVRAM, Shutdown, VmSummary, fill_disk_uuids, nvram_missed, write_nvram,
};
use crate::libvirt::{self, Chunk, Connection, FoundDomain, FoundVolume, Settings};
use crate::model::{
    ExportFile, ExportMethod, ExportedDisk, ExportedNvram, ExportedVm, PowerState, PoweredOff,
    SourceAfter, SourceStep, SourceVm, chain,
};
use crate::panics::caught;
use crate::progress::{Control, Progress};

/// The host and the domain to export.
#[derive(Debug, Clone)]
pub struct LibvirtSourceSettings {
    /// Connection settings of the source host.
    pub libvirt: Settings,
    /// Name or UUID of the domain, if the URI contains it.
    pub domain: Option<String>,
}

/// A connected libvirt host.
#[derive(Debug)]
pub struct LibvirtSource {
    target: Connection,
    domain: Option<String>,
}

impl LibvirtSource {
    pub(crate) async fn connect(settings: &LibvirtSourceSettings) -> Result<Self, Error> {
        let target = Connection::connect(&settings.libvirt).await?;
        Ok(Self { target, domain: settings.domain.clone() })
    }

    pub(crate) async fn list(&self) -> Result<Vec<VmSummary>, Error> {
        Ok(self.target.domains().await?.iter().map(VmSummary::of).collect())
    }

    /// The domain that the URI names, or else `name`.
    pub(crate) async fn inspect(&self, name: &str) -> Result<Inspected, Error> {
        let found = self.target.domain(self.domain.as_deref().unwrap_or(name)).await?;
        let volumes = found.volumes.iter();
        let disks = volumes.map(|volume| ExportFile::of_disk(&volume.id, volume.format));
        let media: Vec<_> = found.media.iter().map(expected_medium).collect();
        let isos = media.iter().map(|medium| ExportFile::other(format!("{}.iso", medium.id)));
        let nvram = found.nvram.iter().map(|_| ExportFile::other(NVRAM));
        let makes = disks.chain(isos).chain(nvram).collect();
        let revision = found.revision();
        // The minimum size of an export is unknown: a volume's allocation may consist of holes for
        // the most part.
        Ok(Inspected { media, ..Inspected::new(found.vm, makes, revision) })
    }

    /// Shuts the domain down; `None` if it was off.
    pub(crate) async fn power_off(
        &self,
        vm: &SourceVm,
        how: Shutdown,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<Option<PoweredOff>, Error> {
        let (limit, cut) = (how.timeout, how.force);
        Ok(self.target.shut_down(&vm.id, limit, cut, Control { progress, cancel }).await?)
    }

    /// Starts the domain, unless it is running.
    pub(crate) async fn power_on(&self, vm: &SourceVm) -> Result<(), Error> {
        Ok(self.target.power_on(&vm.id).await?)
    }

    /// The step that `wanted` requires in the current state of the domain.
    pub(crate) async fn plan_step(
        &self,
        vm: &SourceVm,
        wanted: &SourceAfter,
        note: &str,
    ) -> Result<Option<SourceStep>, Error> {
        Ok(self.target.plan_step(&vm.id, wanted, note).await?)
    }

    pub(crate) async fn do_step(&self, vm: &SourceVm, step: &SourceStep) -> Result<(), Error> {
        Ok(self.target.do_step(&vm.id, step).await?)
    }

    pub(crate) async fn undo_step(&self, vm: &SourceVm, step: &SourceStep) -> Result<bool, Error> {
        Ok(self.target.undo_step(&vm.id, step).await?)
    }

    /// Reads all volumes of the domain, including those in its CD-ROM drives, into the request's
    /// directory. The domain must be off: a copy of a volume in use is inconsistent.
    pub(crate) async fn export(
        &self,
        vm: &SourceVm,
        request: &ExportRequest<'_>,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<ExportedVm, Error> {
        let found = self.target.domain(&vm.id).await?;
        exportable(&found.vm, false)?;
        let control = Control { progress, cancel };
        let mut landings = Vec::new();
        let end = async {
            let mut disks = Vec::new();
            for volume in &found.volumes {
                let (landing, kept) = begin(volume, request, control).await?;
                landings.push(Arc::clone(&landing));
                let whole = match kept {
                    Some(whole) => whole,
                    None => {
                        let landing = Arc::clone(&landing);
                        self.land(volume, landing, control, &request.limit).await?
                    }
                };
                whole.report(request.note).await;
                disks.push(landing.exported(whole));
            }
            let mut media = Vec::new();
            for volume in &found.media {
                let (landing, _) = begin(volume, request, control).await?;
                landings.push(Arc::clone(&landing));
                let own = Arc::clone(&landing);
                let whole = self.land(volume, own, control, &request.limit).await?;
                media.push(landing.medium(whole));
            }
            // The domain may have been started meanwhile, and may have written to its volumes.
            let now = self.target.domain(&vm.id).await?;
            exportable(&now.vm, false)?;
            if now.revision() != found.revision() {
                return Err(exporter::Error::Changed { vm: vm.name.clone() }.into());
            }
            landings.iter().try_for_each(|landing| landing.commit())?;
            Ok::<_, Error>((disks, media))
        };
        match caught(end).await {
            Ok((disks, media)) => {
                let nvram = self.variables(&found, &request.directory).await;
                let mut warnings = Vec::new();
                let nvram = nvram.inspect_err(|why| warnings.push(nvram_missed(why)));
                Ok(ExportedVm {
                    media,
                    vm: with_uuids(vm, &disks).await?,
                    method: ExportMethod::Disk,
                    exported_at: jiff::Timestamp::now(),
                    disks,
                    nvram: nvram.unwrap_or_default(),
                    warnings,
                })
            }
            Err(error) => {
                landings.iter().try_for_each(|landing| landing.discard())?;
                Err(error)
            }
        }
    }

    /// Writes the UEFI variables to `directory`. The error is the reason why those of an EFI guest
    /// are missing.
    async fn variables(
        &self,
        found: &FoundDomain,
        directory: &Path,
    ) -> Result<Option<ExportedNvram>, String> {
        let Some(path) = &found.nvram else { return Ok(None) };
        let content = self.target.read_small(path, LARGEST_NVRAM as u64).await;
        let content = content.map_err(|error| chain(&error))?.ok_or_else(|| {
            format!(
                "{path} is in no active storage pool of its host (`virsh pool-create-as nvram dir \
                 --target {}` makes one)",
                Path::new(path).parent().unwrap_or(Path::new("/")).display()
            )
        })?;
        let directory = directory.to_owned();
        let write = move || write_nvram(&directory, &content);
        let written = tokio::task::spawn_blocking(write).await.map_err(|error| chain(&error))?;
        written.map(Some).map_err(|error| chain(&error))
    }

    async fn land(
        &self,
        volume: &FoundVolume,
        landing: Arc<IncomingDisk>,
        control: Control<'_>,
        limit: &BandwidthLimit,
    ) -> Result<FinishedDisk, Error> {
        let mut writer = landing.writer()?;
        let (limit, stop) = (limit.clone(), control.cancel.clone());
        let slowed = stop.clone();
        let sink = move |chunk: Chunk<'_>| match chunk {
            Chunk::Data(bytes) => {
                limit.take_blocking(bytes.len() as u64, &slowed);
                writer.data(bytes)
            }
            Chunk::Hole(length) => writer.hole(length),
        };
        self.target.read_volume(volume, Box::new(sink), control).await?;
        let checked = tokio::task::spawn_blocking(move || landing.check(&stop)).await;
        Ok(checked.map_err(libvirt::Error::Task)??)
    }
}

/// The image of a CD-ROM drive, before its export.
fn expected_medium(volume: &FoundVolume) -> ExpectedMedium {
    ExpectedMedium { id: volume.id.clone(), in_place: None, size: volume.capacity }
}

/// The VM with the UUIDs that only its images contain.
async fn with_uuids(vm: &SourceVm, disks: &[ExportedDisk]) -> Result<SourceVm, Error> {
    let (mut vm, disks) = (vm.clone(), disks.to_vec());
    let fill = move || {
        fill_disk_uuids(&mut vm, &disks);
        vm
    };
    Ok(tokio::task::spawn_blocking(fill).await.map_err(libvirt::Error::Task)?)
}

/// Creates the file of a volume, or reuses the volume that an interrupted run has finished if the
/// file still matches.
async fn begin(
    volume: &FoundVolume,
    request: &ExportRequest<'_>,
    Control { progress, cancel }: Control<'_>,
) -> Result<(Arc<IncomingDisk>, Option<FinishedDisk>), Error> {
    let whole = request.whole.iter().rfind(|whole| whole.id == volume.id).cloned();
    let (directory, id, format) = (request.directory.clone(), volume.id.clone(), volume.format);
    let (progress, cancel) = (progress.clone(), cancel.clone());
    let work = move || {
        if let Some(whole) = whole
            && let Some(landing) = IncomingDisk::adopt(
                &directory,
                &whole,
                format,
                Control { progress: &progress, cancel: &cancel },
            )?
        {
            return Ok((landing, Some(whole)));
        }
        Ok::<_, exporter::Error>((IncomingDisk::begin(&directory, &id, format)?, None))
    };
    let (landing, kept) =
        tokio::task::spawn_blocking(work).await.map_err(libvirt::Error::Task)??;
    Ok((Arc::new(landing), kept))
}

/// Checks whether the domain can be exported. With `running`, a running domain passes, too, since
/// it can be shut down.
///
/// # Errors
/// [`Error::Running`], [`Error::Saved`].
pub(crate) fn exportable(vm: &SourceVm, running: bool) -> Result<(), Error> {
    match vm.power {
        PowerState::Off => Ok(()),
        PowerState::On if running => Ok(()),
        PowerState::Suspended => Err(Error::Saved { name: vm.name.clone() }),
        PowerState::On | PowerState::Unknown => Err(Error::Running { name: vm.name.clone() }),
    }
}
