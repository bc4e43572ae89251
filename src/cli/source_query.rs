//! One question to a source.

use tokio_util::sync::CancellationToken;

use crate::pipeline::{Source, SourceError, SourceSettings};

/// What the source answers; none when the user interrupted. The session is closed on every path.
pub async fn ask<T>(
    settings: &SourceSettings,
    cancel: &CancellationToken,
    question: impl AsyncFnOnce(&Source) -> Result<T, SourceError>,
) -> Result<Option<T>, SourceError> {
    let Some(source) = cancel.run_until_cancelled(settings.open()).await else {
        return Ok(None);
    };
    let source = source?;
    let answer = cancel.run_until_cancelled(question(&source)).await;
    let closed = source.close().await;
    let answer = answer.transpose()?;
    closed?;
    Ok(answer)
}
