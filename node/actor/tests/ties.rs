//! Links: who ends with whom, and who only hears of it.

use crate::scene;

use quorate_actor::{Actors, Exit, Incoming, Mailbox, Message, Pid, Spawn, Trapped};
use scene::{End, act, began, dead, having_done, idle, mortal, soon};
use tokio::sync::oneshot;

fn fire() -> Exit {
    Exit::because("fire")
}

/// What a process hears next, which is to be of an exit.
async fn exited<M: Message>(mailbox: &mut Mailbox<M>) -> Trapped {
    match mailbox.next_within(scene::LONG).await {
        Some(Incoming::Exited(news)) => *news,
        _ => panic!("it should have heard of an exit"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_holds_both_ways() {
    let actors = Actors::alone();
    for linker_first in [true, false] {
        let linked = mortal(&actors);
        let pid = linked.pid();
        let linker = having_done(&actors, move |mailbox| mailbox.link(pid)).await;
        let (first, other) = if linker_first { (&linker, &linked) } else { (&linked, &linker) };
        let ended = actors.ended(other.pid());
        first.send(End(fire())).unwrap();
        assert_eq!(soon(ended).await, fire(), "linker first: {linker_first}");
    }
    assert_eq!(actors.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_normal_end_is_no_matter_to_the_linked_but_heard_by_who_traps() {
    let actors = Actors::alone();
    let target = mortal(&actors);
    let pid = target.pid();
    let linker = having_done(&actors, move |mailbox| mailbox.link(pid)).await;
    let heard = act(&actors, async move |mut mailbox: Mailbox<()>| {
        assert!(!mailbox.trap_exit(true), "it did not trap before");
        mailbox.link(pid);
        target.send(End(Exit::Normal)).unwrap();
        exited(&mut mailbox).await
    });
    assert_eq!(heard.await, Trapped { from: pid, exit: Exit::Normal });
    assert!(actors.info(linker.pid()).await.is_some_and(|info| info.links.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn an_end_goes_through_a_chain_of_links_until_somebody_traps_it() {
    let actors = Actors::alone();
    let first = mortal(&actors);
    let mut chain = vec![first.pid()];
    for _ in 0..5 {
        let last = chain[chain.len() - 1];
        chain.push(having_done(&actors, move |mailbox| mailbox.link(last)).await.pid());
    }
    let last = chain[chain.len() - 1];
    let behind = idle(&actors);
    let ends: Vec<_> = chain.iter().map(|pid| actors.ended(*pid)).collect();
    let heard = act(&actors, async move |mut mailbox: Mailbox<()>| {
        mailbox.trap_exit(true);
        mailbox.link(last);
        mailbox.link(behind.pid());
        first.send(End(fire())).unwrap();
        let heard = exited(&mut mailbox).await;
        (heard, mailbox.actors().is_alive(behind.pid()))
    });
    let (heard, behind_lives) = heard.await;
    assert_eq!(heard, Trapped { from: last, exit: fire() });
    assert!(behind_lives, "who traps an exit stops it");
    for end in ends {
        assert_eq!(soon(end).await, fire(), "the reason goes through unchanged");
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_to_the_dead_is_an_exit_that_says_so() {
    let actors = Actors::alone();
    let gone = dead(&actors).await;
    let heard = act(&actors, async move |mut mailbox: Mailbox<()>| {
        mailbox.trap_exit(true);
        mailbox.link(gone);
        exited(&mut mailbox).await
    });
    assert_eq!(heard.await, Trapped { from: gone, exit: Exit::NoProc });

    let (go, gone_on) = oneshot::channel::<()>();
    let careless = actors.spawn(move |mut mailbox: Mailbox<()>| async move {
        gone_on.await.unwrap();
        mailbox.link(gone);
        mailbox.receive().await;
        Exit::Normal
    });
    let ended = actors.ended(careless.pid());
    go.send(()).unwrap();
    assert_eq!(soon(ended).await, Exit::NoProc);
}

#[tokio::test(start_paused = true)]
async fn linked_twice_is_linked_once_and_a_link_to_oneself_is_none() {
    let actors = Actors::alone();
    let target = mortal(&actors);
    let pid = target.pid();
    let heard = act(&actors, async move |mut mailbox: Mailbox<()>| {
        mailbox.trap_exit(true);
        mailbox.link(mailbox.pid());
        mailbox.link(pid);
        mailbox.link(pid);
        let ended = mailbox.actors().ended(pid);
        target.send(End(fire())).unwrap();
        ended.await;
        let first = exited(&mut mailbox).await;
        (first, mailbox.try_next().is_none())
    });
    assert_eq!(heard.await, (Trapped { from: pid, exit: fire() }, true));

    let target = idle(&actors).pid();
    let once = having_done(&actors, move |mailbox| {
        mailbox.link(target);
        mailbox.link(target);
        mailbox.unlink(target);
    });
    let once = once.await;
    let ended = actors.ended(once.pid());
    actors.exit(target, fire());
    once.send(End(Exit::Shutdown)).unwrap();
    assert_eq!(soon(ended).await, Exit::Shutdown, "one unlink cuts it");
}

#[tokio::test(start_paused = true)]
async fn an_unlinked_end_is_felt_on_neither_side() {
    let actors = Actors::alone();
    for linker_first in [true, false] {
        let target = mortal(&actors);
        let pid = target.pid();
        let linker = having_done(&actors, move |mailbox| {
            mailbox.link(pid);
            mailbox.unlink(pid);
        });
        let linker = linker.await;
        let (first, other) = if linker_first { (&linker, &target) } else { (&target, &linker) };
        let ended = actors.ended(first.pid());
        first.send(End(fire())).unwrap();
        assert_eq!(soon(ended).await, fire());
        let ended = actors.ended(other.pid());
        other.send(End(Exit::Normal)).unwrap();
        assert_eq!(soon(ended).await, Exit::Normal);
    }
}

#[tokio::test(start_paused = true)]
async fn who_links_again_after_unlinking_is_linked() {
    let actors = Actors::alone();
    let target = idle(&actors).pid();
    let linker = having_done(&actors, move |mailbox| {
        mailbox.link(target);
        mailbox.unlink(target);
        mailbox.link(target);
    });
    let ended = actors.ended(linker.await.pid());
    actors.exit(target, fire());
    assert_eq!(soon(ended).await, fire());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlink_that_races_the_end_is_the_last_word() {
    let actors = Actors::alone();
    let late = act(&actors, async |mut mailbox: Mailbox<()>| {
        mailbox.trap_exit(true);
        let mut late = 0;
        for round in 0..20_000_u32 {
            let pid = mailbox.actors().spawn(async |_: Mailbox<()>| fire()).pid();
            mailbox.link(pid);
            if round % 3 == 0 {
                quorate_actor::yield_now().await;
            }
            mailbox.unlink(pid);
            // What lay here already may be taken; nothing may come after.
            let its = |news: &Incoming<()>| matches!(news, Incoming::Exited(_)).then_some(());
            mailbox.select(its, Some(std::time::Duration::ZERO)).await;
            // The dying tell their links before their monitors.
            mailbox.monitor(pid);
            match mailbox.next().await {
                Incoming::Down(down) if down.pid == pid => {}
                _ => late += 1,
            }
        }
        late
    });
    assert_eq!(late.await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_process_linked_at_birth_ends_with_its_parent_before_its_first_step() {
    let actors = Actors::alone();
    let (tell, told) = oneshot::channel();
    let (go, gone_on) = oneshot::channel::<()>();
    let parent = actors.spawn(|mut mailbox: Mailbox<()>| async move {
        gone_on.await.unwrap();
        let body = async |_: Mailbox<()>| panic!("it runs");
        let child = mailbox.spawn_link(Spawn::labelled("child"), body);
        let _ = tell.send(mailbox.actors().ended(child.pid()));
        fire()
    });
    let ended = actors.ended(parent.pid());
    go.send(()).unwrap();
    assert_eq!(soon(ended).await, fire());
    assert_eq!(soon(told.await.unwrap()).await, fire());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_linked_or_monitored_child_that_ends_at_once_is_told_with_its_own_reason() {
    let actors = Actors::alone();
    let told = act(&actors, async |mut mailbox: Mailbox<()>| {
        mailbox.trap_exit(true);
        let mut told = 0;
        for _ in 0..10_000 {
            let linked = mailbox.spawn_link(Spawn::default(), async |_: Mailbox<()>| fire());
            let heard = exited(&mut mailbox).await;
            told += u32::from(heard == Trapped { from: linked.pid(), exit: fire() });
            let body = async |_: Mailbox<()>| Exit::Shutdown;
            let (child, monitor) = mailbox.spawn_monitor(Spawn::default(), body);
            match mailbox.next().await {
                Incoming::Down(down) if down.monitor == monitor && down.pid == child.pid() => {
                    told += u32::from(down.exit == Exit::Shutdown);
                }
                _ => panic!("it should have heard of the child's end"),
            }
        }
        told
    });
    assert_eq!(soon(told).await, 20_000);
}

#[tokio::test(start_paused = true)]
async fn children_of_a_runtime_that_is_closed_are_dead_and_said_to_be() {
    let actors = Actors::alone();
    let own = actors.clone();
    let (tell, told) = oneshot::channel();
    let parent = actors.spawn(|mut mailbox: Mailbox<()>| async move {
        mailbox.trap_exit(true);
        // Asked to end before all others, it tries to have children.
        mailbox.next().await;
        let child = mailbox.spawn_link(Spawn::default(), async |_: Mailbox<()>| Exit::Normal);
        let heard = exited(&mut mailbox).await;
        let body = async |_: Mailbox<()>| Exit::Normal;
        let (other, monitor) = mailbox.spawn_monitor(Spawn::default(), body);
        let down = mailbox.next().await;
        let right = heard == Trapped { from: child.pid(), exit: Exit::NoProc }
            && matches!(down, Incoming::Down(down) if down.monitor == monitor
                && down.pid == other.pid() && down.exit == Exit::NoProc);
        let _ = tell.send(right);
        Exit::Normal
    });
    began(&actors, parent.pid()).await;
    own.close_first(parent.pid(), scene::LONG);
    soon(own.close()).await;
    assert!(told.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_its_process_only_and_its_words_reach_the_linked() {
    let actors = Actors::alone();
    let bystander = idle(&actors);
    let heard = act(&actors, async |mut mailbox: Mailbox<()>| {
        mailbox.trap_exit(true);
        let child = mailbox.spawn_link(Spawn::default(), async |_: Mailbox<()>| panic!("on fire"));
        (child.pid(), exited(&mut mailbox).await)
    });
    let (child, heard) = heard.await;
    assert_eq!(heard, Trapped { from: child, exit: Exit::Panic("on fire".into()) });
    assert!(actors.is_alive(bystander.pid()));
}

#[tokio::test(start_paused = true)]
async fn who_is_linked_to_the_killed_ends_as_killed_but_may_trap_that() {
    let actors = Actors::alone();
    let target = idle(&actors).pid();
    let linked = having_done(&actors, move |mailbox| mailbox.link(target)).await;
    let ended = actors.ended(linked.pid());
    let heard = act(&actors, async move |mut mailbox: Mailbox<()>| {
        mailbox.trap_exit(true);
        mailbox.link(target);
        assert!(mailbox.kill(target));
        exited(&mut mailbox).await
    });
    assert_eq!(heard.await, Trapped { from: target, exit: Exit::Killed });
    assert_eq!(soon(ended).await, Exit::Killed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_says_to_another_keeps_its_order_to_its_end() {
    let actors = Actors::alone();
    for _ in 0..2_000 {
        let heard = act(&actors, async |mut mailbox: Mailbox<u64>| {
            mailbox.trap_exit(true);
            let (to, me) = (mailbox.addr(), mailbox.pid());
            let sender = async move |own: Mailbox<()>| {
                to.send(1).unwrap();
                own.exit(me, Exit::because("between"));
                to.send(2).unwrap();
                fire()
            };
            let sender = mailbox.spawn_link(Spawn::default(), sender).pid();
            let mut heard = Vec::new();
            while heard.len() < 4 {
                heard.push(match mailbox.next().await {
                    Incoming::Mail(number) => number.to_string(),
                    Incoming::Exited(news) if news.from == sender => news.exit.to_string(),
                    _ => "something else".into(),
                });
            }
            heard
        });
        assert_eq!(heard.await, ["1", "between", "2", "fire"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_between_two_that_end_at_once_leaves_nothing_behind() {
    let actors = Actors::alone();
    let pids: Vec<Pid> = (0..100).map(|_| idle(&actors).pid()).collect();
    let hub = pids.clone();
    let hub = having_done(&actors, move |mailbox| hub.iter().for_each(|pid| mailbox.link(*pid)));
    let hub = hub.await;
    let ends: Vec<_> = pids.iter().map(|pid| actors.ended(*pid)).collect();
    hub.send(End(fire())).unwrap();
    actors.kill(pids[0]);
    for end in ends {
        let exit = soon(end).await;
        assert!(exit == fire() || exit == Exit::Killed, "{exit}");
    }
    assert_eq!(actors.count(), 0);
}
