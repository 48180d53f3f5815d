//! What a node does about a disk in trouble: it leads no more, and says so; once the disk is well again, it
//! goes on as if nothing had been.
//!
//! [`Conduct`] is pure: of how the disk stands and whether this node leads it makes what is to be done. A
//! disk that leaves the journal stuck can make nothing durable, so another must lead, and this node stands
//! for no election. One that only refuses what will be needed later (a snapshot, the journal's next segment)
//! is a reason to let another lead, once; where all disks are like that, leadership must not go round in
//! circles.
//!
//! Not here: proposals, which the group refuses while the journal is stuck; and this node's own lease, which
//! `tenancy.rs` does not renew then. The leases of others need no disk of this node, and are left alone.

use std::sync::Arc;
use std::time::Duration;

use quorate_consensus::Role;
use quorate_storage::Standing;
use quorate_vocab::Time;

use crate::hall::Hall;
use crate::voters;

/// How often a disk in trouble is looked at, and whether this node leads meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// When a leader whose journal is stuck tries again to hand over, if nobody took over.
const HAND_OVER_AGAIN: Duration = Duration::from_secs(5);
/// When one does that whose disk leaves it running.
const SELDOM: Duration = Duration::from_secs(60);

/// What is seen at one moment.
#[derive(Clone, Copy, Debug)]
struct Sight {
    standing: Standing,
    stuck: bool,
    leads: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Tell the operator how the disk stands now.
    Tell(Standing),
    /// Stand for election from now on, or do not.
    Stand(bool),
    /// Let another lead.
    HandOver,
}

/// What was done about the disk so far.
#[derive(Debug, Default)]
struct Conduct {
    told: Standing,
    stands_back: bool,
    handed_over: Option<Time>,
}

impl Conduct {
    fn step(&mut self, now: Time, sight: Sight, out: &mut Vec<Step>) {
        let Sight { standing, stuck, leads } = sight;
        if std::mem::discriminant(&standing) != std::mem::discriminant(&self.told) {
            out.push(Step::Tell(standing));
            self.told = standing;
        }
        if stuck != self.stands_back {
            out.push(Step::Stand(!stuck));
            self.stands_back = stuck;
        }
        // A disk that is merely slow is no reason: it may be the same one for all.
        let is_ill = stuck || !matches!(standing, Standing::Healthy | Standing::Slow { .. });
        let rest = if stuck { HAND_OVER_AGAIN } else { SELDOM };
        let is_due = self.handed_over.is_none_or(|at| now.since(at) >= rest);
        if is_ill && leads && is_due {
            self.handed_over = Some(now);
            out.push(Step::HandOver);
        }
    }
}

/// Follows how the disk stands, for as long as the node lives.
pub(crate) async fn follow(hall: Arc<Hall>) {
    let watch = hall.group().disk();
    let mut conduct = Conduct::default();
    loop {
        let (standing, stuck) = (watch.current(), watch.is_stuck());
        let leads = hall.group().status().role == Role::Leader;
        let mut steps = Vec::new();
        conduct.step(quorate_env::now(), Sight { standing, stuck, leads }, &mut steps);
        for step in steps {
            match step {
                Step::Tell(standing) => tell(standing, watch.why()),
                Step::Stand(stands) => hall.group().stand(stands),
                Step::HandOver => hand_over(&hall).await,
            }
        }
        if standing.is_healthy() && !stuck {
            watch.changed(standing).await;
        } else {
            // Elections are won meanwhile, and no watch tells of both.
            let _ = quorate_env::timeout(LOOK_AGAIN, watch.changed(standing)).await;
        }
    }
}

fn tell(standing: Standing, why: Option<String>) {
    let why = why.unwrap_or_default();
    match standing {
        Standing::Healthy => tracing::info!("the disk takes everything again"),
        Standing::Slow { .. } => tracing::warn!("the disk is slow to answer"),
        Standing::Failed => {
            tracing::error!(why, "the disk failed; this node must be started again");
        }
        standing => tracing::error!(?standing, why, "the disk is in trouble"),
    }
}

/// Lets another lead. Raft itself may wait for the disk by then, and whoever waits for it must not for ever.
async fn hand_over(hall: &Arc<Hall>) {
    let within = hall.config().lease * 2;
    match quorate_env::timeout(within, voters::hand_over(hall, None)).await {
        Ok(told) => tracing::warn!(?told, "this node's disk is in trouble; another is to lead"),
        Err(_) => tracing::warn!("this node's disk is in trouble, and nobody leads in its place"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL_LEADER: Sight = Sight { standing: Standing::Full, stuck: true, leads: true };

    fn steps(conduct: &mut Conduct, seconds: u64, sight: Sight) -> Vec<Step> {
        let mut out = Vec::new();
        conduct.step(Time(0) + Duration::from_secs(seconds), sight, &mut out);
        out
    }

    #[test]
    fn a_leader_whose_journal_is_stuck_hands_over_until_somebody_leads_and_stands_when_it_is_well()
    {
        let mut conduct = Conduct::default();
        let told = steps(&mut conduct, 0, FULL_LEADER);
        assert_eq!(told, [Step::Tell(Standing::Full), Step::Stand(false), Step::HandOver]);
        assert_eq!(steps(&mut conduct, 1, FULL_LEADER), []);
        assert_eq!(steps(&mut conduct, 5, FULL_LEADER), [Step::HandOver]);
        let follows = Sight { leads: false, ..FULL_LEADER };
        assert_eq!(steps(&mut conduct, 20, follows), []);
        let well = Sight { standing: Standing::Healthy, stuck: false, leads: false };
        let told = steps(&mut conduct, 21, well);
        assert_eq!(told, [Step::Tell(Standing::Healthy), Step::Stand(true)]);
    }

    #[test]
    fn a_disk_that_leaves_the_journal_running_costs_the_lead_once_and_no_election() {
        let mut conduct = Conduct::default();
        let sight = Sight { stuck: false, ..FULL_LEADER };
        let told = steps(&mut conduct, 0, sight);
        assert_eq!(told, [Step::Tell(Standing::Full), Step::HandOver]);
        // It is elected again, as all disks are like that.
        assert_eq!(steps(&mut conduct, 10, sight), []);
        assert_eq!(steps(&mut conduct, 60, sight), [Step::HandOver]);
    }

    #[test]
    fn a_slow_disk_is_told_of_once_and_costs_nothing_until_it_hangs() {
        let mut conduct = Conduct::default();
        let at = |seconds| Time(0) + Duration::from_secs(seconds);
        let slow = |since| Sight {
            standing: Standing::Slow { since: at(since) },
            stuck: false,
            leads: true,
        };
        assert!(matches!(steps(&mut conduct, 1, slow(0))[..], [Step::Tell(_)]));
        assert_eq!(steps(&mut conduct, 3, slow(2)), []);
        let hung = Sight { standing: Standing::Hung { since: at(2) }, stuck: true, leads: true };
        let told = steps(&mut conduct, 5, hung);
        assert!(matches!(told[..], [Step::Tell(_), Step::Stand(false), Step::HandOver]));
    }
}
