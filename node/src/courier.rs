//! The courier: brings this node's proposals to whoever leads, many at once.
//!
//! While some loads are on their way the next one gathers, so that under load a call, an answer and all that
//! wakes up for them are shared by many; a proposal that finds nothing under way goes at once and alone. Who
//! leads is asked anew for each load. A load's proposals have nothing else in common: each has an outcome of
//! its own.
//!
//! Not here: trying again. Whoever proposed decides on that, by what its own outcome leaves open.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use quorate_registry::{Command, Verdict};
use quorate_vocab::{Index, NodeId};
use tokio::sync::oneshot;

use crate::error::NotDone;
use crate::hall::{Hall, Miss, missed};
use crate::post::{Ask, LOAD_MAX, Outcome, Told};

/// How many loads are under way at once: one that is being decided, and one that is on the road meanwhile.
const LOADS: usize = 2;
/// What one load weighs at most, if it is more than one proposal. As bytes it is lighter.
const LOAD_BYTES_MAX: usize = 512 * 1024;
/// What all that waits for a load weighs at most; beyond that a proposal is refused at once.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

type Decided = Result<(Index, Verdict), Miss>;

/// Cheap when nothing is under way; dropped with its hall.
#[derive(Default)]
pub(crate) struct Courier(Mutex<Desk>);

/// What waits, and how many are on the road with what does not wait any more.
#[derive(Default)]
struct Desk {
    /// To whom what is under way goes. What went to another before holds nothing up any more.
    leader: Option<NodeId>,
    /// How often that has changed.
    changes: u64,
    under_way: usize,
    waiting: VecDeque<Parcel>,
    weight: usize,
}

struct Parcel {
    command: Command,
    answer: oneshot::Sender<Decided>,
}

impl Courier {
    /// Brings a proposal to whoever leads, together with others that wait. It goes on although the caller may
    /// have stopped waiting.
    pub(crate) async fn bring(&self, hall: &Arc<Hall>, command: Command) -> Decided {
        let (answer, answers) = oneshot::channel();
        let sets_out = self.lock().take_in(Parcel { command, answer }, hall.other_leader())?;
        if let Some(change) = sets_out {
            let hall = hall.clone();
            quorate_env::spawn(async move { hall.courier().run(&hall, change).await });
        }
        // Dropped unanswered: this life has ended.
        answers.await.unwrap_or(Err(Miss::Unknown))
    }

    async fn run(&self, hall: &Arc<Hall>, change: u64) {
        while let Some((commands, answers)) = self.next(change) {
            let outcomes = carry(hall, commands).await;
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(outcome);
            }
        }
    }

    /// The next load, for whoever set out at that change; none when nothing waits, or others carry it now.
    fn next(&self, change: u64) -> Option<(Vec<Command>, Vec<oneshot::Sender<Decided>>)> {
        let mut desk = self.lock();
        if desk.changes != change {
            return None;
        }
        let load = desk.load();
        if load.is_empty() {
            desk.under_way -= 1;
            return None;
        }
        Some(load.into_iter().map(|parcel| (parcel.command, parcel.answer)).unzip())
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().expect("nothing panics while it holds the desk")
    }
}

impl Desk {
    /// Takes a parcel in. If somebody has to set out with it: at which change of the leader.
    fn take_in(&mut self, parcel: Parcel, leader: Option<NodeId>) -> Result<Option<u64>, Miss> {
        let weight = parcel.command.weight();
        if self.weight + weight > WAITING_BYTES_MAX {
            return Err(Miss::NotDone(NotDone::Overloaded));
        }
        self.weight += weight;
        self.waiting.push_back(parcel);
        if self.leader != leader {
            // A leader that is silent is asked for as long as a lease may last; its successor is there
            // sooner.
            (self.leader, self.under_way) = (leader, 0);
            self.changes += 1;
        }
        let sets_out = self.under_way < LOADS;
        self.under_way += usize::from(sets_out);
        Ok(sets_out.then_some(self.changes))
    }

    /// What goes next: in the order in which it came, and nothing that nobody waits for any more.
    fn load(&mut self) -> Vec<Parcel> {
        let (mut load, mut bytes) = (Vec::new(), 0);
        while load.len() < LOAD_MAX
            && let Some(parcel) = self.waiting.pop_front()
        {
            let weight = parcel.command.weight();
            if !load.is_empty() && bytes + weight > LOAD_BYTES_MAX {
                self.waiting.push_front(parcel);
                break;
            }
            self.weight -= weight;
            if !parcel.answer.is_closed() {
                bytes += weight;
                load.push(parcel);
            }
        }
        load
    }
}

/// Proposes all of them, wherever the leader is by now. As many outcomes as commands, in their order.
async fn carry(hall: &Arc<Hall>, commands: Vec<Command>) -> Vec<Decided> {
    let count = commands.len();
    let Some(leader) = hall.other_leader() else {
        let outcomes = hall.group().propose_many(commands).await;
        return outcomes.into_iter().map(|outcome| outcome.map_err(|e| missed(&e))).collect();
    };
    if count == 1 {
        return singly(hall, leader, commands).await;
    }
    let ask = Ask::ProposeMany(commands);
    match (hall.ask_leader(leader, &ask).await, ask) {
        (Ok(Told::DecidedMany(outcomes)), _) if outcomes.len() == count => {
            outcomes.into_iter().map(decided).collect()
        }
        // An older build does not know of loads.
        (Ok(Told::Declined), Ask::ProposeMany(commands)) => singly(hall, leader, commands).await,
        (Ok(_), _) => vec![Err(Miss::Unknown); count],
        (Err(miss), _) => vec![Err(miss); count],
    }
}

/// Each by itself, as every build understands it.
async fn singly(hall: &Arc<Hall>, leader: NodeId, commands: Vec<Command>) -> Vec<Decided> {
    let mut outcomes = Vec::with_capacity(commands.len());
    for command in commands {
        outcomes.push(match hall.ask_leader(leader, &Ask::Propose(command)).await {
            Ok(Told::Decided(index, verdict)) => Ok((index, verdict)),
            Ok(Told::NotLeader { .. } | Told::Declined) => Err(Miss::NotDone(NotDone::NoLeader)),
            Ok(Told::Overloaded) => Err(Miss::NotDone(NotDone::Overloaded)),
            Ok(_) => Err(Miss::Unknown),
            Err(miss) => Err(miss),
        });
    }
    outcomes
}

fn decided(outcome: Outcome) -> Decided {
    match outcome {
        Outcome::Decided(index, verdict) => Ok((index, verdict)),
        Outcome::NotLeader => Err(Miss::NotDone(NotDone::NoLeader)),
        Outcome::Overloaded => Err(Miss::NotDone(NotDone::Overloaded)),
        Outcome::Unknown => Err(Miss::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use quorate_registry::{Once, Op};
    use quorate_vocab::Name;

    use super::*;

    fn command(name: &str) -> Command {
        let op = Op::Release { name: Name::new(name).unwrap(), epoch: None };
        Command { once: Once::Free, op }
    }

    fn parcel(name: &str) -> (Parcel, oneshot::Receiver<Decided>) {
        let (answer, answers) = oneshot::channel();
        (Parcel { command: command(name), answer }, answers)
    }

    #[test]
    fn two_loads_set_out_and_what_comes_meanwhile_shares_the_next() {
        let mut desk = Desk::default();
        let (first, _first) = parcel("a");
        assert_eq!(desk.take_in(first, None), Ok(Some(0)));
        assert_eq!(desk.load().len(), 1);
        let (second, _second) = parcel("b");
        assert_eq!(desk.take_in(second, None), Ok(Some(0)));
        assert_eq!(desk.load().len(), 1);
        let waiting: Vec<_> = ["c", "d", "e"].map(parcel).into();
        let mut patient = Vec::new();
        for (parcel, answers) in waiting {
            assert_eq!(desk.take_in(parcel, None), Ok(None));
            patient.push(answers);
        }
        // Who has left is not carried any more.
        patient.remove(1);
        let names: Vec<_> = desk.load().into_iter().map(|parcel| parcel.command).collect();
        assert_eq!(names, [command("c"), command("e")]);
        assert_eq!((desk.weight, desk.waiting.len()), (0, 0));
    }

    #[test]
    fn what_a_silent_leader_does_not_answer_holds_up_nothing_for_its_successor() {
        let courier = Courier::default();
        let take_in = |text: &str, leader| {
            let (parcel, answers) = parcel(text);
            (courier.lock().take_in(parcel, leader), answers)
        };
        let (old, new) = (Some(NodeId(1)), Some(NodeId(2)));
        let _under_way = ["a", "b"].map(|text| {
            let (sets_out, answers) = take_in(text, old);
            assert_eq!(sets_out, Ok(Some(1)));
            assert!(courier.next(1).is_some());
            answers
        });
        let (waits, _waiting) = take_in("c", old);
        assert_eq!(waits, Ok(None));
        let (sets_out, _new) = take_in("d", new);
        assert_eq!(sets_out, Ok(Some(2)));
        // Who comes back from the old one finds that others carry what waits.
        assert!(courier.next(1).is_none());
        assert_eq!(courier.next(2).unwrap().0, [command("c"), command("d")]);
    }

    #[test]
    fn a_load_is_bounded_and_so_is_what_waits() {
        let mut desk = Desk::default();
        let mut patient = Vec::new();
        let refused = loop {
            let (parcel, answers) = parcel("n");
            match desk.take_in(parcel, None) {
                Ok(_) => patient.push(answers),
                Err(miss) => break miss,
            }
        };
        assert_eq!(refused, Miss::NotDone(NotDone::Overloaded));
        assert!(desk.weight <= WAITING_BYTES_MAX);
        let (total, mut carried) = (desk.waiting.len(), 0);
        while !desk.waiting.is_empty() {
            let load = desk.load();
            let bytes: usize = load.iter().map(|parcel| parcel.command.weight()).sum();
            assert!(load.len() <= LOAD_MAX && bytes <= LOAD_BYTES_MAX);
            carried += load.len();
        }
        assert_eq!((carried, desk.weight), (total, 0));
    }
}
