//! The files of an export, all together: begun, named, or removed.

use std::path::Path;
use std::sync::Arc;

use crate::exporter::transfer::{Part, sync_directory};
use crate::exporter::{Error, ExportRequest};
use crate::model::{SourceDisk, Stage, Warning};
use crate::progress::{Event, Progress};

/// Begins the file of every disk, or none.
pub(super) async fn begin(
    request: &ExportRequest,
    disks: &[SourceDisk],
) -> Result<Vec<Arc<Part>>, Error> {
    let directory = request.directory.clone();
    let names: Vec<String> = disks.iter().map(|disk| format!("{}.vmdk", disk.id)).collect();
    blocking(&request.directory, move || {
        let failed = |source| Error::File { action: "open", path: directory.clone(), source };
        let directory = std::path::absolute(&directory).map_err(failed)?;
        let mut parts: Vec<Arc<Part>> = Vec::new();
        for name in names {
            match Part::create(directory.join(name)) {
                Ok(part) => parts.push(Arc::new(part)),
                Err(error) => {
                    parts.iter().try_for_each(|part| part.discard())?;
                    return Err(error);
                }
            }
        }
        Ok(parts)
    })
    .await
}

/// Gives all files their names, lastingly.
pub(super) async fn commit(parts: Vec<Arc<Part>>) -> Result<(), Error> {
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

/// Removes all files of a failed run, so that the next one can begin.
pub(super) async fn discard(parts: Vec<Arc<Part>>, progress: &Progress) {
    for part in parts {
        let path = part.target().to_owned();
        if let Err(error) = blocking(&path, move || part.discard()).await {
            let message = format!("a half-written file is left behind: {error}");
            progress.send(Event::Warned(Warning::new(Stage::Export, "leftover-file", message)));
        }
    }
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let source = std::io::Error::other(error);
        Err(Error::File { action: "work on", path: path.to_owned(), source })
    })
}
