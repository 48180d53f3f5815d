//! A door with a code lock, as a state machine: states, timeouts of two kinds, postponed events, enter
//! actions.
//!
//! Run it with `cargo run --release -p quorate-otp --example door_lock`.
//!
//! Not here: hardware.

use std::error::Error;
use std::io::{Write, stdout};
use std::time::Duration;

use quorate_actor::{Actors, Exit, Message};
use quorate_otp::{Context, Event, Statem, Timeouts, Transition};
use tokio::sync::mpsc;

const CODE: [u8; 4] = [1, 2, 3, 4];
/// How long the door stays open.
const OPEN: Duration = Duration::from_millis(100);
/// After so long without a key the keys so far are forgotten.
const PATIENCE: Duration = Duration::from_millis(400);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Locked,
    Open,
}

#[derive(Clone, Copy)]
enum Touch {
    Key(u8),
    /// Somebody leans against the door, and stays there until it opens.
    Push,
    Burn,
}

impl Message for Touch {}

/// The lock's data. Its state is the door's.
struct Lock {
    keys: Vec<u8>,
    /// Where it says what happens.
    panel: mpsc::Sender<String>,
}

impl Lock {
    async fn say(&self, words: impl Into<String>) {
        // Nobody may be looking.
        let _ = self.panel.send(words.into()).await;
    }

    async fn key(&mut self, key: u8) -> Transition<Door, Touch> {
        self.keys.push(key);
        if self.keys.len() < CODE.len() {
            return Transition::keep().event_timeout(PATIENCE);
        }
        let keys = std::mem::take(&mut self.keys);
        if keys == CODE {
            return Transition::to(Door::Open);
        }
        self.say(format!("{keys:?} is wrong")).await;
        Transition::keep()
    }
}

impl Statem for Lock {
    type State = Door;
    type Message = Touch;
    type Args = mpsc::Sender<String>;

    async fn init(
        panel: mpsc::Sender<String>,
        _cx: &mut Context<Touch>,
    ) -> Result<(Door, Self), Exit> {
        Ok((Door::Locked, Self { keys: Vec::new(), panel }))
    }

    async fn enter(
        &mut self,
        _from: Option<&Door>,
        door: &Door,
        _cx: &mut Context<Touch>,
    ) -> Result<Timeouts, Exit> {
        self.say(format!("the door is {door:?}")).await;
        Ok(match door {
            Door::Open => Timeouts::none().state(OPEN),
            Door::Locked => Timeouts::none(),
        })
    }

    async fn handle(
        &mut self,
        door: &Door,
        event: Event<Touch>,
        _cx: &mut Context<Touch>,
    ) -> Transition<Door, Touch> {
        match (door, event) {
            (Door::Locked, Event::Mail(Touch::Key(key))) => self.key(key).await,
            (Door::Locked, push @ Event::Mail(Touch::Push)) => {
                self.say("somebody leans against the door").await;
                Transition::postpone(push)
            }
            (Door::Locked, Event::EventTimeout) => {
                let keys = std::mem::take(&mut self.keys);
                self.say(format!("{keys:?} is forgotten")).await;
                Transition::keep()
            }
            (Door::Open, Event::Mail(Touch::Push)) => {
                self.say("somebody comes in").await;
                Transition::keep()
            }
            (Door::Open, Event::StateTimeout) => Transition::to(Door::Locked),
            (_, Event::Mail(Touch::Burn)) => Transition::stop(Exit::because("it burnt down")),
            _ => Transition::keep(),
        }
    }
}

/// Tells all of it to `out`.
pub(crate) async fn tell(
    out: &mut (impl Write + Send),
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let actors = Actors::alone();
    let (panel, mut said) = mpsc::channel(16);
    let lock = Lock::start(&actors, panel).await?;
    let ended = actors.ended(lock.pid());
    // Each part goes on when the panel has said what the part before it leads to.
    let story: [(&[Touch], &str); 5] = [
        (&[], "the door is Locked"),
        (&[Touch::Key(1), Touch::Key(2), Touch::Key(3), Touch::Key(5)], "[1, 2, 3, 5] is wrong"),
        (&[Touch::Push, Touch::Key(1), Touch::Key(2)], "[1, 2] is forgotten"),
        (&[Touch::Key(1), Touch::Key(2), Touch::Key(3), Touch::Key(4)], "somebody comes in"),
        (&[], "the door is Locked"),
    ];
    for (touches, until) in story {
        for touch in touches {
            lock.send(*touch)?;
        }
        while let Some(words) = said.recv().await {
            writeln!(out, "{words}")?;
            if words == until {
                break;
            }
        }
    }
    lock.send(Touch::Burn)?;
    writeln!(out, "the lock's process ended: {}", ended.await)?;
    actors.close().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    tell(&mut stdout()).await
}
