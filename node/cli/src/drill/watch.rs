//! Asks each node, again and again, whether it serves and whether it leads.

use std::time::Duration;

use quorate_env::{sleep, timeout};
use serde_json::Value;

use super::door::Door;
use super::notes::Notes;
use crate::wire::Wire;

const EVERY: Duration = Duration::from_millis(150);
const WITHIN: Duration = Duration::from_millis(500);

/// Watches one node until the drill is over.
pub(super) async fn watch(notes: Notes, door: Door) {
    let node = &door.name;
    let mut wire = None;
    while !notes.is_over() {
        let status = ask(&mut wire, &door).await;
        let quorate = status.as_ref().and_then(|status| status["quorate"].as_bool());
        let leads = status.is_some_and(|status| status["leader"] == **node)
            // Who is cut off may think so for longer than it is true.
            && quorate == Some(true);
        notes.probed(node, quorate, leads);
        sleep(EVERY).await;
    }
}

async fn ask(wire: &mut Option<Wire>, door: &Door) -> Option<Value> {
    let asking = async {
        let mut open = match wire.take() {
            Some(open) => open,
            None => door.wire().await.ok()?,
        };
        let (status, body) = open.ask("GET", "/v1/status", "").await.ok()?;
        *wire = Some(open);
        (status == 200).then(|| serde_json::from_slice(&body).ok()).flatten()
    };
    timeout(WITHIN, asking).await.ok().flatten()
}
