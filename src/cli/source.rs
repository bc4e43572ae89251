//! One question to a source.

use tokio_util::sync::CancellationToken;

use crate::exporter::{self, VSphere};

/// What the source answers; none when the user interrupted. The session is closed on every path.
pub async fn ask<T>(
    settings: exporter::Settings,
    cancel: &CancellationToken,
    question: impl AsyncFnOnce(&VSphere) -> Result<T, exporter::Error>,
) -> Result<Option<T>, exporter::Error> {
    let Some(source) = cancel.run_until_cancelled(VSphere::connect(settings)).await else {
        return Ok(None);
    };
    let source = source?;
    let answer = cancel.run_until_cancelled(question(&source)).await;
    let closed = source.close().await;
    let answer = answer.transpose()?;
    closed?;
    Ok(answer)
}
