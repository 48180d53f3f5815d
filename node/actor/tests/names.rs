//! Local names: one name, one process, until that ends or gives it up.

use crate::scene;

use quorate_actor::{Actors, Exit, Mailbox, NameError, Pid, yield_now};
use quorate_vocab::NodeId;
use scene::{act, dead, idle, soon};

#[tokio::test(start_paused = true)]
async fn a_name_leads_to_its_process_until_it_is_given_up() {
    let actors = Actors::alone();
    let (one, other) = (idle(&actors).pid(), idle(&actors).pid());
    assert_eq!(actors.whereis("till"), None);
    assert_eq!(actors.register("till", one), Ok(()));
    assert_eq!(actors.whereis("till"), Some(one));
    assert_eq!(actors.register("till", other), Err(NameError::Taken(one)));
    assert_eq!(actors.register("till", one), Err(NameError::Taken(one)));
    assert_eq!(actors.whereis("till"), Some(one), "a refused one changes nothing");
    assert!(actors.unregister("till"));
    assert!(!actors.unregister("till"));
    assert_eq!(actors.register("till", other), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_process_may_have_several_names_and_all_are_free_when_it_has_ended() {
    let actors = Actors::alone();
    let (mortal, other) = (idle(&actors).pid(), idle(&actors).pid());
    for name in ["b", "a", "c"] {
        actors.register(name, mortal).unwrap();
    }
    actors.register("d", other).unwrap();
    let named =
        |names: &[(&str, Pid)]| names.iter().map(|(name, pid)| ((*name).into(), *pid)).collect();
    let all: Vec<(String, Pid)> =
        named(&[("a", mortal), ("b", mortal), ("c", mortal), ("d", other)]);
    assert_eq!(actors.registered(), all);
    let ended = actors.ended(mortal);
    actors.kill(mortal);
    soon(ended).await;
    let left: Vec<(String, Pid)> = named(&[("d", other)]);
    assert_eq!(actors.registered(), left, "who knows of an end finds no name of it");
    assert_eq!(actors.register("a", other), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_dead_and_the_far_get_no_names() {
    let actors = Actors::alone();
    let gone = dead(&actors).await;
    let far = Pid { node: NodeId(9), ..idle(&actors).pid() };
    for pid in [gone, far] {
        assert_eq!(actors.register("till", pid), Err(NameError::NoProc));
    }
    assert_eq!(actors.registered(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_races_the_death_of_its_process_is_free_after_it() {
    let actors = Actors::alone();
    let (given, stale) = soon(act(&actors, async |mailbox: Mailbox<()>| {
        let actors = mailbox.actors().clone();
        let (mut given, mut stale) = (0, 0);
        for round in 0..50_000_u32 {
            let pid = actors.spawn(async |_: Mailbox<()>| Exit::Normal).pid();
            if round % 2 == 0 {
                yield_now().await;
            }
            given += u32::from(actors.register("racer", pid).is_ok());
            while actors.is_alive(pid) {
                yield_now().await;
            }
            // Its names went before it did.
            stale += u32::from(actors.unregister("racer"));
        }
        (given, stale)
    }))
    .await;
    assert_eq!(stale, 0, "of {given} names that were given");
    assert!(given > 0);
}
