//! Monitors and exit signals: one notice for each monitor, and what a signal does to whom.

use crate::scene;

use std::time::Duration;

use quorate_actor::{Actors, Down, Exit, Incoming, Mailbox, Ref, Trapped};
use scene::{End, act, began, dead, having_done, idle, mortal, soon};
use tokio::sync::oneshot;

async fn down(mailbox: &mut Mailbox<u64>) -> Down {
    match mailbox.next_within(scene::LONG).await {
        Some(Incoming::Down(down)) => *down,
        _ => panic!("it should have heard of an end"),
    }
}

/// Whether nothing lies in a mailbox.
async fn is_silent(mailbox: &mut Mailbox<u64>) -> bool {
    mailbox.next_within(Duration::ZERO).await.is_none()
}

#[tokio::test(start_paused = true)]
async fn each_monitor_is_told_once_and_tells_which_it_was() {
    let actors = Actors::alone();
    let target = mortal(&actors);
    let pid = target.pid();
    let heard = act(&actors, async move |mut mailbox: Mailbox<u64>| {
        let monitors = [mailbox.monitor(pid), mailbox.monitor(pid)];
        assert_ne!(monitors[0], monitors[1]);
        target.send(End(Exit::because("fire"))).unwrap();
        let mut heard = vec![down(&mut mailbox).await, down(&mut mailbox).await];
        heard.sort_by_key(|down| down.monitor);
        let exit = Exit::because("fire");
        assert_eq!(heard, monitors.map(|monitor| Down { monitor, pid, exit: exit.clone() }));
        is_silent(&mut mailbox).await
    });
    assert!(heard.await, "two monitors, two notices");
}

#[tokio::test(start_paused = true)]
async fn a_monitor_of_the_dead_is_told_so_each_time() {
    let actors = Actors::alone();
    let pid = dead(&actors).await;
    act(&actors, async move |mut mailbox: Mailbox<u64>| {
        for _ in 0..2 {
            let monitor = mailbox.monitor(pid);
            assert_eq!(down(&mut mailbox).await, Down { monitor, pid, exit: Exit::NoProc });
        }
        assert!(is_silent(&mut mailbox).await);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_monitor_is_not_a_link() {
    let actors = Actors::alone();
    let target = mortal(&actors);
    let pid = target.pid();
    let monitors = move |mailbox: &mut Mailbox<End>| _ = mailbox.monitor(pid);
    let watcher = having_done(&actors, monitors).await;
    let ended = actors.ended(watcher.pid());
    watcher.send(End(Exit::because("fire"))).unwrap();
    soon(ended).await;
    assert!(actors.is_alive(pid), "its watcher's end is nothing to it");
    let info = actors.info(pid).await.unwrap();
    assert_eq!(info.links, []);
}

#[tokio::test(start_paused = true)]
async fn demonitor_ends_an_open_monitor_and_says_so_once() {
    let actors = Actors::alone();
    let target = mortal(&actors);
    let pid = target.pid();
    act(&actors, async move |mut mailbox: Mailbox<u64>| {
        let (cut, kept) = (mailbox.monitor(pid), mailbox.monitor(pid));
        assert!(mailbox.demonitor(cut));
        assert!(!mailbox.demonitor(cut), "it is closed already");
        assert!(!mailbox.demonitor(Ref(u64::MAX)), "it never was");
        target.send(End(Exit::Normal)).unwrap();
        assert_eq!(down(&mut mailbox).await.monitor, kept);
        assert!(is_silent(&mut mailbox).await);
        assert!(!mailbox.demonitor(kept), "it was answered");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn demonitor_takes_away_the_notice_that_lies_here_already_and_no_other() {
    let actors = Actors::alone();
    let pid = dead(&actors).await;
    act(&actors, async move |mut mailbox: Mailbox<u64>| {
        let me = mailbox.addr();
        me.send(1).unwrap();
        let lying = mailbox.monitor(pid);
        me.send(2).unwrap();
        let other = mailbox.monitor(pid);
        // Having taken in the last of them, it has all before it.
        let its = |news: &Incoming<u64>| matches!(news, Incoming::Mail(2)).then_some(());
        mailbox.select(its, None).await;
        assert!(!mailbox.demonitor(lying), "its notice had come");
        assert!(matches!(mailbox.next().await, Incoming::Mail(1)));
        assert_eq!(down(&mut mailbox).await.monitor, other);
        assert!(is_silent(&mut mailbox).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demonitor_that_races_the_end_is_the_last_word() {
    let actors = Actors::alone();
    let (late, open) = soon(act(&actors, async |mut mailbox: Mailbox<u64>| {
        let (mut late, mut open) = (0, 0);
        for round in 0..20_000_u32 {
            let pid = mailbox.actors().spawn(async |_: Mailbox<()>| Exit::Shutdown).pid();
            let monitor = mailbox.monitor(pid);
            (0..round % 64).for_each(|_| std::hint::spin_loop());
            open += u32::from(mailbox.demonitor(monitor));
            let end = mailbox.monitor(pid);
            late += u32::from(down(&mut mailbox).await.monitor != end);
        }
        (late, open)
    }))
    .await;
    assert_eq!(late, 0);
    assert!(open > 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_sent_exit_does_depends_on_the_reason_and_on_who_traps() {
    let fire = || Exit::because("fire");
    let actors = Actors::alone();
    // (how it is told, whether it traps, how it ends, or `None` if it lives and has trapped it)
    type Act = fn(&Actors, quorate_actor::Pid) -> bool;
    let cases: [(Act, bool, Option<Exit>); 8] = [
        (|actors, pid| actors.exit(pid, Exit::because("fire")), false, Some(fire())),
        (|actors, pid| actors.exit(pid, Exit::because("fire")), true, None),
        (|actors, pid| actors.exit(pid, Exit::Killed), false, Some(Exit::Killed)),
        (|actors, pid| actors.exit(pid, Exit::Killed), true, None),
        (Actors::kill, false, Some(Exit::Killed)),
        (Actors::kill, true, Some(Exit::Killed)),
        (|actors, pid| actors.end(pid, Exit::because("fire")), true, Some(fire())),
        (|actors, pid| actors.exit(pid, Exit::Normal), true, None),
    ];
    for (nth, (tell, traps, ends)) in cases.into_iter().enumerate() {
        let (heard, hears) = oneshot::channel();
        let target = actors.spawn(move |mut mailbox: Mailbox<u64>| async move {
            mailbox.trap_exit(traps);
            let Incoming::Exited(news) = mailbox.next().await else { panic!("only an exit") };
            let _ = heard.send(*news);
            Exit::because("it trapped it")
        });
        // It has to run before it traps.
        began(&actors, target.pid()).await;
        let ended = actors.ended(target.pid());
        assert!(tell(&actors, target.pid()));
        let trapped = Exit::because("it trapped it");
        assert_eq!(soon(ended).await, ends.clone().unwrap_or(trapped), "case {nth}");
        if ends.is_none() {
            let from = hears.await.unwrap().from;
            assert_eq!((from.node, from.serial), (target.pid().node, 0), "from outside");
        }
        assert!(!tell(&actors, target.pid()), "nobody is there any more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_normal_exit_is_ignored_unless_it_is_ones_own() {
    let actors = Actors::alone();
    let target = idle(&actors);
    assert!(actors.exit(target.pid(), Exit::Normal));
    assert!(actors.info(target.pid()).await.is_some(), "it has seen the signal, and lives");

    let (go, gone_on) = oneshot::channel::<()>();
    let suicide = actors.spawn(|mut mailbox: Mailbox<()>| async move {
        gone_on.await.unwrap();
        mailbox.exit(mailbox.pid(), Exit::Normal);
        mailbox.receive().await;
        Exit::because("it lives")
    });
    let ended = actors.ended(suicide.pid());
    go.send(()).unwrap();
    assert_eq!(soon(ended).await, Exit::Normal);
}

#[tokio::test(start_paused = true)]
async fn a_trapped_exit_says_who_sent_it_and_trapping_can_be_left_off() {
    let actors = Actors::alone();
    let target = actors.spawn(async |mut mailbox: Mailbox<u64>| {
        assert!(!mailbox.trap_exit(true));
        let me = mailbox.pid();
        let exit = Exit::because("mine");
        mailbox.exit(me, exit.clone());
        let Incoming::Exited(news) = mailbox.next().await else { panic!("only an exit") };
        assert_eq!(*news, Trapped { from: me, exit });
        assert!(mailbox.trap_exit(false));
        mailbox.receive().await;
        Exit::because("it lives")
    });
    began(&actors, target.pid()).await;
    let ended = actors.ended(target.pid());
    actors.exit(target.pid(), Exit::Shutdown);
    assert_eq!(soon(ended).await, Exit::Shutdown);
}

#[tokio::test(start_paused = true)]
async fn who_was_told_to_end_handles_nothing_that_was_sent_after() {
    let actors = Actors::alone();
    let (tell, told) = oneshot::channel();
    let target = actors.spawn(async |mut mailbox: Mailbox<u64>| {
        let me = mailbox.addr();
        me.send(1).unwrap();
        // The order comes in the middle of a run, and so does the mail after it.
        mailbox.actors().exit(mailbox.pid(), Exit::Shutdown);
        me.send(2).unwrap();
        let mut handled = Handled(Vec::new(), Some(tell));
        loop {
            handled.0.push(mailbox.receive().await);
        }
    });
    let ended = actors.ended(target.pid());
    assert_eq!(soon(ended).await, Exit::Shutdown);
    assert!(!soon(told).await.unwrap().contains(&2));
}

/// What a process has handled. It is told when the process ends, however that is.
struct Handled(Vec<u64>, Option<oneshot::Sender<Vec<u64>>>);

impl Drop for Handled {
    fn drop(&mut self) {
        if let Some(tell) = self.1.take() {
            let _ = tell.send(std::mem::take(&mut self.0));
        }
    }
}
