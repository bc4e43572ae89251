//! Starts tasks on the server, and waits for them.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::args::{Args, Moref};
use super::localized_fault;
use super::node::Node;
use super::session::{VSphere, lacks};
use crate::exporter::Error;

/// Poll interval of a server operation.
const POLL: Duration = Duration::from_millis(500);

impl VSphere {
    /// Starts the task `method` on the object `of`; `action` describes it as a gerund.
    ///
    /// # Errors
    /// [`Error::Task`] when the server rejects the task; errors of the connection.
    pub(in crate::exporter::vsphere) async fn start_task(
        &self,
        method: &'static str,
        of: &Moref,
        args: Args,
        action: &str,
    ) -> Result<Moref, Error> {
        let reply = match self.soap.call(method, of, args).await {
            Err(Error::Refused { source, .. }) => {
                return Err(Error::Task { action: action.to_owned(), source });
            }
            reply => reply?,
        };
        let task = reply.child("returnval").and_then(Node::moref);
        task.ok_or_else(|| lacks(method, "returnval"))
    }

    /// Waits for the end of a task, at most for `limit`, and returns its result, if any.
    ///
    /// # Errors
    /// [`Error::Task`] when the task failed, [`Error::TimedOut`], [`Error::Cancelled`].
    pub(in crate::exporter::vsphere) async fn end_of_task(
        &self,
        task: &Moref,
        action: &str,
        limit: Duration,
        cancel: &CancellationToken,
    ) -> Result<Option<Moref>, Error> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let paths = ["info.state", "info.error", "info.result"];
            let object = self.properties(task, &paths).await?;
            match object.text("info.state") {
                "success" => return Ok(object.moref("info.result")),
                "error" => {
                    let none = Node::default();
                    let source = localized_fault(object.get("info.error").unwrap_or(&none));
                    return Err(Error::Task { action: action.to_owned(), source });
                }
                _ => pause(cancel).await?,
            }
        }
        Err(Error::TimedOut { action: action.to_owned(), after: limit })
    }
}

/// Waits for one poll interval.
///
/// # Errors
/// [`Error::Cancelled`].
pub(in crate::exporter::vsphere) async fn pause(cancel: &CancellationToken) -> Result<(), Error> {
    tokio::select! {
        () = cancel.cancelled() => Err(Error::Cancelled),
        () = tokio::time::sleep(POLL) => Ok(()),
    }
}
