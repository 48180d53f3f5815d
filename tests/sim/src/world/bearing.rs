//! A client that bears properties, one session after the other, and looks whether they are there.

use std::sync::Arc;
use std::time::Duration;

use quorate::{Bearer, Error, Query, Said};
use quorate_vocab::{Name, SessionId};
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::task::JoinHandle;

use super::seat::Alive;
use super::{PATIENCE, World, lives, name};
use crate::clock;
use crate::history::Mark;

/// How many keys there are.
const KEYS: usize = 3;

/// Lets the bearer begin.
pub(super) fn begin(world: &Arc<World>) -> JoinHandle<()> {
    quorate_env::spawn(bear(world.clone()))
}

async fn bear(world: Arc<World>) {
    let mut dice = world.dice("bearer");
    let mut session = None;
    let mut said = 0_u64;
    while !world.is_closing() {
        clock::pause(Duration::from_millis(dice.random_range(40..=250))).await;
        let Some(alive) = world.alive(dice.random_range(0..world.seats.len())) else { continue };
        session = session.filter(|(_, until)| clock::now() < *until);
        let Some((bearer, _)) = session else {
            session = lives::open(&world, &alive, "bearer", &mut dice).await;
            continue;
        };
        let key = name(format!("y/{}", dice.random_range(0..KEYS)));
        match dice.random_range(0..10) {
            0..5 => {
                said += 1;
                let value = format!("said {said}").into_bytes();
                say(&world, &alive, &key, bearer, Some(value)).await;
            }
            5..6 => say(&world, &alive, &key, bearer, None).await,
            _ => look(&world, &alive, &key, bearer, &mut dice).await,
        }
    }
}

async fn say(world: &World, alive: &Alive, key: &Name, by: SessionId, what: Option<Vec<u8>>) {
    let bearer = Bearer { session: by, process: None };
    let mark = what.as_deref().map(Mark::of);
    let properties = alive.node.properties();
    let saying = async {
        match what {
            Some(value) => {
                let said = Said { value, ..Said::default() };
                properties.set(key, bearer, said).await.map(drop)
            }
            None => properties.drop(key, bearer, None).await,
        }
    };
    let answer = alive.ask(PATIENCE, saying).await;
    world.trace.note(format_args!("say {key} {by} {mark:?} {answer:?}"));
    let mut seen = world.witness.seen();
    match answer {
        Some(Ok(())) => seen.bearers.says(key, by, mark),
        Some(Err(Error::NotDone(_) | Error::Refused(_))) => {}
        _ => seen.bearers.may_say(key, by, mark),
    }
}

async fn look(world: &World, alive: &Alive, key: &Name, by: SessionId, dice: &mut SmallRng) {
    let query = Query::under(if dice.random_bool(0.5) { "y/" } else { key.as_str() });
    let properties = alive.node.properties();
    let Some(Ok((found, _))) = alive.ask(PATIENCE, properties.find(&query, None, 1_000)).await
    else {
        return;
    };
    let own = found.iter().find(|said| said.key == *key && said.bearer.session == by);
    let now = world.history.moment();
    world.witness.seen().bearers.found(key, by, own.map(|said| Mark::of(&said.value)), now);
}
