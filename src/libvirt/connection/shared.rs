//! The connections of a run: one per URI, shared by all stages.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::super::{Connection, Error, Settings};

/// Connections that the stages of a run share. Clones share them too; dropping the last clone
/// closes them.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Mutex<HashMap<String, Connection>>>);

impl Connections {
    /// The connection to `settings.uri`. Opens a new one if none is open or the daemon no longer
    /// answers: an export of hours may pass between two stages.
    ///
    /// # Errors
    /// As [`Connection::connect`].
    pub async fn open(&self, settings: &Settings) -> Result<Connection, Error> {
        let mut connections = self.0.lock().await;
        if let Some(open) = connections.get(&settings.uri)
            && open.answers().await
        {
            return Ok(open.with(settings));
        }
        let target = Connection::connect(settings).await?;
        connections.insert(settings.uri.clone(), target.clone());
        Ok(target)
    }
}
