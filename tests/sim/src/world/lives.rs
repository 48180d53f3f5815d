//! Lives of clients and of names: opened, renewed through any node by a task of their own, as a library's
//! would be, and ended or left to expire.

use std::sync::Arc;
use std::time::Duration;

use quorate::Renewed;
use quorate_vocab::SessionId;
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::time::Instant;

use super::seat::Alive;
use super::{PATIENCE, World};
use crate::clock;

/// How long a life may stay silent.
const TTL_MS: std::ops::RangeInclusive<u64> = 1_000..=4_000;

/// How long a life may stay silent, as the dice say.
pub(super) fn draw_ttl(dice: &mut SmallRng) -> Duration {
    Duration::from_millis(dice.random_range(TTL_MS))
}

/// Within this time every life that nobody renews is over, where somebody leads: the longest silence and
/// the guard by the slowest clock, and a second to look, to agree and to tell everybody.
pub(super) fn over_within() -> Duration {
    let longest = Duration::from_millis(TTL_MS.end() + 100);
    longest.mul_f64(1.01 / 0.99 / 0.99) + Duration::from_secs(1)
}

/// Opens a life for a client and has it renewed for a while. Tells until when.
pub(super) async fn open(
    world: &Arc<World>,
    alive: &Alive,
    who: &str,
    dice: &mut SmallRng,
) -> Option<(SessionId, Instant)> {
    let ttl = draw_ttl(dice);
    let asked = world.history.moment();
    let sessions = alive.node.sessions();
    let key = Some(dice.random());
    let (session, _) = alive.ask(PATIENCE, sessions.open(ttl, key)).await?.ok()?;
    world.history.session_opened(session, asked);
    let until = clock::now() + Duration::from_millis(dice.random_range(500..=12_000));
    renew(world, session, ttl, until, who);
    Some((session, until))
}

/// Has a life renewed until a time. It ends by itself soon after, or with the world.
pub(super) fn renew(
    world: &Arc<World>,
    session: SessionId,
    ttl: Duration,
    until: Instant,
    who: &str,
) {
    world.trace.note(format_args!("session {session} of {who}"));
    let dice = world.dice(&format!("session {session} of {who}"));
    drop(quorate_env::spawn(keep(world.clone(), session, ttl, until, dice)));
}

/// Renews a session through any node until a time, and then ends it or lets it expire.
async fn keep(
    world: Arc<World>,
    session: SessionId,
    ttl: Duration,
    until: Instant,
    mut dice: SmallRng,
) {
    while clock::now() < until && !world.is_closing() {
        clock::pause(ttl / 3).await;
        let Some(alive) = world.alive(dice.random_range(0..world.seats.len())) else {
            continue;
        };
        let sent = world.history.moment();
        let sessions = alive.node.sessions();
        match alive.ask(ttl, sessions.renew(session)).await {
            Some(Ok(Renewed::For(span))) => {
                world.witness.seen().renewals.promised(session, sent, span);
            }
            Some(Ok(Renewed::Ended)) => {
                world.history.session_ended(session);
                return;
            }
            _ => {}
        }
    }
    let in_good_order = dice.random_bool(0.5);
    if let Some(alive) = world.alive(dice.random_range(0..world.seats.len()))
        && in_good_order
    {
        let sessions = alive.node.sessions();
        if let Some(Ok(())) = alive.ask(PATIENCE, sessions.end(session)).await {
            world.history.session_ended(session);
        }
    }
}
