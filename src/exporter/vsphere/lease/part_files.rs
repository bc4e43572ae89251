//! Creates, renames or removes all files of an export together.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::exporter::blocking::blocking;
use crate::exporter::transfer::{PartFile, sync_directory};
use crate::exporter::{Error, ExportRequest, FinishedDisk};
use crate::model::{DiskFormat, SourceDisk, Stage, Warning, WarningCode};
use crate::progress::{Event, Progress, Task, Unit};

/// A file that was created or reused.
pub(in crate::exporter::vsphere) struct BegunFile {
    pub(in crate::exporter::vsphere) part: Arc<PartFile>,
    /// The finished disk of an interrupted run, if the file is reused.
    pub(in crate::exporter::vsphere) whole: Option<FinishedDisk>,
}

/// Creates the files of all disks, or none; the finished files of an interrupted run are reused.
pub(in crate::exporter::vsphere) async fn begin(
    request: &ExportRequest<'_>,
    disks: &[SourceDisk],
    format: DiskFormat,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Vec<BegunFile>, Error> {
    let directory = request.directory.clone();
    let wanted = disks.iter().map(|disk| {
        let same = |whole: &&FinishedDisk| whole.id == disk.id && whole.capacity == disk.capacity;
        // The last record: a disk that was downloaded again has several.
        let whole = request.whole.iter().rfind(same).cloned();
        let task = whole.as_ref().map(|whole| {
            progress.task(format!("check {}", disk.id), Some(whole.file_size.0), Unit::Bytes)
        });
        (disk.id.file_name(format), whole.zip(task))
    });
    let wanted: Vec<_> = wanted.collect();
    let cancel = cancel.clone();
    blocking(&request.directory, move || {
        let failed = |source| Error::File { action: "opening", path: directory.clone(), source };
        let directory = std::path::absolute(&directory).map_err(failed)?;
        let mut begun: Vec<BegunFile> = Vec::new();
        for (name, whole) in wanted {
            match begin_one(directory.join(name), whole, &cancel) {
                Ok(one) => begun.push(one),
                Err(error) => {
                    begun.iter().try_for_each(|one| one.part.discard())?;
                    return Err(error);
                }
            }
        }
        Ok(begun)
    })
    .await
}

fn begin_one(
    target: PathBuf,
    whole: Option<(FinishedDisk, Task)>,
    cancel: &CancellationToken,
) -> Result<BegunFile, Error> {
    if let Some((whole, task)) = whole
        && let Some(part) = PartFile::adopt(target.clone(), &whole, &task, cancel)?
    {
        return Ok(BegunFile { part: Arc::new(part), whole: Some(whole) });
    }
    Ok(BegunFile { part: Arc::new(PartFile::create(target)?), whole: None })
}

/// Renames all files to their final names, and syncs the directory.
pub(in crate::exporter::vsphere) async fn commit(parts: Vec<Arc<PartFile>>) -> Result<(), Error> {
    let Some(directory) = parts.first().and_then(|part| part.target().parent()) else {
        return Ok(());
    };
    let directory = directory.to_owned();
    blocking(&directory.clone(), move || {
        parts.iter().try_for_each(|part| part.commit())?;
        sync_directory(&directory)
    })
    .await
}

/// Removes all files of a failed run, so that the next run can create them.
pub(in crate::exporter::vsphere) async fn discard(parts: Vec<Arc<PartFile>>, progress: &Progress) {
    for part in parts {
        let path = part.target().to_owned();
        if let Err(error) = blocking(&path, move || part.discard()).await {
            let message = format!("a half-written file is left behind: {error}");
            progress.send(Event::Warned(Warning::new(
                Stage::Export,
                WarningCode::LeftoverFile,
                message,
            )));
        }
    }
}
