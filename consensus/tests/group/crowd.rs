//! A thousand followers behind three voters, in virtual time: what they ask of whom, how far behind they are,
//! and what the leader has to do with it.

use quorate_env::{Life, LifeConfig, now, sleep};
use quorate_vocab::Time;

use super::*;

const FOLLOWERS: u64 = 1_000;
const VOTERS: u64 = 3;
/// From one node to another.
const WAY: Duration = Duration::from_millis(1);

/// Calls that take their time and are counted where they arrive.
#[derive(Clone, Default)]
struct Country {
    town: Town,
    asked: Arc<Mutex<BTreeMap<NodeId, u64>>>,
}

struct Far(Country, NodeId);

impl Peers for Far {
    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let (country, from) = (self.0.clone(), self.1);
        Box::pin(async move {
            sleep(WAY).await;
            *country.asked.lock().unwrap().entry(to).or_default() += 1;
            let answer = Road(country.town, from).call(to, request, within).await;
            sleep(WAY).await;
            answer
        })
    }
}

async fn settle(country: &Country, id: u64, config: &GroupConfig) -> Group {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
    let segment_bytes = 64 * 1024;
    let log_config = LogConfig { segment_bytes, ..LogConfig::default() };
    let (log, scribe) = Log::open(disk.clone(), log_config).await.unwrap();
    quorate_env::spawn(scribe.run());
    let (snapshots, shelf) =
        (Arc::new(Snapshots::open(disk).unwrap()), Arc::new(MemoryShelf::default()));
    let far = Arc::new(Far(country.clone(), NodeId(id)));
    let doors = Doors { log, snapshots, shelf };
    let (group, _) = Group::open(NodeId(id), config, doors, far).await.unwrap();
    country.town.0.lock().unwrap().insert(NodeId(id), group.clone());
    group
}

async fn story() -> String {
    let country = Country::default();
    let config = config();
    let mut voters = Vec::new();
    for id in 1..=VOTERS {
        voters.push(settle(&country, id, &config).await);
    }
    voters[0].bootstrap(&ids(1..=VOTERS)).await.unwrap();
    let (index, _) = propose(&voters, register("first")).await;
    let mut followers = Vec::new();
    for id in VOTERS + 1..=VOTERS + FOLLOWERS {
        let group = settle(&country, id, &config).await;
        group.follow(&ids(1..=VOTERS));
        followers.push(group);
    }
    for group in &followers {
        group.reached(index).await;
    }
    // At rest: whom they ask, and how often.
    let asked = || -> Vec<u64> {
        let asked = country.asked.lock().unwrap();
        (1..=VOTERS).map(|id| asked.get(&NodeId(id)).copied().unwrap_or_default()).collect()
    };
    sleep(Duration::from_secs(1)).await;
    let before = asked();
    sleep(Duration::from_secs(10)).await;
    let rest: Vec<u64> = asked().iter().zip(before).map(|(now, then)| (now - then) / 10).collect();
    let all: u64 = rest.iter().sum();
    assert!(all <= FOLLOWERS * 2 + 100, "{rest:?} requests a second at rest");
    assert!(rest.iter().all(|of_one| *of_one > all / VOTERS / 2), "they spread: {rest:?}");
    assert!(followers.iter().all(|group| group.age() < Duration::from_secs(1)));

    // Changes: each is noted where it was proposed, and by every follower.
    let made: Arc<Mutex<BTreeMap<Index, Time>>> = Arc::default();
    let behind: Arc<Mutex<Vec<Duration>>> = Arc::default();
    for group in &followers {
        let (mut watch, made, behind) = (group.watch(index), made.clone(), behind.clone());
        quorate_env::spawn(async move {
            while let Ok(change) = watch.next().await {
                let at = made.lock().unwrap().get(&change.index).copied();
                behind.lock().unwrap().push(at.map_or(Duration::ZERO, |at| now().since(at)));
            }
        });
    }
    let lead = leader(&voters).await;
    let mut last = index;
    for n in 0..100 {
        (last, _) = lead.propose(register(&format!("n{n}"))).await.unwrap();
        made.lock().unwrap().insert(last, now());
        sleep(Duration::from_millis(5)).await;
    }
    for group in &followers {
        group.reached(last).await;
    }
    sleep(Duration::from_millis(100)).await;
    let status = lead.status();
    assert!(status.learners.is_empty() && status.matched.len() as u64 <= VOTERS, "{status:?}");
    let mut spans = std::mem::take(&mut *behind.lock().unwrap());
    assert_eq!(spans.len() as u64, FOLLOWERS * 100, "each saw each change once");
    spans.sort();
    let p99 = spans[spans.len() * 99 / 100];
    assert!(p99 < Duration::from_millis(100), "{p99:?} behind");

    // One that many follow goes.
    let gone = (1..=VOTERS).find(|id| Some(NodeId(*id)) != lead.leader()).unwrap();
    country.town.0.lock().unwrap().remove(&NodeId(gone));
    let (last, _) = lead.propose(register("with-one-less")).await.unwrap();
    for group in &followers {
        group.reached(last).await;
    }
    let status = lead.status();
    let most = status.matched.len();
    format!(
        "{FOLLOWERS} followers: {rest:?} requests a second to the voters at rest, p99 {p99:?} behind, the \
         log goes to {most} nodes"
    )
}

#[expect(clippy::disallowed_methods, reason = "what the clocks of a world count from")]
fn origin() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[test]
fn a_thousand_followers_spread_over_the_voters_and_are_no_concern_of_the_leader() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let told = runtime.block_on(async {
        let life = Life::begin(LifeConfig {
            seed: FOLLOWERS,
            clock_rate: 1.0,
            deferrals_per_mille: 0,
            origin: origin(),
            wall_skew_nanos: 0,
        });
        life.scope(story()).await
    });
    println!("{told}");
}
