//! Names beyond taking and releasing: reserved, amended, awaited, paged, locked, followed; and their kin.

use std::collections::BTreeMap;

use quorate::{
    Amendment, Bearer, Bond, Index, LabelTest, Located, PageGone, PageToken, Query, Said,
    VerifiedError,
};

use super::*;

fn said(zone: &str) -> Said {
    let meta = BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
    Said { meta, ..Said::default() }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    quorate_env::timeout(SOON, what).await.expect("it comes to pass")
}

async fn stop(nodes: Vec<Node>) {
    for node in &nodes {
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_reserved_awaited_confirmed_and_amended_as_it_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let (here, there) = (nodes[0].names(), nodes[2].names());
    let till = name("till");

    let reserved = here.reserve(&till, Bond::Ttl { ms: 600_000 }, None).await.unwrap();
    let own = reserved.session.expect("it has a life of its own");
    let found = there.find(&till).await.unwrap().registration.unwrap();
    assert!(found.reserved && found.epoch == reserved.epoch && found.session == Some(own));
    let addr = nodes[2].spawn(super::till);
    let taken = there.register_or_locate(&till, &addr).await.unwrap();
    assert!(matches!(taken, Located::Elsewhere(by) if by.epoch == reserved.epoch));

    let awaited = there.clone();
    let (awaiting, name_awaited) = (till.clone(), till.clone());
    let wait = quorate_env::spawn(async move { awaited.until(&awaiting, SOON).await });
    let bond = Bond::Session(own);
    let confirmed = here.confirm(&till, reserved.epoch, Claiming { bond, ..value("first") }).await;
    assert_eq!(confirmed.unwrap().epoch, reserved.epoch);
    let held = soon(wait).await.unwrap().expect("somebody holds it");
    assert_eq!((held.epoch, held.value.as_slice()), (reserved.epoch, &b"first"[..]));
    assert!(held.name == name_awaited && !held.reserved);

    let amendment = |text: &str, expected| Amendment {
        value: Some(text.as_bytes().to_vec()),
        expected: Some(expected),
        ..Amendment::default()
    };
    let version = there.amend(&till, held.epoch, amendment("second", held.version)).await.unwrap();
    let late = here.amend(&till, held.epoch, amendment("third", held.version)).await;
    assert!(
        matches!(late, Err(Error::Refused(Refusal::Changed { present })) if present == version)
    );
    let found = here.find(&till).await.unwrap().registration.unwrap();
    assert_eq!((found.value.as_slice(), found.epoch), (&b"second"[..], held.epoch));

    // The end of its life is the end of the name.
    nodes[1].sessions().end(own).await.unwrap();
    assert_eq!(there.find(&till).await.unwrap().registration, None);
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_has_one_owner_and_goes_with_its_guard_and_with_its_node() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = three(dir.path()).await;
    let lock = name("lock");
    let first = soon(nodes[0].locks().lock(&lock)).await.unwrap();
    assert!(first.is_valid());
    let refused = nodes[1].locks().try_lock(&lock).await;
    assert!(
        matches!(refused, Err(Error::Refused(Refusal::Taken(by))) if by.epoch == first.epoch())
    );

    let waiting = nodes[1].locks();
    let wanted = lock.clone();
    let waits = quorate_env::spawn(async move { waiting.lock(&wanted).await });
    let epoch = first.epoch();
    drop(first);
    let second = soon(waits).await.unwrap().unwrap();
    assert!(second.epoch() > epoch);
    second.unlock().await.unwrap();

    let third = soon(nodes[2].locks().lock(&lock)).await.unwrap();
    let waiting = nodes[0].locks();
    let wanted = lock.clone();
    let waits = quorate_env::spawn(async move { waiting.lock(&wanted).await });
    nodes.pop().unwrap().shutdown().await;
    let fourth = soon(waits).await.unwrap().unwrap();
    assert!(fourth.epoch() > third.epoch() && !third.is_valid());
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_by_name_follows_its_holder_and_verified_mail_only_the_epoch_that_it_meant() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let desk = name("desk");
    let by_name = nodes[2].names().via::<Till>(&desk);
    let (one, two) = (nodes[0].spawn(till), nodes[1].spawn(till));
    // Asked before anybody holds it.
    let asking = by_name.clone();
    let asks = quorate_env::spawn(async move { asking.call(SOON, |to| Till::Add(1, to)).await });
    let held = nodes[0].locks().elect(&desk, &one).await.unwrap();
    assert_eq!(soon(asks).await.unwrap(), Ok(1));

    let located = nodes[1].names().register_or_locate(&desk, &two).await.unwrap();
    assert!(matches!(located, Located::Held { addr, .. } if addr.pid() == one.pid()));
    let far = nodes[2].names();
    let verified = |epoch, n| far.send_verified(&desk, epoch, Till::Quiet(n));
    verified(held.epoch, 10).await.unwrap();
    // Behind it in the mailbox or before it: in the end both are in the sum.
    soon(async { while by_name.call(SOON, |to| Till::Add(0, to)).await != Ok(11) {} }).await;

    let second = nodes[1].names().take_over(&desk, &two, held.epoch).await.unwrap();
    let found = nodes[2].names().find(&desk).await.unwrap().registration.unwrap();
    assert_eq!((found.epoch, found.holder), (second.epoch, Some(two.pid())));
    let present = Some(second.epoch);
    assert_eq!(verified(held.epoch, 10).await, Err(VerifiedError::NotHolder { present }));
    assert_eq!(by_name.call(SOON, |to| Till::Add(5, to)).await, Ok(5));

    // The holder ends: whoever stands for election next has the name, and the mail.
    let three = nodes[2].spawn(till);
    by_name.send(Till::Close).unwrap();
    let third = soon(nodes[2].locks().elect(&desk, &three)).await.unwrap();
    assert!(third.epoch > second.epoch);
    far.find(&desk).await.unwrap();
    assert_eq!(by_name.call(SOON, |to| Till::Add(7, to)).await, Ok(7));
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_one_listing_show_one_index_whatever_changes_between_them() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let names = nodes[0].names();
    for text in ["m/a", "m/b", "m/c", "m/d", "z"] {
        names.claim(&name(text), value(text)).await.unwrap();
    }
    names.find(&name("z")).await.unwrap();
    let query = Query::under("m/");
    let first = names.first_page(&query, None, 2);
    let next = first.next.clone().expect("there is more");
    names.release(&name("m/c"), None, None).await.unwrap();
    names.claim(&name("m/b2"), value("new")).await.unwrap();
    let second = names.next_page(&query, &next, 2).unwrap();
    let shown: Vec<_> = first.registrations.iter().chain(&second.registrations).collect();
    let shown: Vec<_> = shown.into_iter().map(|held| held.name.as_str()).collect();
    assert_eq!(shown, ["m/a", "m/b", "m/c", "m/d"]);
    assert_eq!((second.index, second.next), (first.index, None));
    let never: PageToken = "1.m/a".parse().unwrap();
    assert_eq!(names.next_page(&query, &never, 2), Err(PageGone { index: Index(1) }));

    assert!(names.recent(&name("z"), SOON).unwrap().registration.is_some());
    stop(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn properties_go_with_their_bearers_and_counters_stay() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let worker = name("worker");
    let (session, _) = nodes[1].sessions().open(10 * SOON, None).await.unwrap();
    let addr = nodes[0].spawn(till);
    nodes[0].properties().set_for(&worker, &addr, said("a")).await.unwrap();
    let bearer = Bearer { session, process: None };
    nodes[1].properties().set(&worker, bearer, said("b")).await.unwrap();

    let of = |zone: &str| {
        let test = LabelTest::Is("zone".to_owned(), zone.to_owned());
        Query::under("worker").with(test)
    };
    let properties = nodes[2].properties();
    let found = async |query: &Query| properties.find(query, None, 9).await.unwrap().0.len();
    assert_eq!((found(&of("a")).await, found(&of("b")).await), (1, 1));
    addr.send(Till::Close).unwrap();
    soon(async { while found(&of("a")).await != 0 {} }).await;
    nodes[0].sessions().end(session).await.unwrap();
    assert_eq!(found(&Query::default()).await, 0);

    let sold = name("sold");
    for (node, sum) in nodes.iter().zip([3, 6, 9]) {
        assert_eq!(node.tallies().add(&sold, 3, None, None).await.unwrap().0, sum);
    }
    let wrong = nodes[0].tallies().add(&sold, 1, Some(3), None).await;
    assert!(matches!(wrong, Err(Error::Refused(Refusal::Miscounted { present: 9 }))));
    assert_eq!(nodes[0].tallies().find(&sold).await.unwrap().value, Some(9));
    nodes[0].tallies().drop(&sold, Some(9), None).await.unwrap();
    assert_eq!(nodes[2].tallies().find(&sold).await.unwrap().value, None);
    stop(nodes).await;
}
