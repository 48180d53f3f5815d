//! An agent as a drill knows it: what it is called, and where it is asked.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::wire::{Wire, once};

/// An agent.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) name: String,
    /// Where it is asked, as `HOST:PORT`.
    pub(super) http: String,
    /// Where others dial it.
    pub(super) mesh: String,
    /// What it wants to be shown before anything is changed.
    pub(super) token: Option<Arc<str>>,
}

impl Door {
    /// Opens a connection.
    pub(super) async fn wire(&self) -> io::Result<Wire> {
        let wire = Wire::connect(&self.http).await?;
        Ok(match &self.token {
            Some(token) => wire.showing(token),
            None => wire,
        })
    }

    /// Asks once; none when there is no answer in time.
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: &str,
        within: Duration,
    ) -> Option<(u16, Value)> {
        let (status, body) = once(self.wire(), method, path, body, within).await?;
        Some((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}
