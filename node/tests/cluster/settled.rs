//! What was begun is settled: whoever stopped waiting, or was told that nobody knows, leaves nothing behind
//! that no one would see to.

use std::task::{Context, Waker};

use quorate::{Bearer, Effect, Holding, Index, Query, Said};

use super::*;

/// Begins something, and does not wait for it.
fn begun_and_dropped<T>(what: impl Future<Output = T>) {
    let mut what = Box::pin(what);
    let _ = what.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

async fn alone(dir: &Path) -> Node {
    talk();
    let node = Node::start(config("n1", dir, &[], 1)).await.unwrap();
    assert!(node.quorate_within(SOON).await);
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_nobody_waited_for_goes_with_its_process_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    for node in &nodes {
        let names = node.names();
        let own = |text: &str| name(&format!("{text}/{}", node.name()));
        let (dropped, doubted) = (own("dropped"), own("doubted"));
        let (one, two) = (node.spawn(till), node.spawn(till));
        begun_and_dropped(names.register(&dropped, &one));
        // Too short for an answer, most likely; whatever is said, the process may have it.
        let hasty = names.within(Duration::from_nanos(1));
        while let Err(Error::NotDone(_)) = hasty.register(&doubted, &two).await {}
        for (name, addr) in [(&dropped, &one), (&doubted, &two)] {
            let held = names.until(name, SOON).await.expect("it is settled");
            assert_eq!(held.holder, Some(addr.pid()));
            let by = Holding::from(&held);
            addr.send(Till::Close).unwrap();
            let free = names.until_free(name, &by);
            quorate_env::timeout(SOON, free).await.expect("its name is given back");
        }
    }
    for node in &nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_election_that_nobody_waits_for_elects_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let node = alone(dir.path()).await;
    let (seat, addr) = (name("seat"), node.spawn(till));
    let mut watch = node.names().watch("seat", Index(0));
    begun_and_dropped(node.locks().elect(&seat, &addr));
    let mut next = async || {
        let change = quorate_env::timeout(SOON, watch.next()).await.expect("it is settled");
        change.unwrap().effects.remove(0)
    };
    assert!(matches!(next().await, Effect::Registered(held) if held.holder == Some(addr.pid())));
    assert!(matches!(next().await, Effect::Released { .. }));
    assert!(node.actors().is_alive(addr.pid()));
    // Somebody who waits is elected.
    let held = node.locks().elect(&seat, &addr).await.unwrap();
    assert_eq!(node.names().peek(&seat).registration.map(|now| now.epoch), Some(held.epoch));
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_property_that_nobody_waited_for_goes_with_its_process_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let node = alone(dir.path()).await;
    let (key, addr) = (name("worker"), node.spawn(till));
    let properties = node.properties();
    let session = node.status().session.expect("it is quorate");
    let bearer = Bearer { session, process: Some(addr.pid()) };
    // The second one is of a process that is waited for already.
    begun_and_dropped(properties.set_for(&key, &addr, Said::default()));
    eventually("it is said", async || properties.of(bearer).len() == 1).await;
    let said = Said { value: b"again".to_vec(), ..Said::default() };
    properties.set_for(&key, &addr, said).await.unwrap();
    addr.send(Till::Close).unwrap();
    eventually("it is taken away", async || properties.of(bearer).is_empty()).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_key_is_a_number_of_the_session_and_none_of_many_at_once_is_forgotten() {
    const MANY: i64 = 700;
    let dir = tempfile::tempdir().unwrap();
    let node = alone(dir.path()).await;
    let counts: Vec<_> = (0..MANY)
        .map(|_| {
            let tallies = node.tallies().within(SOON);
            quorate_env::spawn(async move { tallies.add(&name("sold"), 1, None, None).await })
        })
        .collect();
    for count in counts {
        count.await.unwrap().expect("it is counted");
    }
    assert_eq!(node.tallies().find(&name("sold")).await.unwrap().value, Some(MANY));
    // A key would lie in the queue that forgets the oldest.
    let keys = node.inspect(|machine, _| machine.rows().filter(|(key, _)| key[0] == 0x60).count());
    assert_eq!(keys, 0);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_name_waits_for_the_news_that_it_is_held_before() {
    let dir = tempfile::tempdir().unwrap();
    let node = alone(dir.path()).await;
    let (names, lock) = (node.names(), name("lock"));
    // As somebody tells it who knows more than this node does.
    let told = |index: Index| Holding {
        epoch: quorate::Epoch::new(0, index).unwrap(),
        session: None,
        holder: None,
    };
    let now = names.peek(&lock).index;
    let by = told(Index(now.0 + 1000));
    let mut ahead = Box::pin(names.until_free(&lock, &by));
    let mut context = Context::from_waker(Waker::noop());
    assert!(ahead.as_mut().poll(&mut context).is_pending());
    quorate_env::timeout(SOON, names.until_free(&lock, &told(now))).await.expect("it is free");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_properties_show_one_index_and_go_on_behind_the_last_bearer() {
    let dir = tempfile::tempdir().unwrap();
    let node = alone(dir.path()).await;
    let properties = node.properties();
    let mut bearers = Vec::new();
    for _ in 0..3 {
        let (session, _) = node.sessions().open(SOON * 10, None).await.unwrap();
        let bearer = Bearer { session, process: None };
        for key in ["a", "b"] {
            properties.set(&name(key), bearer, Said::default()).await.unwrap();
        }
        bearers.push(bearer);
    }
    let query = Query::under("");
    let mut page = properties.first_page(&query, 4);
    let mut shown = page.properties.clone();
    properties.drop(&name("b"), bearers[2], None).await.unwrap();
    while let Some(next) = &page.next {
        page = properties.next_page(&query, next, 1).unwrap();
        shown.append(&mut page.properties);
    }
    let shown: Vec<_> = shown.iter().map(|said| (said.key.as_str(), said.bearer)).collect();
    let all = ["a", "b"].iter().flat_map(|key| bearers.iter().map(|bearer| (*key, *bearer)));
    assert_eq!(shown, all.collect::<Vec<_>>());
    node.shutdown().await;
}
