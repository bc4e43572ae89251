//! Blocking disk work, moved off the runtime's only thread. A panic in the work becomes an error
//! that names the file.

use std::io;
use std::path::Path;

use super::error::Error;

/// Runs `work` on the file or directory at `path`.
///
/// # Errors
/// The errors of `work`; [`Error::File`] when `work` panics.
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
/// The errors of `work`; an I/O error when `work` panics.
pub(in crate::exporter) async fn blocking_io<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
