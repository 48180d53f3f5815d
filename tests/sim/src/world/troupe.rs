//! Singletons: what each node offers to run, and what these do while they run.
//!
//! ```text
//!   plain   keeps nothing, and leaves somebody behind who acts under its epoch when it is long over
//!   count   counts what it acts on, and saves the count before it answers
//!   left    counts, too, and only leaves its count behind when it is told to end
//!   long    leaves so much behind that it goes from node to node, past the log
//!   frail   fails now and then, until the world is calm
//!   slow    does not mind being told to end
//!   after   starts only when plain is ready
//!   apart   two that are never on one node
//!   there   is only on nodes of one zone
//! ```
//!
//! Each turn tells the witness, from outside of all nodes and in true time, when its process begins and when
//! its future is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use quorate::{
    Bond, Claim, Company, Deed, Error, Exit, Message, Own, Refusal, Registration, ReplyTo, Restart,
    Restarts, Singleton, Spec, Tenure, Verdict, Wire,
};
use quorate_vocab::{Epoch, Name};
use rand::RngExt;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};

use super::seat::Alive;
use super::{World, name};
use crate::check::i05_turns::{Turn, TurnId};
use crate::clock;
use crate::history::Moment;

/// How often somebody tries to offer what was refused.
const OFFER_AGAIN: Duration = Duration::from_millis(300);

/// What the long one leaves: in some seeds more than a piece.
const LONG_BYTES: std::ops::Range<usize> = 70_000..1_200_000;

/// Under what turns register, in the name of their singletons.
const DEEDS: &str = "deeds/";

/// A call, by its number, and where the answer goes: the epoch that it was acted on under.
#[derive(Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) to: ReplyTo<u64>,
}

impl Message for Call {
    const WIRE: Option<Wire<Self>> = Some(Wire::new("sim.call", 1));
}

/// What a singleton is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Count,
    Left,
    Long,
    Frail,
    Slow,
}

/// What a seed has its nodes offer.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: Name,
    kind: Kind,
    spec: Spec,
}

/// The singletons of a world of so many nodes: some in every one, the others in some.
pub(super) fn parts(dice: &mut SmallRng, nodes: usize) -> Vec<Part> {
    let part = |called: &str, kind, spec| Part { name: name(format!("s/{called}")), kind, spec };
    let plain = Spec::default;
    let mut parts = vec![
        part("plain", Kind::Plain, plain()),
        part("count", Kind::Count, plain()),
        part("left", Kind::Left, plain()),
    ];
    if dice.random_bool(0.5) {
        let restarts = Restarts { when: Restart::OnFailure, most: 2, within_ms: 10_000 };
        parts.push(part("frail", Kind::Frail, Spec { restarts, ..plain() }));
    }
    if dice.random_bool(0.5) {
        parts.push(part("slow", Kind::Slow, plain()));
    }
    if dice.random_bool(0.5) {
        let after = BTreeSet::from([name("s/plain")]);
        parts.push(part("after", Kind::Plain, Spec { after, ..plain() }));
    }
    if dice.random_bool(0.4) {
        let company = Company { group: "apart".to_owned(), apart: true, spread: None };
        // Each has a node that it may be on.
        for nth in 0..nodes.min(2) {
            let spec = Spec { company: Some(company.clone()), ..plain() };
            parts.push(part(&format!("apart/{nth}"), Kind::Plain, spec));
        }
    }
    if dice.random_bool(0.4) {
        let on = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
        parts.push(part("there", Kind::Count, Spec { on, ..plain() }));
    }
    if dice.random_bool(0.5) {
        parts.push(part("long", Kind::Long, plain()));
    }
    parts
}

/// What a node's labels are.
pub(super) fn labels(nth: usize) -> BTreeMap<String, String> {
    let zone = if nth.is_multiple_of(2) { "b" } else { "a" };
    BTreeMap::from([("zone".to_owned(), zone.to_owned())])
}

/// Has a life of a node offer all parts.
pub(super) async fn offer(world: Weak<World>, nth: usize, alive: Alive) {
    let Some(parts) = world.upgrade().map(|world| world.parts.clone()) else { return };
    for Part { name, kind, spec } in parts {
        let role = Role { world: world.clone(), nth, number: alive.number, kind };
        // Once it was taken, the node offers it again by itself, whatever happens.
        while let Err(Error::Refused(_)) =
            alive.node.singletons().define_with(&name, spec.clone(), role.clone()).await
        {
            clock::pause(OFFER_AGAIN).await;
        }
    }
}

/// A singleton, as one life of a node would run it. It holds the world by a thread, as the world holds it.
#[derive(Clone)]
struct Role {
    world: Weak<World>,
    nth: usize,
    number: u64,
    kind: Kind,
}

impl Singleton for Role {
    type Message = Call;

    async fn run(&self, tenure: Tenure<Call>) -> Exit {
        match self.world.upgrade() {
            Some(world) => Run::begin(self, world, &tenure).live(tenure).await,
            None => Exit::Normal,
        }
    }
}

/// One run of a process, as the witness sees it. Its end is the end of this.
struct Run {
    world: Arc<World>,
    kind: Kind,
    turn: TurnId,
    own: Own,
    count: u64,
    dice: SmallRng,
}

impl Run {
    fn begin(role: &Role, world: Arc<World>, tenure: &Tenure<Call>) -> Self {
        let own = tenure.own().clone();
        let (name, epoch) = (own.name(), own.epoch());
        let host = world.seats[role.nth].host.clone();
        // Of its own node's state it asks what no node may run without.
        let alive = world.alive(role.nth).filter(|alive| alive.number == role.number);
        let (granted, checkpoint) = alive.map_or((false, None), |alive| {
            alive.node.inspect(|machine, _| {
                let row = machine.singleton(name.as_str());
                let granted = row.is_some_and(|row| {
                    row.epoch() == Some(epoch) || row.past.iter().any(|past| past.epoch == epoch)
                });
                let checkpoint = machine.checkpoint(name.as_str());
                (granted, checkpoint.map(|one| (one.epoch, one.version)))
            })
        });
        let inherited = own.inherited();
        let count = inherited.state().and_then(|state| state.first_chunk());
        let count = count.map_or(0, |count| u64::from_le_bytes(*count));
        let begun = world.history.moment();
        world.trace.note(format_args!("turn {name} {epoch} begins on {host} with {count}"));
        let dice = world.dice(&format!("turn {name} {epoch} {}", begun.nth));
        let turn = {
            let mut seen = world.witness.seen();
            if let Some((by, version)) = checkpoint {
                seen.stale.done(name, by, version, "a checkpoint");
            }
            if own.missed().is_some() {
                seen.handoffs.missed(name, epoch);
            }
            if matches!(role.kind, Kind::Count | Kind::Left | Kind::Long) {
                seen.handoffs.begun(name, epoch, count, begun);
            }
            seen.turns.begun(Turn {
                name: name.clone(),
                epoch,
                node: tenure.mail.pid().node,
                life: (host, role.number),
                begun,
                ended: Moment::NEVER,
                granted,
            })
        };
        Self { world, kind: role.kind, turn, own, count, dice }
    }

    async fn live(mut self, mut tenure: Tenure<Call>) -> Exit {
        if self.kind == Kind::Plain && self.dice.random_bool(0.4) {
            let after = Duration::from_millis(self.dice.random_range(500..=8_000));
            drop(quorate_env::spawn(haunt(Arc::downgrade(&self.world), self.own.clone(), after)));
        }
        match self.kind {
            Kind::Slow => loop {
                let call = tenure.mail.receive().await;
                clock::pause(Duration::from_millis(self.dice.random_range(0..=900))).await;
                self.act(call).await;
            },
            Kind::Frail if !self.world.is_closing() => {
                let fails = Duration::from_millis(self.dice.random_range(200..=15_000));
                tokio::select! {
                    biased;
                    () = self.serve(&mut tenure) => return Exit::Normal,
                    () = clock::pause(fails) => {}
                }
                if !self.world.is_closing() {
                    return Exit::because("it fails now and then");
                }
                self.serve(&mut tenure).await;
                Exit::Normal
            }
            Kind::Left => {
                self.serve(&mut tenure).await;
                self.leave(8);
                Exit::Normal
            }
            Kind::Long => {
                self.serve(&mut tenure).await;
                let bytes = self.dice.random_range(LONG_BYTES);
                self.leave(bytes);
                Exit::Normal
            }
            _ => {
                self.serve(&mut tenure).await;
                Exit::Normal
            }
        }
    }

    async fn serve(&mut self, tenure: &mut Tenure<Call>) {
        while let Some(call) = tenure.next().await {
            self.act(call).await;
        }
    }

    /// Leaves the count behind, and makes it as long as it is to be.
    fn leave(&self, bytes: usize) {
        let mut state = self.count.to_le_bytes().to_vec();
        state.resize(bytes, self.count as u8);
        self.own.leave(state).expect("it is not too long");
        let (name, epoch) = (self.own.name(), self.own.epoch());
        self.world.witness.seen().handoffs.left(name, epoch, self.count);
    }

    async fn act(&mut self, call: Call) {
        let (name, epoch) = (self.own.name().clone(), self.own.epoch());
        self.world.trace.note(format_args!("call {} is acted on under {epoch}", call.number));
        self.world.witness.seen().calls.acted(call.number, epoch);
        match self.kind {
            Kind::Count => {
                self.count += 1;
                if self.own.save(self.count.to_le_bytes()).await.is_ok() {
                    let now = self.world.history.moment();
                    self.world.witness.seen().handoffs.saved(&name, self.count, now);
                }
            }
            Kind::Left | Kind::Long => self.count += 1,
            Kind::Plain if self.dice.random_bool(0.3) => {
                deed(&self.world, &self.own).await;
            }
            _ => {}
        }
        call.to.send(epoch.get());
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Of a life that is over by now the witness knows when it was.
        let now = self.world.history.moment();
        self.world.witness.seen().turns.ended(self.turn, now);
    }
}

/// Acts in the name of a turn, whether it is over or not.
async fn deed(world: &World, own: &Own) {
    let (of, epoch) = (own.name(), own.epoch());
    let value = format!("{of} {}", epoch.get()).into_bytes();
    let claim = Claim { bond: Bond::Durable, holder: None, value, meta: BTreeMap::new() };
    let wanted = name(format!("{DEEDS}{}", world.history.moment().nth));
    match own.act(Deed::Register { name: wanted, claim, replace: None }).await {
        // It was done where its epoch says; the answer may be to a copy that came later.
        Ok((_, Verdict::Registered { epoch: done })) => {
            world.witness.seen().stale.done(of, epoch, done.index(), "an answered deed");
        }
        Err(Error::Refused(Refusal::NotGranted { .. })) => world.witness.seen().stale.refused(),
        _ => {}
    }
}

/// Whose deed a registration is, if it is one.
pub(super) fn doer(held: &Registration) -> Option<(Name, Epoch)> {
    held.name.as_str().strip_prefix(DEEDS)?;
    let (of, epoch) = std::str::from_utf8(&held.value).ok()?.split_once(' ')?;
    Some((Name::new(of).ok()?, Epoch::from_shown(epoch.parse().ok()?)?))
}

/// What a turn left running: it acts under an epoch that may be over.
async fn haunt(world: Weak<World>, own: Own, after: Duration) {
    clock::pause(after).await;
    let Some(world) = world.upgrade() else { return };
    deed(&world, &own).await;
    // Where it takes effect, the state tells.
    let saved = own.save(b"a word from the past".to_vec()).await;
    if let Err(Error::Refused(Refusal::NotGranted { .. })) = saved {
        world.witness.seen().stale.refused();
    }
}
