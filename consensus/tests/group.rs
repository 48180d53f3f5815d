//! Groups of real openraft nodes over memory, joined by direct calls.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quorate_consensus::{Doors, Group, GroupConfig, PeerError, Peers, ProposeError, Role, Source};
use quorate_env::BoxFuture;
use quorate_registry::{Bond, Claim, Command, Level, Machine, Once, Op, Refusal, Verdict};
use quorate_storage::{Disk, File, Log, LogConfig, MemoryDisk, MemoryShelf, Shelf, Snapshots};
use quorate_vocab::{Index, Name, NodeId};

#[path = "group/ages.rs"]
mod ages;
#[path = "group/crowd.rs"]
mod crowd;

/// Calls between the groups of one test.
#[derive(Clone, Default)]
struct Town(Arc<Mutex<BTreeMap<NodeId, Group>>>, Arc<Mutex<BTreeSet<BTreeSet<NodeId>>>>);

impl Town {
    /// Lets two of them hear each other no more.
    fn part(&self, one: NodeId, other: NodeId) {
        self.1.lock().unwrap().insert([one, other].into());
    }
}

struct Road(Town, NodeId);

impl Peers for Road {
    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let found = {
            let town = self.0.0.lock().unwrap();
            town.get(&to).filter(|_| town.contains_key(&self.1)).cloned()
        };
        let is_parted = self.0.1.lock().unwrap().contains(&[self.1, to].into());
        let Some(group) = found.filter(|_| !is_parted) else {
            return Box::pin(std::future::ready(Err(PeerError::NoLink)));
        };
        let answer = group.serve(self.1, &request);
        Box::pin(async move {
            quorate_env::timeout(within, answer).await.map_err(|_| PeerError::NoAnswer)
        })
    }
}

/// What one node remembers, and how often it synced.
#[derive(Clone, Default)]
struct Remembered {
    disk: Arc<CountingDisk>,
    shelf: MemoryShelf,
}

#[derive(Default)]
struct CountingDisk {
    disk: MemoryDisk,
    syncs: Arc<AtomicU64>,
}

struct CountingFile(Box<dyn File>, Arc<AtomicU64>);

impl Disk for CountingDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn File>> {
        Ok(Box::new(CountingFile(self.disk.create(name, len)?, self.syncs.clone())))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(CountingFile(self.disk.open(name)?, self.syncs.clone())))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync(&self) -> quorate_storage::Sync<'_> {
        self.disk.sync()
    }
}

impl File for CountingFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_at(position, bytes)
    }
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(position, bytes)
    }
    fn sync(&self) -> quorate_storage::Sync<'_> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.sync()
    }
}

/// Elections so late that a busy machine, which lets all of a test stand still at once, deposes nobody.
fn config() -> GroupConfig {
    GroupConfig {
        heartbeat: Duration::from_millis(100),
        election_min: Duration::from_millis(2_000),
        election_max: Duration::from_millis(3_000),
        snapshot_every: 1_000_000,
        log_kept: 0,
        shelve_every: 16,
        ..GroupConfig::lan()
    }
}

async fn open(
    town: &Town,
    id: u64,
    remembered: &Remembered,
) -> (Group, quorate_consensus::Recovery) {
    let disk: Arc<dyn Disk> = remembered.disk.clone();
    let (log, scribe) = Log::open(disk.clone(), LogConfig::default()).await.unwrap();
    quorate_env::spawn(scribe.run());
    let doors = Doors {
        log,
        snapshots: Arc::new(Snapshots::open(disk).unwrap()),
        shelf: Arc::new(remembered.shelf.clone()),
    };
    let road = Arc::new(Road(town.clone(), NodeId(id)));
    let (group, recovery) = Group::open(NodeId(id), &config(), doors, road).await.unwrap();
    town.0.lock().unwrap().insert(NodeId(id), group.clone());
    (group, recovery)
}

fn ids(ids: impl IntoIterator<Item = u64>) -> BTreeSet<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

fn register(name: &str) -> Command {
    let claim =
        Claim { bond: Bond::Durable, holder: None, value: b"v".to_vec(), meta: BTreeMap::new() };
    let op = Op::Register { name: Name::new(name).unwrap(), claim, replace: None };
    Command { once: Once::Free, op }
}

async fn leader(groups: &[Group]) -> Group {
    loop {
        for group in groups {
            if group.confirm().await.is_ok() {
                return group.clone();
            }
        }
        quorate_env::sleep(Duration::from_millis(5)).await;
    }
}

async fn propose(groups: &[Group], command: Command) -> (Index, Verdict) {
    loop {
        match leader(groups).await.propose(command.clone()).await {
            Ok(decided) => return decided,
            Err(ProposeError::NotDone { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_command_is_decided_once_and_applied_everywhere() {
    let town = Town::default();
    let remembered: Vec<Remembered> = (0..3).map(|_| Remembered::default()).collect();
    let mut groups = Vec::new();
    for (id, remembered) in (1..).zip(&remembered) {
        groups.push(open(&town, id, remembered).await.0);
    }
    groups[0].bootstrap(&ids(1..=3)).await.unwrap();
    assert!(
        groups[1].bootstrap(&ids([2])).await.is_err() || groups[1].is_bootstrapped().await.unwrap()
    );

    let (index, verdict) = propose(&groups, register("till")).await;
    assert!(matches!(verdict, Verdict::Registered { .. }));
    let (_, again) = propose(&groups, register("till")).await;
    assert!(matches!(again, Verdict::Refused(_)));
    for group in &groups {
        group.reached(index).await;
        assert!(group.read(|machine, _| machine.find("till").is_some()));
    }
    let change = groups[2].watch(Index(0)).next().await.unwrap();
    assert_eq!(change.index, index);
}

#[tokio::test]
async fn what_not_all_members_understand_gets_into_no_log_and_is_not_held_against_who_asks_again() {
    let (town, remembered) = (Town::default(), Remembered::default());
    let (group, _) = open(&town, 1, &remembered).await;
    group.bootstrap(&ids([1])).await.unwrap();
    leader(std::slice::from_ref(&group)).await;
    let last = group.applied();
    let halt = Command { once: Once::Key(7), op: Op::Halt { name: Name::new("billing").unwrap() } };
    let (_, verdict) = group.propose(halt.clone()).await.unwrap();
    assert!(matches!(verdict, Verdict::Refused(Refusal::TooNew { .. })), "{verdict:?}");
    assert_eq!(group.applied(), last);

    let raise = Command { once: Once::Free, op: Op::Raise { level: Level::NEWEST } };
    group.propose(raise).await.unwrap();
    let (_, verdict) = group.propose(halt).await.unwrap();
    assert_eq!(verdict, Verdict::Refused(Refusal::NoSingleton));
}

#[tokio::test]
async fn many_commands_share_few_syncs() {
    let town = Town::default();
    let remembered = Remembered::default();
    let (group, _) = open(&town, 1, &remembered).await;
    group.bootstrap(&ids([1])).await.unwrap();
    leader(std::slice::from_ref(&group)).await;
    let before = remembered.disk.syncs.load(Ordering::Relaxed);
    let writes: Vec<_> = (0..1_000)
        .map(|n| {
            let group = group.clone();
            quorate_env::spawn(async move { group.propose(register(&format!("n{n}"))).await })
        })
        .collect();
    for write in writes {
        assert!(matches!(write.await.unwrap().unwrap().1, Verdict::Registered { .. }));
    }
    let syncs = remembered.disk.syncs.load(Ordering::Relaxed) - before;
    assert!(syncs < 100, "{syncs} syncs for 1000 commands");
}

#[tokio::test]
async fn of_many_that_are_proposed_together_each_has_an_outcome_of_its_own() {
    let town = Town::default();
    let mut groups = Vec::new();
    for id in 1..=2 {
        groups.push(open(&town, id, &Remembered::default()).await.0);
    }
    groups[0].bootstrap(&ids([1, 2])).await.unwrap();
    let leads = leader(&groups).await;
    let many = ["a", "b", "a", "c"].map(register).to_vec();
    let outcomes = leads.propose_many(many.clone()).await;
    let is_new: Vec<bool> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok((_, Verdict::Registered { .. })) => true,
            Ok((_, Verdict::Refused(_))) => false,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(is_new, [true, true, false, true]);

    // Nobody but a leader does any of it, and says so of each.
    let other = groups.iter().find(|group| group.status().role != Role::Leader).unwrap();
    let outcomes = other.propose_many(many).await;
    assert_eq!(outcomes.len(), 4);
    assert!(outcomes.iter().all(|one| matches!(one, Err(ProposeError::NotDone { .. }))));

    // Without the other there is no majority. What has no room any more is refused at once, the rest waits.
    town.0.lock().unwrap().clear();
    let too_many = (0..20_000).map(|n| register(&format!("n{n}"))).collect();
    let mut waiting = Box::pin(leads.propose_many(too_many));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert!(matches!(leads.propose(register("z")).await, Err(ProposeError::Overloaded)));
    assert!(leads.read(|machine, _| machine.find("n0").is_none()));
}

#[tokio::test]
async fn a_learner_catches_up_by_snapshot_gets_a_vote_and_is_taken_out() {
    let town = Town::default();
    let (first, _) = open(&town, 1, &Remembered::default()).await;
    first.bootstrap(&ids([1])).await.unwrap();
    let groups = [first.clone()];
    for n in 0..50 {
        propose(&groups, register(&format!("n{n}"))).await;
    }
    let (index, _) = propose(&groups, register("last")).await;
    // The log is purged up to the snapshot, so a newcomer cannot be served from it.
    first.snapshot().await.unwrap();
    while first.status().purged < index {
        quorate_env::sleep(Duration::from_millis(5)).await;
    }

    assert_eq!(first.age(), Duration::ZERO, "who votes alone waits for nobody");
    let mut others = Vec::new();
    for id in [2, 3] {
        let (group, _) = open(&town, id, &Remembered::default()).await;
        first.add_learner(NodeId(id)).await.unwrap();
        group.reached(index).await;
        assert!(group.read(|machine, _| machine.find("n49").is_some()));
        others.push(group);
    }
    first.set_voters(&ids([1, 2, 3])).await.unwrap();
    assert_eq!(first.status().voters, ids([1, 2, 3]));

    let all = [first.clone(), others[0].clone(), others[1].clone()];
    let (index, _) = propose(&all, register("with-three")).await;
    others[1].reached(index).await;
    leader(&all).await.remove(&ids([3])).await.unwrap();
    assert_eq!(leader(&all[..2]).await.status().voters, ids([1, 2]));
}

#[tokio::test]
async fn a_shelf_that_forgot_is_noticed_and_rebuilt_from_snapshot_and_journal() {
    for with_snapshot in [false, true] {
        let town = Town::default();
        let remembered = Remembered::default();
        let (group, recovery) = open(&town, 1, &remembered).await;
        assert_eq!(recovery.source, Source::Nothing);
        group.bootstrap(&ids([1])).await.unwrap();
        let groups = [group.clone()];
        for n in 0..40 {
            propose(&groups, register(&format!("n{n}"))).await;
        }
        if with_snapshot {
            let (index, _) = propose(&groups, register("before-the-snapshot")).await;
            group.snapshot().await.unwrap();
            while group.status().purged < index {
                quorate_env::sleep(Duration::from_millis(5)).await;
            }
        }
        let (index, _) = propose(&groups, register("last")).await;
        let whole = group.read(|machine, _| machine.clone());
        group.close().await;
        let status = group.status();
        assert_eq!((status.role, status.fault), (Role::Stopped, None), "it was asked to");

        // A planned restart takes everything from the shelf.
        let (group, recovery) = open(&town, 1, &remembered).await;
        assert_eq!((recovery.source, recovery.repaired), (Source::Shelf, None));
        assert!(recovery.applied >= index);
        group.close().await;

        remembered.shelf.clear().unwrap();
        let (group, recovery) = open(&town, 1, &remembered).await;
        assert!(recovery.repaired.unwrap().contains("forgot"));
        let source = if with_snapshot { Source::Snapshot } else { Source::Nothing };
        assert_eq!(recovery.source, source);
        leader(std::slice::from_ref(&group)).await;
        let names = |machine: &quorate_registry::Machine| -> Vec<_> {
            machine.list("", None).cloned().collect()
        };
        assert_eq!(group.read(|machine, _| names(machine)), names(&whole));
        group.close().await;
    }
}

/// Follows as a newcomer does that was told who votes.
async fn follower(town: &Town, id: u64, remembered: &Remembered, voters: &[u64]) -> Group {
    let (group, _) = open(town, id, remembered).await;
    group.follow(&ids(voters.iter().copied()));
    group
}

async fn three_voters(town: &Town) -> Vec<Group> {
    let mut groups = Vec::new();
    for id in 1..=3 {
        groups.push(open(town, id, &Remembered::default()).await.0);
    }
    groups[0].bootstrap(&ids([1, 2, 3])).await.unwrap();
    groups
}

fn state(group: &Group) -> (Index, Machine) {
    group.read(|machine, at| (at, machine.clone()))
}

#[tokio::test]
async fn a_node_without_a_part_follows_by_a_snapshot_and_then_by_entries_and_the_leader_does_not_know()
 {
    let town = Town::default();
    let voters = three_voters(&town).await;
    let early = follower(&town, 4, &Remembered::default(), &[1, 2, 3]).await;
    for n in 0..20 {
        propose(&voters, register(&format!("n{n}"))).await;
    }
    let (index, _) = propose(&voters, register("last")).await;
    early.reached(index).await;
    assert_eq!(state(&early), state(&leader(&voters).await), "it is the same state (I11)");
    assert_eq!(
        (early.leader(), early.status().voters),
        (leader(&voters).await.leader(), ids([1, 2, 3]))
    );
    assert!(early.is_bootstrapped().await.unwrap() && early.age() < config().election_max);
    // The logs are purged up to the snapshots, so a newcomer cannot be served from them.
    for voter in &voters {
        voter.reached(index).await;
        voter.snapshot().await.unwrap();
        while voter.status().purged < index {
            quorate_env::sleep(Duration::from_millis(5)).await;
        }
    }
    let late = follower(&town, 5, &Remembered::default(), &[1, 2, 3]).await;
    late.reached(index).await;
    let (index, _) = propose(&voters, register("after-it")).await;
    for group in [&early, &late] {
        group.reached(index).await;
        assert_eq!(state(group), state(&leader(&voters).await));
    }
    let status = leader(&voters).await.status();
    assert!(status.learners.is_empty() && status.matched.len() <= 3, "{status:?}");
}

/// What node 4 remembers, which followed these three up to here and has ended.
async fn fed(town: &Town, voters: &[Group]) -> (Remembered, Index) {
    let (index, _) = propose(voters, register("first")).await;
    let remembered = Remembered::default();
    let group = follower(town, 4, &remembered, &[1, 2, 3]).await;
    group.reached(index).await;
    group.close().await;
    town.0.lock().unwrap().remove(&NodeId(4));
    (remembered, index)
}

#[tokio::test]
async fn a_follower_resumes_where_it_was_and_moves_on_when_its_voter_is_gone() {
    let town = Town::default();
    let voters = three_voters(&town).await;
    let (remembered, index) = fed(&town, &voters).await;
    let (group, recovery) = open(&town, 4, &remembered).await;
    assert_eq!((recovery.applied, recovery.source), (index, Source::Shelf));
    // Whichever of them it followed: two of three go, one after the other, and come back.
    for gone in 1..=3 {
        let away = town.0.lock().unwrap().remove(&NodeId(gone)).unwrap();
        let others: Vec<Group> =
            voters.iter().zip(1..).filter(|(_, id)| *id != gone).map(|(v, _)| v.clone()).collect();
        let (index, _) = propose(&others, register(&format!("without-{gone}"))).await;
        group.reached(index).await;
        town.0.lock().unwrap().insert(NodeId(gone), away);
    }
}

#[tokio::test]
async fn a_follower_whose_voters_were_all_replaced_while_it_was_away_follows_whom_it_is_told_of() {
    let town = Town::default();
    let voters = three_voters(&town).await;
    let (remembered, _) = fed(&town, &voters).await;
    let mut successors = Vec::new();
    for id in 5..=7 {
        successors.push(follower(&town, id, &Remembered::default(), &[1, 2, 3]).await);
        leader(&voters).await.add_learner(NodeId(id)).await.unwrap();
    }
    // Whoever leads keeps its vote.
    let lead = leader(&voters).await;
    let first = lead.leader().unwrap().0;
    lead.set_voters(&ids([first, 5, 6])).await.unwrap();
    lead.hand_over(NodeId(5)).await.unwrap();
    leader(&successors).await.set_voters(&ids(5..=7)).await.unwrap();
    let (index, _) = propose(&successors, register("by-the-new-ones")).await;
    for gone in 1..=3 {
        town.0.lock().unwrap().remove(&NodeId(gone));
    }
    let group = follower(&town, 4, &remembered, &[5, 6, 7]).await;
    group.reached(index).await;
}

#[tokio::test]
async fn a_follower_gets_a_vote_and_a_voter_that_lost_it_while_away_follows_and_stands_no_more() {
    let town = Town::default();
    let voters = three_voters(&town).await;
    let (index, _) = propose(&voters, register("first")).await;
    let fourth = follower(&town, 4, &Remembered::default(), &[1, 2, 3]).await;
    fourth.reached(index).await;
    let lead = leader(&voters).await;
    let away = (1..=3).find(|id| Some(NodeId(*id)) != lead.leader()).unwrap();
    let lost = town.0.lock().unwrap().remove(&NodeId(away)).unwrap();
    lead.add_learner(NodeId(4)).await.unwrap();
    let now = ids((1..=4).filter(|id| *id != away));
    lead.set_voters(&now).await.unwrap();
    let left: Vec<Group> =
        voters.iter().zip(1..).filter(|(_, id)| *id != away).map(|(v, _)| v.clone()).collect();
    leader(&left).await.remove(&ids([away])).await.unwrap();
    let (index, _) = propose(&left, register("by-the-new-ones")).await;
    fourth.reached(index).await;

    town.0.lock().unwrap().insert(NodeId(away), lost.clone());
    lost.reached(index).await;
    assert_eq!(lost.status().voters, now);
    let term = leader(&left).await.status().term;
    let (index, _) = propose(&left, register("after-it-came-back")).await;
    lost.reached(index).await;
    assert_eq!(leader(&left).await.status().term, term, "it deposed nobody");
    // And once more a vote: what it was fed and what Raft brings are the same entries.
    let lead = leader(&left).await;
    lead.add_learner(NodeId(away)).await.unwrap();
    lead.set_voters(&ids(1..=4)).await.unwrap();
    let (index, _) = propose(&left, register("all-four")).await;
    for group in voters.iter().chain([&fourth]) {
        group.reached(index).await;
    }
    assert_eq!(state(&lost), state(&fourth));
}
