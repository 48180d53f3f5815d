//! What is planned for the voters, over all small clusters.

use quorate_registry::{At, Command, Once, Op, Verdict};
use quorate_vocab::{Index, NodeName};

use super::*;

fn member(standing: Standing) -> Member {
    Member { standing, edge: false, zone: None, caught_up: true }
}

fn nodes(ids: impl IntoIterator<Item = u64>) -> BTreeSet<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

/// A cluster of node 1, which leads, and others.
fn facts(wanted: usize, voters: &[u64], heirs: &[u64]) -> Facts {
    let all = voters.iter().chain(heirs);
    Facts {
        wanted,
        leader: NodeId(1),
        members: all.map(|node| (NodeId(*node), member(Standing::Alive))).collect(),
        voters: nodes(voters.iter().copied()),
        heirs: nodes(heirs.iter().copied()),
    }
}

impl Facts {
    /// With further members, to whom the log does not go.
    fn and(mut self, others: &[u64]) -> Self {
        let others = others.iter().map(|node| (NodeId(*node), member(Standing::Alive)));
        self.members.extend(others);
        self
    }

    fn but(mut self, node: u64, change: impl FnOnce(&mut Member)) -> Self {
        change(self.members.get_mut(&NodeId(node)).expect("the test names members"));
        self
    }

    fn standing_of(self, node: u64, standing: Standing) -> Self {
        self.but(node, |member| member.standing = standing)
    }

    fn in_zones(mut self, zones: &[(u64, &str)]) -> Self {
        for (node, zone) in zones {
            self = self.but(*node, |member| member.zone = Some((*zone).to_owned()));
        }
        self
    }
}

#[test]
fn a_voter_is_awaited_that_has_not_said_who_it_is_and_not_one_that_was_taken_out() {
    let (mut machine, mut silences) = (Machine::new(0), Silences::default());
    let mut index = 0;
    let mut apply = |machine: &mut Machine, op: Op| {
        index += 1;
        let at = At { index: Index(index), term: 1 };
        machine.apply(at, Command { once: Once::Free, op }, &mut Vec::new())
    };
    let join = |id: u64| Op::Join {
        node: NodeId(id),
        name: NodeName::try_from(format!("n{id}")).unwrap(),
        address: format!("n{id}:1"),
        labels: BTreeMap::new(),
    };
    let (grace, begun) = (Duration::from_secs(30), Time(1_000));
    let voters = nodes([1, 2, 3]);
    let awaited = |silences: &Silences| silences.awaited(&voters).collect::<BTreeSet<_>>();
    for id in [1, 2] {
        assert_eq!(apply(&mut machine, join(id)), Verdict::Joined);
    }
    silences.note(&machine, &voters, begun);
    assert_eq!(awaited(&silences), nodes([3]));
    let later = begun + grace;
    silences.note(&machine, &voters, later);
    assert_eq!(silences.standing(NodeId(3), later, grace), Standing::Silent);
    let too_late = later + Duration::from_millis(1);
    assert_eq!(silences.standing(NodeId(3), too_late, grace), Standing::Gone);
    assert_eq!(apply(&mut machine, join(3)), Verdict::Joined);
    silences.note(&machine, &voters, too_late);
    assert_eq!(awaited(&silences), nodes([]));
    for id in [2, 3] {
        assert_eq!(apply(&mut machine, Op::Leave { node: NodeId(id) }), Verdict::Left);
    }
    silences.note(&machine, &voters, too_late);
    assert_eq!(awaited(&silences), nodes([]), "each was a member");
}

fn votes(ids: impl IntoIterator<Item = u64>) -> Option<Step> {
    Some(Step::Vote(nodes(ids)))
}

fn prepare(node: u64) -> Option<Step> {
    Some(Step::Prepare(NodeId(node)))
}

fn drops(node: u64) -> Option<Step> {
    Some(Step::Drop(NodeId(node)))
}

#[test]
fn the_log_goes_to_as_many_others_as_votes_are_to_be_filled() {
    assert_eq!(plan(&facts(3, &[1, 2, 3], &[]).and(&[4, 5])), None, "they follow by themselves");
    assert_eq!(plan(&facts(3, &[1], &[]).and(&[2, 3, 4])), prepare(2));
    let one_late = facts(3, &[1], &[2]).and(&[3, 4]).but(2, |member| member.caught_up = false);
    assert_eq!(plan(&one_late), prepare(3));
    assert_eq!(plan(&facts(3, &[1, 2, 3], &[4])), drops(4));
    let gone = facts(3, &[1, 2, 3], &[]).and(&[4, 5]).standing_of(3, Standing::Gone);
    assert_eq!(plan(&gone), prepare(4));
    assert_eq!(plan(&gone.but(4, |member| member.edge = true)), prepare(5));
}

#[test]
fn an_heir_that_is_silent_for_a_moment_keeps_the_log_unless_another_is_there() {
    let silent = facts(3, &[1, 2], &[3]).standing_of(3, Standing::Silent);
    assert_eq!(plan(&silent), None);
    let silent = silent.and(&[4]);
    assert_eq!(plan(&silent), prepare(4));
    let mut both = silent;
    both.heirs.insert(NodeId(4));
    assert_eq!(plan(&both), votes([1, 2, 4]));
    both.voters = nodes([1, 2, 4]);
    both.heirs.remove(&NodeId(4));
    assert_eq!(plan(&both), drops(3));
}

#[test]
fn votes_are_given_by_pairs_to_those_that_live_have_caught_up_and_are_no_edges() {
    assert_eq!(plan(&facts(3, &[1], &[2])), None);
    assert_eq!(plan(&facts(3, &[1], &[2, 3, 4])), votes([1, 2, 3]));
    assert_eq!(plan(&facts(5, &[1], &[2, 3, 4])), votes([1, 2, 3]));
    assert_eq!(plan(&facts(3, &[1, 2], &[3])), votes([1, 2, 3]));
    let one_edge = facts(3, &[1], &[2, 3, 4]).but(2, |member| member.edge = true);
    assert_eq!(plan(&one_edge), votes([1, 3, 4]));
    let one_late = facts(3, &[1], &[2, 3, 4]).but(3, |member| member.caught_up = false);
    assert_eq!(plan(&one_late), votes([1, 2, 4]));
    assert_eq!(plan(&facts(3, &[1], &[2, 3]).standing_of(3, Standing::Silent)), None);
}

#[test]
fn a_voter_is_replaced_when_it_is_gone_and_not_while_it_is_silent() {
    let silent = facts(3, &[1, 2, 3], &[]).and(&[4]).standing_of(3, Standing::Silent);
    assert_eq!(plan(&silent), None);
    let mut gone = silent.standing_of(3, Standing::Gone);
    gone.heirs.insert(NodeId(4));
    assert_eq!(plan(&gone), votes([1, 2, 4]));
}

#[test]
fn a_gone_voter_without_a_successor_keeps_its_place_unless_it_was_taken_out() {
    let gone = facts(3, &[1, 2, 3], &[]).standing_of(3, Standing::Gone);
    assert_eq!(plan(&gone), None);
    let mut left = gone;
    left.members.remove(&NodeId(3));
    assert_eq!(plan(&left), votes([1, 2]));
    // And then it does not get the log either.
    let mut left = facts(3, &[1, 2, 4], &[3]);
    left.members.remove(&NodeId(3));
    assert_eq!(plan(&left), Some(Step::Drop(NodeId(3))));
}

#[test]
fn fewer_than_a_majority_of_the_wanted_are_never_left_to_decide() {
    let mut left = facts(5, &[1, 2, 3], &[]);
    left.members.remove(&NodeId(3));
    assert_eq!(plan(&left), None, "two of five are no majority");
}

#[test]
fn votes_are_spread_over_zones() {
    let zones = [(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "b"), (6, "c")];
    let three = facts(3, &[1], &[4, 5, 2, 3, 6]).in_zones(&zones);
    assert_eq!(plan(&three), votes([1, 2, 3]));
    let gone = facts(3, &[1, 2, 3], &[4, 5, 6]).in_zones(&zones).standing_of(3, Standing::Gone);
    assert_eq!(plan(&gone), votes([1, 2, 6]));
}

#[test]
fn who_is_missed_least_stops_voting_when_fewer_are_wanted() {
    assert_eq!(plan(&facts(1, &[1, 2, 3], &[])), votes([1]));
    let silent = facts(3, &[1, 2, 3, 4, 5], &[]).standing_of(2, Standing::Silent);
    assert_eq!(plan(&silent), votes([1, 3, 4]));
}

/// Every cluster of up to six members, in all standings, with all who vote and all that may be wanted.
#[test]
fn every_plan_keeps_the_leader_a_majority_and_comes_to_an_end() {
    let standings = [Standing::Alive, Standing::Silent, Standing::Gone];
    let mut plans = 0_u64;
    for (wanted, count) in
        [1, 3, 5].into_iter().flat_map(|wanted| (1..=6).map(move |n| (wanted, n)))
    {
        for states in 0..3_u64.pow(count - 1) {
            for voting in 0..2_u64.pow(count - 1) {
                let standing = |node: u32| match node {
                    0 => Standing::Alive,
                    _ => standings[(states / 3_u64.pow(node - 1) % 3) as usize],
                };
                let votes = |node: u32| node == 0 || voting >> (node - 1) & 1 == 1;
                let (voters, heirs) = (0..count).partition::<Vec<u32>, _>(|node| votes(*node));
                let named = |nodes: Vec<u32>| nodes.into_iter().map(|n| u64::from(n) + 1);
                let mut facts = Facts {
                    wanted,
                    leader: NodeId(1),
                    members: (0..count)
                        .map(|n| (NodeId(u64::from(n) + 1), member(standing(n))))
                        .collect(),
                    voters: nodes(named(voters)),
                    heirs: nodes(named(heirs)),
                };
                plans += 1;
                comes_to_rest(&mut facts);
            }
        }
    }
    assert!(plans > 20_000, "{plans}");
}

fn comes_to_rest(facts: &mut Facts) {
    for _ in 0..16 {
        let Some(step) = plan(facts) else { return };
        let alive = |node: &&NodeId| facts.standing(**node) == Some(Standing::Alive);
        let voters = match step {
            Step::Vote(voters) => voters,
            Step::Prepare(node) => {
                assert!(alive(&&node) && facts.heirs.insert(node), "{facts:?} {node}");
                continue;
            }
            Step::Drop(node) => {
                assert!(facts.heirs.remove(&node), "{facts:?} {node}");
                continue;
            }
        };
        assert!(voters.contains(&facts.leader), "{facts:?} {voters:?}");
        let enough = voters.iter().filter(alive).count() > facts.wanted / 2;
        assert!(voters.is_superset(&facts.voters) || enough, "{facts:?} {voters:?}");
        for new in voters.difference(&facts.voters) {
            assert!(alive(&new) && facts.heirs.contains(new), "{facts:?} {voters:?}");
        }
        let all: BTreeSet<NodeId> = facts.voters.union(&facts.heirs).copied().collect();
        facts.heirs = all.difference(&voters).copied().collect();
        facts.voters = voters;
    }
    panic!("the plans go round: {facts:?}");
}
