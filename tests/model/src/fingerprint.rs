//! What tells one state from another.
//!
//! Two states with one fingerprint have the same future, so that one of them is enough:
//! - A clock is compared with nothing but itself. All of its moments count as distances to its now; and the
//!   cores act on distances alone.
//! - A distance beyond what anything waits for is as good as the least such.
//! - Of a holder, only what its deadline is and would be with each answer that may still come matters; its
//!   drivers number renews upwards, so the numbers themselves do not.
//! - A leader that is awake has just been stepped. One that is stopped for more than a quarter of the wait
//!   counts anew when it wakes, whatever it had counted.
//! - What a voter remembers matters to a leader that is still to ask for it, and to nobody else; and whatever
//!   is longer ago than the whole wait is as good as that.
//! - No voter is named by anybody, so their order means nothing.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::mem::discriminant;
use std::time::Duration;

use quorate_registry::lease::holder;
use quorate_vocab::Time;

use crate::bounds::{FAST, GUARD};
use crate::seat::{Ask, Place, Seat};
use crate::voter::{Heard, Reign, Voter};
use crate::world::World;

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut voters: Vec<u64> = self.voters.iter().map(|voter| self.of_voter(voter)).collect();
        voters.sort_unstable();
        voters.hash(state);
        self.seats.iter().for_each(|seat| of_seat(seat, state));
        // What is agreed says what the ledger is.
        self.agreed.hash(state);
        self.under_way.hash(state);
        self.left.hash(state);
        self.seen.hash(state);
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        let of = |world: &Self| {
            let mut state = DefaultHasher::new();
            world.hash(&mut state);
            state.finish()
        };
        of(self) == of(other)
    }
}

impl World {
    fn of_voter(&self, voter: &Voter) -> u64 {
        let mut state = DefaultHasher::new();
        voter.term.hash(&mut state);
        voter.log.hash(&mut state);
        if self.is_to_recall() {
            let wait = self.wait;
            let age = |(session, at)| (session, voter.now.since(at).min(wait));
            voter.memory.heard().map(age).for_each(|it| it.hash(&mut state));
        }
        let Some(reign) = &voter.reign else { return state.finish() };
        let Reign { wait, now, asleep, applied, ledger: _, grantor, .. } = reign;
        let Reign { in_office, recalled, heard, round, .. } = reign;
        let is_long = asleep.is_some_and(|ticks| FAST * ticks > *wait / 4);
        (asleep.filter(|_| !is_long), is_long, applied, in_office.is_some(), recalled)
            .hash(&mut state);
        for (session, silence) in grantor.silences(*now) {
            // There is no way back for one that is condemned, however long it was silent.
            let lasted = silence.condemned.is_none().then_some(silence.lasted);
            (session, lasted.filter(|_| !is_long)).hash(&mut state);
            (silence.inherited && self.is_to_recall() && !recalled && !is_long).hash(&mut state);
            silence.condemned.filter(|_| !is_long).hash(&mut state);
        }
        self.of_heard(heard, &mut state);
        round.is_some().hash(&mut state);
        round.iter().for_each(|round| self.of_heard(round, &mut state));
        state.finish()
    }

    /// In which order they came means nothing.
    fn of_heard(&self, all: &[Heard], state: &mut impl Hasher) {
        let place = |heard: &Heard| {
            let asks = &self.seats[usize::from(heard.holder)].asks;
            asks.iter().position(|ask| ask.seq == heard.seq)
        };
        let by_place: BTreeMap<_, _> = all
            .iter()
            .map(|heard| ((heard.holder, place(heard)), (heard.asked, heard.over, heard.stored)))
            .collect();
        by_place.hash(state);
    }
}

fn of_seat(seat: &Seat, state: &mut impl Hasher) {
    (seat.boot, seat.asleep, seat.view, seat.running, seat.ended).hash(state);
    (discriminant(&seat.place), seat.session()).hash(state);
    seat.end().map(|end| distance(end, seat.now)).hash(state);
    for ask in &seat.asks {
        (ask.session, ask.renewed, ask.over).hash(state);
        worth(seat, ask).map(|until| distance(until, seat.now)).hash(state);
    }
    seat.may_send().hash(state);
}

/// Until when the lease would be held if this renew was answered now.
fn worth(seat: &Seat, ask: &Ask) -> Option<Time> {
    match &seat.place {
        Place::Held(_, holder) => {
            let mut holder = holder.clone();
            holder.step(seat.now, holder::Input::Confirmed { seq: ask.seq }, &mut Vec::new());
            holder.deadline()
        }
        _ => Some(ask.sent + seat.good_for),
    }
}

/// How far a moment lies ahead or behind, where behind is no further than a fencer is awaited.
fn distance(moment: Time, now: Time) -> (Duration, Duration) {
    (moment.since(now), now.since(moment).min(GUARD))
}
