//! What a supervisor does when a child ends: pure rules, as OTP has them.
//!
//! `fate` says whether the dead comes back; `plan` says who else goes down with it and who is started
//! again, in which order. The process in `running` only carries out what stands here.

use quorate_actor::Exit;

/// Whether a child that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Unless it ended as it should: `Normal` or `Shutdown`.
    Transient,
    /// Never; its description goes with it.
    Temporary,
}

/// Who else is restarted with a child that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// Nobody: the children do not depend on each other.
    OneForOne,
    /// All the others: none can do without any other.
    OneForAll,
    /// Those started after it: each depends on those before it.
    RestForOne,
    /// Nobody; the children come and go while the supervisor runs, are known by pid, and all stop at once.
    Dynamic,
}

/// When a supervisor ends because of children that have done their work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AutoShutdown {
    /// It does not.
    #[default]
    Never,
    /// When any significant child ended and is not restarted.
    AnySignificant,
    /// When the last significant child ended and is not restarted.
    AllSignificant,
}

/// What becomes of a child that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Restarted,
    /// It stays known, and can be started again by hand.
    Kept,
    Forgotten,
}

/// In this order: stop, forget, start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan<K> {
    pub(crate) stop: Vec<K>,
    pub(crate) forget: Vec<K>,
    pub(crate) start: Vec<K>,
}

pub(crate) fn fate(strategy: Strategy, restart: Restart, exit: &Exit) -> Fate {
    match restart {
        Restart::Permanent => Fate::Restarted,
        Restart::Transient if !exit.is_orderly() => Fate::Restarted,
        // Dynamic children have no id by which somebody could start them again.
        Restart::Transient if strategy != Strategy::Dynamic => Fate::Kept,
        Restart::Transient | Restart::Temporary => Fate::Forgotten,
    }
}

/// Who is stopped and started when `died` is to be restarted. `children` come in the order of their start;
/// those that do not run are among them, since a group starts again as a whole.
pub(crate) fn plan<K: Copy + Ord>(
    strategy: Strategy,
    children: impl DoubleEndedIterator<Item = (K, Restart)>,
    died: K,
) -> Plan<K> {
    let mut plan = Plan { stop: Vec::new(), forget: Vec::new(), start: vec![died] };
    let others = match strategy {
        Strategy::OneForOne | Strategy::Dynamic => return plan,
        Strategy::OneForAll => children.rev().collect::<Vec<_>>(),
        Strategy::RestForOne => children.rev().take_while(|(key, _)| *key != died).collect(),
    };
    for (key, restart) in others.into_iter().filter(|(key, _)| *key != died) {
        plan.stop.push(key);
        // A temporary child is never started a second time, whoever made it end.
        let list = if restart == Restart::Temporary { &mut plan.forget } else { &mut plan.start };
        list.push(key);
    }
    plan.start.sort_unstable();
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use Restart::{Permanent, Temporary, Transient};

    const ALL: [Restart; 3] = [Permanent, Transient, Temporary];

    #[test]
    fn the_table_of_restarts_is_otp_s() {
        let bad = [
            Exit::Killed,
            Exit::NoProc,
            Exit::NoConnection,
            Exit::NodeDown,
            Exit::Panic("x".to_owned()),
            Exit::Because("x".to_owned()),
        ];
        let one = |restart, exit: &Exit| fate(Strategy::OneForOne, restart, exit);
        for exit in bad.iter().chain(&[Exit::Normal, Exit::Shutdown]) {
            assert_eq!(one(Permanent, exit), Fate::Restarted);
            assert_eq!(one(Temporary, exit), Fate::Forgotten);
            let of_transient = if bad.contains(exit) { Fate::Restarted } else { Fate::Kept };
            assert_eq!(one(Transient, exit), of_transient);
        }
        assert_eq!(fate(Strategy::Dynamic, Transient, &Exit::Normal), Fate::Forgotten);
        assert_eq!(fate(Strategy::Dynamic, Transient, &Exit::Killed), Fate::Restarted);
    }

    /// All lists of up to four children, each of any kind, and each of them dying.
    fn cases() -> impl Iterator<Item = (Vec<(usize, Restart)>, usize)> {
        (1..=4_u32).flat_map(|len| {
            (0..3_usize.pow(len)).flat_map(move |code| {
                let kind = |at: u32| ALL[code / 3_usize.pow(at) % 3];
                let children: Vec<_> = (0..len).map(|at| (at as usize, kind(at))).collect();
                (0..len as usize).map(move |died| (children.clone(), died))
            })
        })
    }

    #[test]
    fn every_plan_for_up_to_four_children_does_what_its_strategy_promises() {
        let mut seen = 0;
        for (children, died) in cases() {
            for strategy in
                [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne, Strategy::Dynamic]
            {
                seen += 1;
                let plan = plan(strategy, children.iter().copied(), died);
                let goes_down = |key: usize| match strategy {
                    Strategy::OneForOne | Strategy::Dynamic => false,
                    Strategy::OneForAll => key != died,
                    Strategy::RestForOne => key > died,
                };
                for &(key, restart) in &children {
                    let forgotten = goes_down(key) && restart == Temporary;
                    let started = key == died || (goes_down(key) && !forgotten);
                    assert_eq!(plan.stop.contains(&key), goes_down(key), "{plan:?}");
                    assert_eq!(plan.forget.contains(&key), forgotten, "{plan:?}");
                    assert_eq!(plan.start.contains(&key), started, "{plan:?}");
                }
                assert!(plan.stop.is_sorted_by(|a, b| a > b), "stops go backwards: {plan:?}");
                assert!(plan.start.is_sorted_by(|a, b| a < b), "starts go forwards: {plan:?}");
            }
        }
        assert_eq!(seen, 4 * (3 + 2 * 9 + 3 * 27 + 4 * 81));
    }

    #[test]
    fn a_group_around_one_restart_goes_down_backwards_and_comes_up_forwards() {
        let children = [(1, Permanent), (2, Temporary), (5, Transient), (9, Permanent)];
        let of = |strategy, died| plan(strategy, children.into_iter(), died);
        assert_eq!(
            of(Strategy::OneForAll, 5),
            Plan { stop: vec![9, 2, 1], forget: vec![2], start: vec![1, 5, 9] }
        );
        assert_eq!(
            of(Strategy::RestForOne, 5),
            Plan { stop: vec![9], forget: vec![], start: vec![5, 9] }
        );
    }
}
