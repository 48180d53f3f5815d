//! What can be known of processes from outside, while the world goes on.

use crate::scene;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quorate_actor::{Actors, Exit, Mailbox, Pid, Spawn, State};
use scene::{End, act, began, dead, having_done, idle, soon, until};

#[tokio::test(start_paused = true)]
async fn a_process_says_what_it_is_tied_to() {
    let actors = Actors::alone();
    let (one, two) = (idle(&actors).pid(), idle(&actors).pid());
    let hub = having_done(&actors, move |mailbox| {
        mailbox.trap_exit(true);
        mailbox.link(one);
        mailbox.link(two);
        for pid in [one, two, two] {
            mailbox.monitor(pid);
        }
    });
    let hub = hub.await;
    let said = actors.info(hub.pid()).await.unwrap();
    let mut monitors = said.monitors.clone();
    monitors.sort();
    assert_eq!((said.links, monitors), (vec![one, two], vec![one, two, two]));
    assert_eq!(said.monitored_by, []);
    assert!(said.traps_exits);

    let said = actors.info(two).await.unwrap();
    assert_eq!((said.links, said.monitors), (vec![hub.pid()], vec![]));
    assert_eq!(said.monitored_by, [hub.pid(); 2], "once for each monitor");
    assert!(!said.traps_exits);

    let ended = actors.ended(hub.pid());
    hub.send(End(Exit::Normal)).unwrap();
    soon(ended).await;
    assert!(actors.info(hub.pid()).await.is_none());
    let said = actors.info(two).await.unwrap();
    assert_eq!((said.links, said.monitored_by), (vec![], vec![]), "a tie ends with either side");
}

#[tokio::test(start_paused = true)]
async fn a_demonitored_or_unlinked_process_forgets_who_it_was() {
    let actors = Actors::alone();
    let target = idle(&actors).pid();
    having_done(&actors, move |mailbox| {
        mailbox.link(target);
        let monitor = mailbox.monitor(target);
        mailbox.unlink(target);
        mailbox.demonitor(monitor);
    })
    .await;
    let said = actors.info(target).await.unwrap();
    assert_eq!((said.links, said.monitored_by), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_brief_tells_label_mailbox_state_and_how_often_it_ran() {
    let actors = Actors::alone();
    let (open, opened) = tokio::sync::oneshot::channel::<()>();
    let reader = actors.spawn_with(Spawn::labelled("reader"), async |mut mailbox: Mailbox<u64>| {
        opened.await.unwrap();
        let own = mailbox.actors().list();
        assert!(own.iter().any(|brief| brief.state == State::Running), "it runs as it looks");
        loop {
            mailbox.receive().await;
        }
    });
    let brief = || actors.list().into_iter().find(|brief| brief.pid == reader.pid()).unwrap();
    assert_eq!((brief().label, brief().state, brief().runs), (Some("reader"), State::Runnable, 0));
    began(&actors, reader.pid()).await;
    assert_eq!((brief().mailbox, brief().state), (0, State::Waiting));
    let runs = brief().runs;
    (0..3).for_each(|note| reader.send(note).unwrap());
    assert_eq!((brief().mailbox, brief().state), (3, State::Runnable));
    open.send(()).unwrap();
    until(|| brief().mailbox == 0).await;
    assert!(brief().runs > runs);
    assert_eq!(actors.counts().processes, 1);
}

#[tokio::test(start_paused = true)]
async fn of_the_dead_nothing_is_known() {
    let actors = Actors::alone();
    let gone = dead(&actors).await;
    assert!(actors.info(gone).await.is_none());
    assert!(!actors.is_alive(gone));
    assert_eq!((actors.list(), actors.count()), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_shows_all_who_live_throughout_while_others_come_and_go() {
    let actors = Actors::alone();
    let steady: BTreeSet<Pid> = (0..1_000).map(|_| idle(&actors).pid()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let crowd: Vec<_> = (0..2)
        .map(|_| {
            let (actors, stop) = (actors.clone(), stop.clone());
            actors.clone().spawn(async move |_: Mailbox<()>| {
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..100 {
                        actors.spawn(async |_: Mailbox<()>| Exit::Normal);
                    }
                    quorate_actor::yield_now().await;
                }
                Exit::Normal
            })
        })
        .collect();
    let listing = soon(act(&actors, async move |mailbox: Mailbox<()>| {
        for _ in 0..200 {
            let listed: Vec<Pid> = mailbox.actors().list().iter().map(|brief| brief.pid).collect();
            let once: BTreeSet<Pid> = listed.iter().copied().collect();
            if once.len() != listed.len() || !steady.is_subset(&once) {
                return Err(listed.len());
            }
            quorate_actor::yield_now().await;
        }
        Ok(())
    }))
    .await;
    stop.store(true, Ordering::Relaxed);
    assert_eq!(listing, Ok(()));
    until(|| crowd.iter().all(|addr| !actors.is_alive(addr.pid()))).await;
    until(|| actors.count() == 1_000).await;
}
