//! A cluster that begins anew from a former one's state: what stays, what ends, and which numbers rise.

use crate::common;

use common::{World, count, lease, name, node, release};
use quorate_registry::{At, Command, Machine, Once, Op, Outgrown, Verdict, snapshot};
use quorate_vocab::{Epoch, Index};

#[test]
fn what_is_durable_stays_under_epochs_above_all_that_the_former_cluster_could_have_given() {
    let (mut world, session) = World::with_node();
    let kept = world.register("kept", None);
    world.register("bound", Some(session));
    world.say(lease("timed", 1000));
    world.say(count("tally", 7, None));
    let saved = snapshot::encode(&world.machine);
    // The former cluster goes on after the backup, and gives the name to another.
    world.say(release("kept", None));
    let later = world.register("kept", None);
    assert!(later > kept);

    let anew = snapshot::decode(&saved).unwrap().begin_anew(0).unwrap();
    let held: Vec<_> = anew.list("", None).collect();
    assert_eq!(held.len(), 1, "only what is bound to nothing is left");
    assert_eq!(held[0].name, name("kept"));
    assert!(held[0].epoch > later && held[0].epoch.generation() == 1);
    assert_eq!(anew.counter("tally"), Some(7));
    assert_eq!((anew.nodes().count(), anew.sessions().count()), (0, 0));
    assert!(anew.applied().0 > world.machine.applied().0 + Machine::LEAP / 2);
    // It is a state like any other.
    assert_eq!(snapshot::decode(&snapshot::encode(&anew)).unwrap(), anew);
}

#[test]
fn a_session_of_the_new_cluster_has_a_number_that_the_former_one_never_gave() {
    let (world, session) = World::with_node();
    let mut anew = world.machine.clone().begin_anew(0).unwrap();
    let mut out = Vec::new();
    let mut say = |op: Op| {
        let at = At { index: anew.applied().next(), term: 1 };
        anew.apply(at, Command { once: Once::Free, op }, &mut out)
    };
    assert_eq!(say(common::join(7, "n1")), Verdict::Joined);
    let Verdict::Opened { session: opened } = say(Op::Open { owner: node(7, 1), ttl_ms: 1000 })
    else {
        panic!("the new node gets a session");
    };
    assert!(opened.0 > session.0 + Machine::LEAP);
}

#[test]
fn a_state_that_is_begun_from_twice_rises_above_what_was_seen_of_the_first_time() {
    let mut world = World::new();
    world.register("kept", None);
    let epoch = |machine: &Machine| machine.find("kept").unwrap().epoch;
    let first = world.machine.clone().begin_anew(0).unwrap();
    let second = world.machine.clone().begin_anew(first.generation()).unwrap();
    assert!(epoch(&second) > epoch(&first));
    assert_eq!(second.generation(), 2);
    // And from one another.
    assert_eq!(first.begin_anew(0).unwrap().generation(), 2);
}

#[test]
fn a_cluster_that_has_used_up_its_epochs_does_not_begin_anew() {
    let mut world = World::new();
    world.register("kept", None);
    let refused = world.machine.clone().begin_anew(4095);
    assert!(matches!(refused, Err(Outgrown { generation: 4095, .. })));
    let mut old = world.machine.clone();
    let mut times = 0;
    while let Ok(anew) = old.clone().begin_anew(0) {
        (old, times) = (anew, times + 1);
    }
    assert!(times >= 500, "{times}");
    assert!(Epoch::new(old.generation(), Index(old.applied().0)).is_some());
}
