//! How old what is applied here may be.
//!
//! A state is *of* a moment if whatever was committed anywhere before that moment is in it. Two things tell
//! such a moment:
//!
//! - A majority answered what this leader sent it then. So nobody later had begun to lead by then, and what
//!   was committed is what this leader knows to be, once that reaches into its own term.
//! - Another node says how old its state is, and up to which entry that is. Ours is of the moment at which we
//!   asked, or of a later one by as much as the answer was held there, less that age, once as much is applied
//!   here.
//!
//! Who votes alone, and has the log alone, is always of the present; with others that have the log, who may
//! be quicker to apply it, it asks itself what is committed. Ages are counted by the nodes' own clocks, so
//! they may be wrong by as much as those go wrong.
//!
//! Deliberately not here: whether a leader is heard (`serve`). That tells nothing of what it leads, or
//! whether it still does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::{ReadPolicy, ServerState};
use quorate_vocab::Time;

use crate::types::{LogId, Metrics, Raft};
use crate::wire::AgeBytes;

/// Two clocks differ in rate by one part in so many at most: each may be wrong by ρ, which is 1 %.
const CLOCKS_DIFFER: u32 = 50;

/// How long a leader who votes alone waits for its own answer, which is a matter of applying.
const WITHIN: Duration = Duration::from_secs(2);

/// Of which moment what is applied here is. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Freshness(Arc<Known>);

#[derive(Default)]
struct Known {
    /// The latest such moment; 0: none is known.
    moment: AtomicU64,
    /// Whether this node leads, has applied something of its own term, and nobody else has the log.
    is_alone: AtomicBool,
    due: Mutex<Option<Due>>,
}

/// A moment of which the state is as soon as so much is applied.
#[derive(Clone, Copy)]
struct Due {
    moment: Time,
    upto: u64,
}

/// What Raft says of a leader.
struct Lead {
    is_alone: bool,
    /// None until something of its own term is committed, or nobody else has answered it.
    confirmed: Option<Due>,
    applied: u64,
}

impl Freshness {
    /// How old what is applied here may be; [`Duration::MAX`] where nobody can say.
    pub(crate) fn age(&self) -> Duration {
        // Nobody else could have agreed on anything, or have applied it before.
        if self.0.is_alone.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        match self.0.moment.load(Ordering::Acquire) {
            0 => Duration::MAX,
            moment => quorate_env::now().since(Time(moment)),
        }
    }

    /// Takes over what Raft says of a leader's majority. Call whenever its metrics have changed.
    pub(crate) fn lead(&self, metrics: &Metrics) {
        let lead = Lead::of(metrics);
        self.0.is_alone.store(lead.as_ref().is_some_and(|lead| lead.is_alone), Ordering::Release);
        if let Some(Lead { confirmed: Some(due), applied, .. }) = lead {
            self.confirmed(due, applied);
        }
    }

    /// A majority confirmed a moment. While ever more is committed there is always something left to apply,
    /// so the first such moment is kept until its own share is.
    fn confirmed(&self, new: Due, applied: u64) {
        let mut due = self.0.due.lock().expect("nothing panics while it holds this");
        if let Some(one) = due.take_if(|one| one.upto <= applied) {
            self.since(one.moment);
        }
        if new.upto <= applied {
            self.since(new.moment);
        } else {
            due.get_or_insert(new);
        }
    }

    /// For a leader who votes alone, and whose majority is therefore asked nothing.
    pub(crate) async fn ask_oneself(&self, raft: &Raft) {
        let asked = quorate_env::now();
        let read = raft.ensure_linearizable(ReadPolicy::ReadIndex);
        if let Ok(Ok(_)) = quorate_env::timeout(WITHIN, read).await {
            self.since(asked);
        }
    }

    /// Another node was asked at a moment, and what it said is applied here.
    pub(crate) fn told(&self, asked: Time, said: AgeBytes) {
        self.since(moment_of(asked, said, quorate_env::now()));
    }

    fn since(&self, moment: Time) {
        // Whoever reads this and then the state finds what was applied by now.
        self.0.moment.fetch_max(moment.0, Ordering::Release);
    }
}

/// Of which moment a state is, by what was said of it.
fn moment_of(asked: Time, said: AgeBytes, now: Time) -> Time {
    // Its clock may be as fast as this one is slow.
    let held = said.held - said.held / CLOCKS_DIFFER;
    (asked + held).min(now) - said.age
}

impl Lead {
    fn of(metrics: &Metrics) -> Option<Self> {
        if metrics.state != ServerState::Leader {
            return None;
        }
        let own = |id: &LogId| id.leader_id.term == metrics.current_term;
        let mut members = metrics.membership_config.membership().nodes();
        let is_alone = members.all(|(node, _)| *node == metrics.id);
        let (acked, committed) = (metrics.last_quorum_acked, metrics.cluster_committed.filter(own));
        Some(Self {
            is_alone: is_alone && metrics.last_applied.as_ref().is_some_and(own),
            confirmed: acked
                .zip(committed)
                .map(|(acked, committed)| Due { moment: acked.time(), upto: committed.index }),
            applied: metrics.last_applied.map_or(0, |id| id.index),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(freshness: &Freshness) -> u64 {
        freshness.0.moment.load(Ordering::Relaxed)
    }

    fn said(age: Duration, held: Duration) -> AgeBytes {
        AgeBytes { upto: 7, age, held }
    }

    #[test]
    fn nobody_can_say_before_anything_was_heard_or_after_one_who_cannot() {
        let freshness = Freshness::default();
        assert_eq!(freshness.age(), Duration::MAX);
        freshness.told(quorate_env::now(), said(Duration::MAX, Duration::MAX));
        assert_eq!(freshness.age(), Duration::MAX);
        freshness.told(quorate_env::now(), said(Duration::ZERO, Duration::ZERO));
        let known = moment(&freshness);
        assert!(known > 0 && freshness.age() < Duration::MAX);
        // An older one makes it no older.
        freshness.told(quorate_env::now(), said(Duration::from_secs(1), Duration::ZERO));
        assert_eq!(moment(&freshness), known);
    }

    #[test]
    fn what_is_told_is_as_old_as_the_question_besides_but_for_what_it_waited() {
        let of = |age: u64, held: Duration| {
            let said = said(Duration::from_nanos(age), held);
            moment_of(Time(9_000), said, Time(10_000)).0
        };
        assert_eq!(of(2_000, Duration::ZERO), 7_000);
        assert_eq!(of(2_000, Duration::from_nanos(500)), 7_490);
        assert_eq!(of(0, Duration::MAX), 10_000, "not of a moment that is still to come");
    }

    #[test]
    fn a_leader_is_as_young_as_its_majority_only_when_it_has_applied_what_was_committed_then() {
        let freshness = Freshness::default();
        let confirmed = |at: u64, upto: u64, applied: u64| {
            freshness.confirmed(Due { moment: Time(at), upto }, applied);
            moment(&freshness)
        };
        assert_eq!(confirmed(100, 5, 4), 0);
        // More and more is committed, and it lags by a little all the time.
        assert_eq!(confirmed(200, 7, 4), 0);
        assert_eq!(confirmed(300, 9, 6), 100);
        assert_eq!(confirmed(400, 12, 8), 100);
        assert_eq!(confirmed(500, 14, 12), 300);
        assert_eq!(confirmed(600, 14, 14), 600);
    }
}
