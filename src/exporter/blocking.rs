//! Work that waits for a disk, away from the runtime's only thread. A panic in it is an error of
//! the file that the work is about.

use std::io;
use std::path::Path;

use super::error::Error;

/// Runs `work`, which is about the file or folder at `path`.
///
/// # Errors
/// Those of the work; [`Error::File`] when it panics.
pub(in crate::exporter) async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let source = io::Error::other(error);
        Err(Error::File { action: "working on", path: path.to_owned(), source })
    })
}

/// Runs `work`, whose caller names the file in its own error.
///
/// # Errors
/// Those of the work; one of its own when it panics.
pub(in crate::exporter) async fn blocking_io<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
