//! Stories of partitions: a key has one process, whatever happens to the others.

use crate::family;

use std::collections::BTreeSet;

use family::soon;
use quorate_actor::{Actors, Addr, Exit, Mailbox, Message, ReplyTo};
use quorate_otp::{Child, PartitionSupervisor, Partitions, Supervisor};

enum Count {
    Up(&'static str),
    Crash,
    Tell(ReplyTo<(usize, Vec<&'static str>)>),
}

impl Message for Count {}

/// Counts what comes, and knows its own number.
fn counter(number: usize) -> Child {
    Child::body("counter", move |mut mailbox: Mailbox<Count>| async move {
        let mut seen = Vec::new();
        loop {
            match mailbox.receive().await {
                Count::Up(key) => seen.push(key),
                Count::Crash => return Exit::because("boom"),
                Count::Tell(to) => to.send((number, seen.clone())),
            }
        }
    })
}

async fn tell(actors: &Actors, partitions: &Partitions, key: &str) -> (usize, Vec<&'static str>) {
    let addr: Addr<Count> = partitions.addr(actors, key).expect("it was started");
    soon(addr.call(family::LONG, Count::Tell)).await.unwrap()
}

const KEYS: [&str; 12] =
    ["ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis", "jay", "koi", "lynx"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_has_one_partition_and_the_partitions_share_the_keys() {
    let (actors, counters) = (Actors::alone(), PartitionSupervisor::new(3, counter));
    let partitions = counters.partitions();
    assert_eq!((partitions.count(), partitions.pid("ant")), (3, None), "nothing runs yet");
    // It stands in a tree like any other supervisor.
    let tree = Supervisor::one_for_one().child(Child::supervisor("counters", counters));
    soon(tree.start(&actors)).await.unwrap();
    for key in KEYS {
        partitions.addr::<Count>(&actors, key).unwrap().send(Count::Up(key)).unwrap();
    }
    let mut used = BTreeSet::new();
    for key in KEYS {
        let (number, seen) = tell(&actors, &partitions, key).await;
        assert_eq!(number, partitions.of(key));
        let expected: Vec<_> =
            KEYS.into_iter().filter(|key| partitions.of(key) == number).collect();
        assert_eq!(seen, expected);
        used.insert(number);
    }
    assert_eq!(used.len(), 3);
}

#[tokio::test]
async fn a_partition_that_crashes_comes_back_in_its_place_and_the_others_know_nothing() {
    let (actors, counters) = (Actors::alone(), PartitionSupervisor::new(3, counter));
    let partitions = counters.partitions();
    let supervisor = soon(Supervisor::from(counters).start(&actors)).await.unwrap();
    for key in KEYS {
        partitions.addr::<Count>(&actors, key).unwrap().send(Count::Up(key)).unwrap();
    }
    let before = partitions.pid("ant").unwrap();
    let ended = actors.ended(before);
    partitions.addr::<Count>(&actors, "ant").unwrap().send(Count::Crash).unwrap();
    soon(ended).await;
    let counts = soon(supervisor.count_children()).await.unwrap();
    assert_eq!((counts.specs, counts.active), (3, 3), "the supervisor has dealt with it");
    assert_ne!(partitions.pid("ant"), Some(before));
    for key in KEYS {
        let (number, seen) = tell(&actors, &partitions, key).await;
        assert_eq!(number, partitions.of(key));
        assert_eq!(seen.is_empty(), number == partitions.of("ant"));
    }
}
