//! Whether all nodes hold the same state once each has applied as much of the log.

use std::time::Duration;

use quorate::Contents;
use quorate_drill::story::Replicas;
use quorate_env::{now, sleep};

use super::door::Door;
use crate::wire::once;

const WITHIN: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Takes the state of each node until all are of one index, and compares them.
pub(super) async fn compare(doors: &[Door], within: Duration) -> Replicas {
    let until = now() + within;
    loop {
        let mut states = Vec::new();
        for door in doors {
            states.extend(state(door).await);
        }
        if let [first, ..] = &states[..]
            && states.len() == doors.len()
            && states.iter().all(|state| state.head().index == first.head().index)
        {
            let index = Some(first.head().index.0);
            let mut parties: Vec<Vec<&Contents>> = Vec::new();
            for state in &states {
                match parties.iter_mut().find(|party| party[0].state() == state.state()) {
                    Some(party) => party.push(state),
                    None => parties.push(vec![state]),
                }
            }
            let names =
                |party: Vec<&Contents>| party.iter().map(|one| one.head().by.to_string()).collect();
            return Replicas { index, parties: parties.into_iter().map(names).collect() };
        }
        if now() > until {
            return Replicas::default();
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn state(door: &Door) -> Option<Contents> {
    let asking = once(door.wire(), "GET", "/v1/backup?consistency=local", "", WITHIN);
    let (status, bytes) = asking.await?;
    (status == 200).then(|| Contents::read(&bytes[..], |_| ()).ok()).flatten()
}
