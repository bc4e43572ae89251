//! The connections of a run: one per URI, whichever stage asks for it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::super::{Connection, Error, Settings};

/// Connections that the stages of a run share. Clones share them, too; the last one closes them.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Mutex<HashMap<String, Connection>>>);

impl Connections {
    /// The connection to `settings.uri`, opened unless it is open and the daemon still answers:
    /// between two stages lies an export of hours.
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
