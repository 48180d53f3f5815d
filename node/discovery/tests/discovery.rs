//! Sources at work together: none of them hangs or empties the others, and what is found can be asked.

use crate::common;

use std::time::Duration;

use common::{PATIENCE, eventually};
use quorate_discovery::{
    Address, Asker, Candidates, Discovery, Pace, Proposal, Rules, Sighting, Source, Spec, Standing,
    Verdict, Word, survey,
};
use quorate_env::{BoxFuture, Net, Tcp, timeout};
use tokio::sync::mpsc;

/// A source that says what a test sends, and otherwise waits for it.
struct Told(mpsc::Receiver<Sighting>);

/// A source that never answers, and would not give up for a day.
struct Hangs;

impl Source for Told {
    fn look(&mut self) -> BoxFuture<'_, Sighting> {
        Box::pin(async {
            match self.0.recv().await {
                Some(sighting) => sighting,
                None => std::future::pending().await,
            }
        })
    }

    fn pace(&self) -> Pace {
        Pace { rest: Duration::from_millis(1), patience: Duration::from_secs(60) }
    }
}

impl Source for Hangs {
    fn look(&mut self) -> BoxFuture<'_, Sighting> {
        Box::pin(std::future::pending())
    }

    fn pace(&self) -> Pace {
        Pace { rest: Duration::from_secs(1), patience: Duration::from_secs(86_400) }
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn snapshot(texts: &[&str]) -> Sighting {
    let found: Candidates = texts.iter().map(|text| (address(text), Standing::Present)).collect();
    Sighting::Snapshot(found)
}

async fn next(discovery: &Discovery) -> Proposal {
    timeout(PATIENCE, discovery.next()).await.expect("there is a proposal")
}

/// A source with all that it will ever say.
fn told(sightings: Vec<Sighting>) -> Box<dyn Source> {
    let (into, from) = mpsc::channel(64);
    for sighting in sightings {
        into.try_send(sighting).unwrap();
    }
    Box::new(Told(from))
}

fn quick() -> Rules {
    Rules { linger: Duration::from_millis(1), again: Duration::from_millis(1), ..Rules::default() }
}

#[tokio::test]
async fn a_source_that_hangs_or_fails_keeps_nobody_from_the_others() {
    let sources: Vec<(String, Box<dyn Source>)> = vec![
        ("hangs".into(), Box::new(Hangs)),
        ("fails".into(), told(vec![Sighting::Error("broken".into())])),
        ("works".into(), told(vec![snapshot(&["a:1", "b:1"])])),
    ];
    let discovery = Discovery::start(sources, Rules::default());
    assert_eq!(next(&discovery).await, Proposal::Dial(address("a:1")));
    assert_eq!(next(&discovery).await, Proposal::Dial(address("b:1")));
    discovery.tell(&address("a:1"), Word::Linked);
    eventually("the failure is seen", || discovery.explain().sources[1].errors > 0).await;
    let told = discovery.explain();
    assert_eq!((told.sources[0].answers, told.sources[0].errors), (0, 0));
    assert_eq!(told.sources[1].last_error.as_ref().unwrap().1, "broken");
    let verdicts: Vec<&Verdict> = told.candidates.iter().map(|one| &one.verdict).collect();
    assert_eq!(verdicts, [&Verdict::Linked, &Verdict::Proposed]);
    assert_eq!(told.candidates[0].sources, ["works"]);
}

#[tokio::test]
async fn who_is_gone_is_withdrawn_once_that_is_confirmed_and_not_while_linked() {
    let (into, from) = mpsc::channel(64);
    let discovery = Discovery::start(vec![("s".into(), Box::new(Told(from)))], quick());
    into.send(snapshot(&["a:1", "b:1"])).await.unwrap();
    assert_eq!(next(&discovery).await, Proposal::Dial(address("a:1")));
    assert_eq!(next(&discovery).await, Proposal::Dial(address("b:1")));
    discovery.tell(&address("a:1"), Word::Linked);
    for _ in 0..60 {
        into.send(snapshot(&[])).await.unwrap();
    }
    assert_eq!(next(&discovery).await, Proposal::Withdraw(address("b:1")));
    discovery.tell(&address("a:1"), Word::Unlinked);
    assert_eq!(next(&discovery).await, Proposal::Withdraw(address("a:1")));
}

#[tokio::test]
async fn a_proposal_that_nobody_asked_for_and_that_is_withdrawn_is_never_seen() {
    let mut sightings = vec![snapshot(&["b:1"]); 60];
    sightings.insert(0, snapshot(&["a:1"]));
    let discovery = Discovery::start(vec![("s".into(), told(sightings))], quick());
    eventually("the first is gone", || {
        let candidates = discovery.explain().candidates;
        candidates.iter().map(|one| one.address.as_str()).eq(["b:1"])
    })
    .await;
    assert_eq!(next(&discovery).await, Proposal::Dial(address("b:1")));
}

#[tokio::test]
async fn a_survey_looks_at_all_sources_once_and_knocks_at_every_door() {
    let mut listener = Tcp.listen("127.0.0.1:0").await.unwrap();
    let open = listener.address();
    quorate_env::spawn(async move { while listener.accept().await.is_ok() {} });
    // The near end of a connection has an address at which nobody can begin to listen.
    let (shut, _held) = nowhere();
    let (_dir, file) = common::written("nodes", &format!("{open}\n{shut}\n"));
    let specs = [&open, &format!("file://{file}"), "env://QUORATE_NOBODY_SETS_THIS", "127.0.0.1:9"];
    let specs = Spec::parse_all(&specs.map(String::from)).unwrap();
    let asker = Asker { name: "n9".into(), address: Some(address("127.0.0.1:9")) };
    let found = survey(&specs, &asker, &Tcp, PATIENCE).await;
    let verdict = |text: &str| {
        let found = found.candidates.iter().find(|one| one.address == address(text));
        found.unwrap_or_else(|| panic!("{text}")).verdict.clone()
    };
    assert_eq!(verdict(&open), Verdict::Answers);
    assert_eq!(verdict("127.0.0.1:9"), Verdict::Itself);
    assert!(matches!(verdict(&shut), Verdict::Unreachable(_)));
    let states: Vec<(usize, bool)> =
        found.sources.iter().map(|one| (one.found, one.failing)).collect();
    assert_eq!(states, [(2, false), (2, false), (0, true)]);
}

/// Where nobody listens, and nobody can begin to.
#[expect(clippy::disallowed_types, reason = "a test stands outside of every node")]
fn nowhere() -> (String, impl Sized) {
    let far = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let near = std::net::TcpStream::connect(far.local_addr().unwrap()).unwrap();
    (near.local_addr().unwrap().to_string(), (near, far))
}
