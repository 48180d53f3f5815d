//! What may happen next. Everything that is not said to be in time may happen at any time, or never.

use stateright::{Model, Property};

use crate::bounds::Mutant;
use crate::laws;
use crate::ledger::Op;
use crate::voter::Heard;
use crate::world::{Protocol, World};

/// One thing that happens. Holders and voters are named by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "what is named by a place needs no more words")]
pub enum Step {
    /// Time passes, on every clock.
    Tick,
    /// A holder renews.
    Send { holder: usize },
    /// A renew reaches a voter that believes to lead.
    Hear { voter: usize, holder: usize, ask: usize },
    /// A leader asks a majority about the renews it has heard, and is told that it leads.
    Round { voter: usize, with: usize },
    /// A leader and another voter store what it has heard.
    Store { voter: usize, with: usize },
    /// It answers them.
    Answer { voter: usize },
    /// The answer arrives: renewed.
    Renewed { holder: usize, ask: usize },
    /// The answer arrives: there is no such session any more.
    Over { holder: usize, ask: usize },
    /// A holder looks at what is agreed.
    Look { holder: usize },
    /// The singleton starts.
    Start { holder: usize },
    /// The singleton is stopped by its node.
    Stop { holder: usize },
    /// The singleton is asked to move: a leader takes that into its log.
    Move { voter: usize, nth: usize },
    /// A leader takes a command into its log that was under way.
    Append { voter: usize, nth: usize },
    /// A voter stores what a leader has.
    Copy { from: usize, to: usize },
    /// A leader learns that a majority stores it.
    Agree { voter: usize },
    /// A voter is elected.
    Elect { voter: usize, by: usize },
    /// It is told what a majority remembers.
    Recall { voter: usize, with: usize },
    /// A leader hears of a later one.
    Depose { voter: usize },
    /// A voter crashes, and starts again as nobody's leader.
    CrashVoter { voter: usize },
    /// A leader is stopped.
    Sleep { voter: usize },
    /// It goes on.
    Wake { voter: usize },
    /// A holder is stopped.
    Pause { holder: usize },
    /// It goes on.
    Resume { holder: usize },
    /// A fencer kills a node that is stopped past its deadline.
    Kill { holder: usize },
    /// A node crashes, and starts again.
    Crash { holder: usize },
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.bounds)]
    }

    fn actions(&self, world: &World, out: &mut Vec<Step>) {
        if world.may_tick(&self.bounds) {
            out.push(Step::Tick);
        }
        for holder in 0..world.seats.len() {
            self.of_holder(world, holder, out);
        }
        for voter in 0..world.voters.len() {
            if world.voters[voter].leads() {
                self.of_leader(world, voter, out);
            } else {
                self.of_follower(world, voter, out);
            }
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut world = world.clone();
        let bounds = &self.bounds;
        match step {
            Step::Tick => world.tick(),
            Step::Send { holder } => world.send(holder, bounds),
            Step::Hear { voter, holder, ask } => world.hear(voter, holder, ask),
            Step::Round { voter, with } => world.round(voter, with),
            Step::Store { voter, with } => world.store(voter, with, bounds),
            Step::Recall { voter, with } => world.recall(voter, with),
            Step::Answer { voter } => world.answer(voter, bounds),
            Step::Renewed { holder, ask } => world.confirm(holder, ask, bounds),
            Step::Over { holder, .. } => world.tell_over(holder),
            Step::Look { holder } => world.look(holder),
            Step::Start { holder } => {
                world.seats[holder].running = world.seats[holder].may_start(bounds);
            }
            Step::Stop { holder } => world.stop(holder),
            Step::Move { voter, nth } => {
                world.left.moves -= 1;
                let to = world.others().nth(nth)?;
                world.append(voter, Op::Move { to });
            }
            Step::Append { voter, nth } => {
                let op = *world.under_way.iter().nth(nth)?;
                world.append(voter, op);
            }
            Step::Copy { from, to } => world.copy(from, to),
            Step::Agree { voter } => world.agree(voter, bounds),
            Step::Elect { voter, by } => {
                world.left.elections -= 1;
                world.elect(voter, by, bounds);
            }
            Step::Depose { voter } => world.voters[voter].reign = None,
            Step::CrashVoter { voter } => {
                world.left.crashes -= 1;
                world.voters[voter].restart(&world.ledger, bounds);
            }
            Step::Sleep { voter } => {
                world.left.pauses -= 1;
                world.voters[voter].reign.as_mut()?.asleep = Some(0);
            }
            Step::Wake { voter } => world.wake(voter),
            Step::Pause { holder } => {
                world.left.pauses -= 1;
                world.seats[holder].asleep = true;
            }
            Step::Resume { holder } => world.resume(holder),
            Step::Kill { holder } => world.end_process(holder),
            Step::Crash { holder } => {
                world.left.crashes -= 1;
                world.end_process(holder);
            }
        }
        if !self.bounds.mutant.is_some_and(Mutant::is_of_leaders) {
            world.retire();
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        laws::all(self)
    }
}

impl Protocol {
    fn of_holder(&self, world: &World, holder: usize, out: &mut Vec<Step>) {
        let seat = &world.seats[holder];
        if world.left.crashes > 0 {
            out.push(Step::Crash { holder });
        }
        if seat.asleep {
            out.push(Step::Resume { holder });
            if seat.is_overdue() && !self.bounds.is(Mutant::NoFencer) {
                out.push(Step::Kill { holder });
            }
            return;
        }
        // Stopping what does not run is a delay, and there are delays without it.
        if world.left.pauses > 0 && seat.running.is_some() {
            out.push(Step::Pause { holder });
        }
        if seat.may_send() {
            out.push(Step::Send { holder });
        }
        for (ask, it) in seat.asks.iter().enumerate() {
            if it.renewed {
                out.push(Step::Renewed { holder, ask });
            }
            if it.over {
                out.push(Step::Over { holder, ask });
            }
        }
        if seat.look(&world.ledger).is_some() {
            out.push(Step::Look { holder });
        }
        if seat.may_start(&self.bounds).is_some() {
            out.push(Step::Start { holder });
        }
        if seat.must_stop() {
            out.push(Step::Stop { holder });
        }
    }

    fn of_leader(&self, world: &World, voter: usize, out: &mut Vec<Step>) {
        let Some(reign) = &world.voters[voter].reign else { return };
        let term = world.voters[voter].term;
        let others = world.listeners(voter);
        // One whom nobody follows any more hears in vain, and writes in vain.
        let may_ask = others.clone().next().is_some() || self.bounds.is(Mutant::NoRound);
        for (holder, seat) in world.seats.iter().enumerate() {
            for (ask, it) in seat.asks.iter().enumerate() {
                // One that was answered would, heard again, only make this leader wait for longer.
                let counts = reign.in_office.is_some() || self.bounds.is(Mutant::NotCounted);
                if may_ask && counts && !it.renewed && !reign.awaits(seat.id, it.seq) {
                    out.push(Step::Hear { voter, holder, ask });
                }
            }
        }
        let early = self.bounds.is(Mutant::EarlyRound);
        let in_office = reign.in_office.is_some();
        if in_office && reign.round.is_none() && (early || !reign.heard.is_empty()) {
            // Who takes part means something only to who leads beside, or will.
            let many = if world.is_last_reign() { 1 } else { others.clone().count() };
            out.extend(others.clone().take(many).map(|with| Step::Round { voter, with }));
            if self.bounds.is(Mutant::NoRound) {
                out.push(Step::Round { voter, with: voter });
            }
        }
        if reign.all_heard().any(|heard| !heard.stored) {
            let late = self.bounds.is(Mutant::ForgetsOffice);
            let awake = |with: &usize| *with != voter && !world.voters[*with].is_asleep();
            let all = (0..world.voters.len()).filter(awake);
            let take = all.filter(|with| late || world.voters[*with].term <= term);
            out.extend(take.map(|with| Step::Store { voter, with }));
        }
        let is_stored = |round: &Vec<Heard>| round.iter().all(|heard| heard.stored);
        let unstored = self.bounds.is(Mutant::NotStored);
        if reign.round.as_ref().is_some_and(|round| unstored || is_stored(round)) {
            out.push(Step::Answer { voter });
        }
        if in_office && self.bounds.remember && !reign.recalled {
            let follows = |with: &usize| world.voters[*with].term == term;
            out.extend(others.clone().filter(follows).map(|with| Step::Recall { voter, with }));
        }
        let appended = world.voters[voter].log.iter().filter(|entry| entry.op != Op::Noop).count();
        if may_ask && appended < self.bounds.entries.into() {
            out.extend((0..world.under_way.len()).map(|nth| Step::Append { voter, nth }));
            if world.left.moves > 0 {
                out.extend((0..world.others().count()).map(|nth| Step::Move { voter, nth }));
            }
        }
        let stored = world.stored(voter);
        // What a majority stores is safe; that the third one has it means something only to the next
        // election.
        if stored < world.voters[voter].log.len() || !world.is_last_reign() {
            let lacks = |to: &usize| world.voters[*to].log != world.voters[voter].log;
            out.extend(others.filter(lacks).map(|to| Step::Copy { from: voter, to }));
        }
        if stored > reign.applied {
            out.push(Step::Agree { voter });
        }
        if world.left.crashes > 0 {
            out.push(Step::CrashVoter { voter });
        }
        if world.left.pauses > 0 {
            out.push(Step::Sleep { voter });
        }
        if world.voters.iter().any(|other| other.term > term && !other.is_asleep()) {
            out.push(Step::Depose { voter });
        }
    }

    fn of_follower(&self, world: &World, voter: usize, out: &mut Vec<Step>) {
        if world.voters[voter].is_asleep() {
            out.push(Step::Wake { voter });
            return;
        }
        if world.left.crashes > 0 && world.is_to_recall() {
            out.push(Step::CrashVoter { voter });
        }
        let votes = |by: &usize| {
            let other = &world.voters[*by];
            *by != voter && !other.is_asleep() && other.newest() <= world.voters[voter].newest()
        };
        if world.left.elections > 0 {
            let by = (0..world.voters.len()).filter(votes);
            out.extend(by.map(|by| Step::Elect { voter, by }));
        }
    }
}
