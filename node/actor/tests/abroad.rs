//! Stories of links, monitors and exits between processes of two nodes.

use crate::common;
use crate::puppets;
use crate::scene;

use common::{LONG, Till, open_till, poll_once};
use puppets::{Puppet, Stage, settle};
use quorate_actor::{
    ActorsConfig, CallError, Down, Exit, LetterError, Loss, Pid, Ref, SendError, Trapped,
};
use quorate_vocab::{Boot, NodeId};
use scene::in_life;

const QUIET: (bool, bool) = (false, false);
const TIED: (bool, bool) = (true, true);

fn fire() -> Exit {
    Exit::because("fire")
}

#[tokio::test(start_paused = true)]
async fn a_far_end_is_told_once_for_each_monitor_with_its_reason() {
    let stage = Stage::new();
    let pid = stage.at_b.pid();
    let first = stage.at_a.monitor(&stage.at_b).await;
    let second = stage.at_a.monitor(&stage.at_b).await;
    settle().await;
    assert_eq!(stage.ties(), TIED);
    stage.at_b.end(fire());
    settle().await;
    let down = |monitor| Down { monitor, pid, exit: fire() };
    assert_eq!(stage.at_a.downs(), [down(first), down(second)]);
    let late = stage.at_a.monitor(&stage.at_b).await;
    settle().await;
    assert_eq!(stage.at_a.downs(), [Down { monitor: late, pid, exit: Exit::NoProc }]);
    assert_eq!(stage.ties(), QUIET);
}

#[tokio::test(start_paused = true)]
async fn a_pid_of_an_earlier_life_is_no_process() {
    let stage = Stage::new();
    let old = Pid { boot: Boot(0), ..stage.at_b.pid() };
    stage.at_a.trap().await;
    let monitor = stage.at_a.act(move |mailbox| mailbox.monitor(old)).await;
    stage.at_a.act(move |mailbox| mailbox.link(old)).await;
    stage.at_a.act(move |mailbox| mailbox.kill(old)).await;
    settle().await;
    assert_eq!(stage.at_a.downs(), [Down { monitor, pid: old, exit: Exit::NoProc }]);
    assert_eq!(stage.at_a.trapped(), [Trapped { from: old, exit: Exit::NoProc }]);
    assert!(stage.b.is_alive(stage.at_b.pid()));
    assert_eq!(stage.ties(), QUIET);
}

#[tokio::test(start_paused = true)]
async fn what_the_carrier_refuses_is_answered_here_at_once() {
    let stage = Stage::new();
    let pid = stage.at_b.pid();
    stage.at_a.trap().await;
    stage.wire.cut();
    let monitor = stage.at_a.monitor(&stage.at_b).await;
    stage.at_a.link(&stage.at_b).await;
    assert!(!stage.at_a.act(move |mailbox| mailbox.exit(pid, fire())).await);
    assert!(!stage.a.kill(pid) && !stage.a.end(pid, fire()));
    settle().await;
    assert_eq!(stage.at_a.downs(), [Down { monitor, pid, exit: Exit::NoConnection }]);
    assert_eq!(stage.at_a.trapped(), [Trapped { from: pid, exit: Exit::NoConnection }]);
    assert_eq!(stage.a.ended(pid).await, Exit::NoConnection);
    assert_eq!(stage.ties(), QUIET);
}

#[tokio::test(start_paused = true)]
async fn a_link_between_nodes_holds_both_ways() {
    for linker_ends in [true, false] {
        let stage = Stage::new();
        stage.at_a.link(&stage.at_b).await;
        settle().await;
        let (first, other) = match linker_ends {
            true => (&stage.at_a, stage.b.ended(stage.at_b.pid())),
            false => (&stage.at_b, stage.a.ended(stage.at_a.pid())),
        };
        first.end(fire());
        assert_eq!(other.await, fire());
        settle().await;
        assert_eq!(stage.ties(), QUIET);
    }
}

#[tokio::test(start_paused = true)]
async fn a_far_link_that_is_cut_tells_nobody_and_can_be_tied_again() {
    let stage = Stage::new();
    let pid = stage.at_b.pid();
    stage.at_a.link(&stage.at_b).await;
    stage.at_b.link(&stage.at_a).await;
    stage.at_a.act(move |mailbox| mailbox.unlink(pid)).await;
    settle().await;
    assert_eq!(stage.ties(), QUIET);
    stage
        .at_a
        .act(move |mailbox| {
            mailbox.link(pid);
            mailbox.unlink(pid);
            mailbox.link(pid);
            mailbox.unlink(pid);
        })
        .await;
    stage.at_b.end(fire());
    settle().await;
    assert!(stage.a.is_alive(stage.at_a.pid()));
    assert_eq!(stage.ties(), QUIET);
}

#[tokio::test(start_paused = true)]
async fn exits_and_kills_reach_far_processes() {
    let stage = Stage::new();
    let (me, pid) = (stage.at_a.pid(), stage.at_b.pid());
    stage.at_b.trap().await;
    assert!(stage.at_a.act(move |mailbox| mailbox.exit(pid, fire())).await);
    assert!(stage.a.exit(pid, Exit::Shutdown));
    settle().await;
    let outside = Pid { serial: 0, ..me };
    let trapped = |from, exit| Trapped { from, exit };
    assert_eq!(stage.at_b.trapped(), [trapped(me, fire()), trapped(outside, Exit::Shutdown)]);
    let ended = stage.a.ended(pid);
    assert!(stage.at_a.act(move |mailbox| mailbox.kill(pid)).await);
    assert_eq!(ended.await, Exit::Killed);
    assert_eq!(stage.ties(), QUIET);
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_is_the_last_word_of_all_ties_by_it() {
    for (loss, exit) in [(Loss::Link, Exit::NoConnection), (Loss::Node, Exit::NodeDown)] {
        let stage = Stage::new();
        let (me, pid) = (stage.at_a.pid(), stage.at_b.pid());
        let other = Puppet::new(&stage.b);
        stage.at_a.trap().await;
        stage.at_b.trap().await;
        let monitor = stage.at_a.monitor(&stage.at_b).await;
        stage.at_a.link(&stage.at_b).await;
        let unlinked = other.pid();
        stage.at_a.link(&other).await;
        let ended = stage.a.ended(pid);
        settle().await;
        stage.wire.hold();
        stage.at_a.act(move |mailbox| mailbox.unlink(unlinked)).await;
        stage.wire.lose(&stage.a, &stage.b, loss);
        settle().await;
        assert_eq!(ended.await, exit);
        assert_eq!(stage.at_a.downs(), [Down { monitor, pid, exit: exit.clone() }]);
        assert_eq!(stage.at_a.trapped(), [Trapped { from: pid, exit: exit.clone() }]);
        assert_eq!(stage.at_b.trapped(), [Trapped { from: me, exit: exit.clone() }]);
        assert_eq!(stage.b.ended(other.pid()).await, Exit::NoProc, "it does not trap");
        assert_eq!(stage.ties(), QUIET);
        // By the next link nothing is known of the ties before.
        stage.wire.heal();
        stage.wire.release();
        let again = stage.at_a.monitor(&stage.at_b).await;
        stage.at_b.end(fire());
        settle().await;
        assert_eq!(stage.at_a.downs(), [Down { monitor: again, pid, exit: fire() }]);
        assert!(stage.at_a.trapped().is_empty());
        assert_eq!(stage.ties(), QUIET);
    }
}

#[tokio::test(start_paused = true)]
async fn late_news_of_a_lost_link_change_nothing() {
    let stage = Stage::new();
    let pid = stage.at_b.pid();
    stage.at_a.trap().await;
    stage.at_a.monitor(&stage.at_b).await;
    stage.at_a.link(&stage.at_b).await;
    settle().await;
    stage.wire.hold();
    stage.at_b.end(fire());
    settle().await;
    let late = stage.wire.take_held();
    assert_eq!(late.len(), 2);
    stage.wire.lose(&stage.a, &stage.b, Loss::Link);
    settle().await;
    assert_eq!((stage.at_a.downs().len(), stage.at_a.trapped().len()), (1, 1));
    for (from, _, letter) in &late {
        stage.a.deliver(*from, letter).unwrap();
    }
    settle().await;
    assert_eq!((stage.at_a.downs().len(), stage.at_a.trapped().len()), (0, 0));
    assert!(!stage.a.is_tied_to(pid.node));
}

#[tokio::test(start_paused = true)]
async fn a_far_monitor_can_be_taken_back() {
    let stage = Stage::new();
    let monitor = stage.at_a.monitor(&stage.at_b).await;
    settle().await;
    assert!(stage.at_a.act(move |mailbox| mailbox.demonitor(monitor)).await);
    settle().await;
    assert_eq!(stage.ties(), QUIET);
    let info = stage.b.info(stage.at_b.pid()).await.unwrap();
    assert!(info.monitored_by.is_empty());
    stage.at_b.end(fire());
    settle().await;
    assert!(stage.at_a.downs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_nodes_may_number_their_monitors_alike() {
    let wire = std::sync::Arc::new(common::Wire::default());
    let (a, b, c) = (wire.node(1, 1), wire.node(2, 1), wire.node(3, 1));
    let (at_a, at_b, at_c) = (Puppet::new(&a), Puppet::new(&b), Puppet::new(&c));
    let from_b = at_b.monitor(&at_a).await;
    let from_c = at_c.monitor(&at_a).await;
    settle().await;
    assert_eq!(from_b, from_c);
    assert!(at_b.act(move |mailbox| mailbox.demonitor(from_b)).await);
    settle().await;
    at_a.end(fire());
    settle().await;
    assert_eq!((at_b.downs().len(), at_c.downs().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn who_ends_is_forgotten_by_those_it_watched_abroad() {
    let stage = Stage::new();
    stage.at_a.monitor(&stage.at_b).await;
    settle().await;
    stage.at_a.end(Exit::Normal);
    settle().await;
    assert_eq!(stage.ties(), QUIET);
    assert!(stage.b.info(stage.at_b.pid()).await.unwrap().monitored_by.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_abroad_can_be_monitored() {
    let stage = Stage::new();
    let (there, pid) = (stage.b.node(), stage.at_b.pid());
    stage.b.register("clerk", pid).unwrap();
    let by_name =
        |name: &'static str| stage.at_a.act(move |mailbox| mailbox.monitor_named(there, name));
    let nobody = by_name("nobody").await;
    settle().await;
    let [down] = &stage.at_a.downs()[..] else { panic!("one down") };
    assert_eq!((down.monitor, down.pid.node, down.pid.serial), (nobody, there, 0));
    assert_eq!(down.exit, Exit::NoProc);

    let taken_back = by_name("clerk").await;
    let open = by_name("clerk").await;
    settle().await;
    assert!(stage.at_a.act(move |mailbox| mailbox.demonitor(taken_back)).await);
    stage.wire.hold();
    let at_once = by_name("clerk").await;
    assert!(stage.at_a.act(move |mailbox| mailbox.demonitor(at_once)).await);
    stage.wire.release();
    settle().await;
    assert_eq!(stage.b.info(pid).await.unwrap().monitored_by, [stage.at_a.pid()]);
    stage.b.unregister("clerk");
    stage.at_b.end(fire());
    settle().await;
    assert_eq!(stage.at_a.downs(), [Down { monitor: open, pid, exit: fire() }]);
    assert_eq!(stage.ties(), QUIET);

    let here = stage.a.node();
    stage.a.register("self", stage.at_a.pid()).unwrap();
    let near = stage.at_a.act(move |mailbox| mailbox.monitor_named(here, "nobody")).await;
    settle().await;
    assert_eq!(stage.at_a.downs()[0].monitor, near);
    stage.wire.cut();
    let cut_off = by_name("clerk").await;
    settle().await;
    let [down] = &stage.at_a.downs()[..] else { panic!("one down") };
    assert_eq!((down.monitor, &down.exit), (cut_off, &Exit::NoConnection));
}

#[tokio::test(start_paused = true)]
async fn mail_to_a_name_goes_to_whoever_has_it_when_it_arrives() {
    let stage = Stage::new();
    let (a, b) = (&stage.a, &stage.b);
    for (here, at) in [(a, b.node()), (b, b.node())] {
        let till = here.named::<Till>(at, "till");
        let absent = till.call(LONG, Till::Sum).await;
        assert_eq!(absent, Err(CallError::NoProc));
        let first = open_till(b);
        b.register("till", first.pid()).unwrap();
        till.send(Till::Note(3)).unwrap();
        assert_eq!(till.call(LONG, Till::Sum).await, Ok(3));
        b.unregister("till");
        b.register("till", open_till(b).pid()).unwrap();
        assert_eq!(till.call(LONG, Till::Sum).await, Ok(0), "it is another's now");
        b.unregister("till");
    }
    let endless = a.named::<Till>(b.node(), &"x".repeat(256));
    assert_eq!(endless.send(Till::Note(1)), Err(SendError::NoProc));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_far_end_no_more_is_forgotten() {
    let stage = Stage::new();
    let mut ended = Box::pin(stage.a.ended(stage.at_b.pid()));
    assert_eq!(poll_once(&mut ended).await, None);
    settle().await;
    assert_eq!(stage.ties(), TIED);
    drop(ended);
    settle().await;
    assert_eq!(stage.ties(), QUIET);
}

#[test]
fn news_that_find_the_carrier_full_arrive_later_and_in_order() {
    in_life(async |_| {
        let stage = Stage::new();
        let (me, pid) = (stage.at_a.pid(), stage.at_b.pid());
        stage.at_a.trap().await;
        let monitor = stage.at_a.monitor(&stage.at_b).await;
        stage.at_a.link(&stage.at_b).await;
        settle().await;
        stage.wire.fill(true);
        stage.at_b.end(fire());
        settle().await;
        let refused = stage.at_a.monitor(&stage.at_b).await;
        settle().await;
        assert_eq!(stage.at_a.downs(), [Down { monitor: refused, pid, exit: Exit::NoConnection }]);
        assert!(stage.b.is_tied_to(me.node), "it owes");
        assert!(!stage.b.kill(me), "an order does not overtake what is owed");
        stage.wire.fill(false);
        settle().await;
        assert_eq!(stage.at_a.downs(), [Down { monitor, pid, exit: fire() }]);
        assert_eq!(stage.at_a.trapped(), [Trapped { from: pid, exit: fire() }]);
        assert_eq!(stage.ties(), QUIET);
        assert!(stage.wire.severed().is_empty());
    });
}

#[test]
fn what_was_owed_by_a_lost_link_is_void() {
    in_life(async |_| {
        let stage = Stage::new();
        stage.at_a.monitor(&stage.at_b).await;
        settle().await;
        stage.wire.fill(true);
        stage.at_b.end(fire());
        // Not for so long that it is tried again.
        tokio::task::yield_now().await;
        stage.wire.lose(&stage.a, &stage.b, Loss::Link);
        stage.wire.fill(false);
        stage.wire.heal();
        settle().await;
        let exits: Vec<Exit> = stage.at_a.downs().into_iter().map(|down| down.exit).collect();
        assert_eq!(exits, [Exit::NoConnection]);
        assert_eq!(stage.ties(), QUIET);
    });
}

#[tokio::test(start_paused = true)]
async fn a_node_speaks_for_its_own_processes_only() {
    let stage = Stage::new();
    let pid = stage.at_b.pid();
    stage.wire.hold();
    stage.at_a.monitor(&stage.at_b).await;
    stage.at_a.link(&stage.at_b).await;
    stage.a.kill(pid);
    let letters = stage.wire.take_held();
    assert_eq!(letters.len(), 3);
    for (_, _, letter) in &letters {
        assert_eq!(stage.b.deliver(NodeId(9), letter), Err(LetterError::Forged));
        assert_eq!(stage.a.deliver(NodeId(1), letter), Err(LetterError::NotMine));
    }
    settle().await;
    assert!(stage.b.is_alive(pid));
    assert!(!stage.b.is_tied_to(NodeId(9)) && !stage.b.is_tied_to(NodeId(1)));
}

#[tokio::test(start_paused = true)]
async fn a_node_ends_no_monitor_of_anothers_process() {
    let wire = std::sync::Arc::new(common::Wire::default());
    let (a, b, c) = (wire.node(1, 1), wire.node(2, 1), wire.node(3, 1));
    let (at_a, at_b) = (Puppet::new(&a), Puppet::new(&b));
    // Whoever monitors first on any node has the same number for it.
    at_a.monitor(&at_b).await;
    let liar = Puppet::new(&c);
    let watched = Puppet::new(&a);
    watched.monitor(&liar).await;
    settle().await;
    wire.hold();
    liar.end(fire());
    settle().await;
    let [(from, _, down)] = &wire.take_held()[..] else { panic!("one down") };
    // To the other watcher, and by the number of its monitor.
    let mut lie = down.clone();
    lie[42..50].copy_from_slice(&at_a.pid().serial.to_le_bytes());
    lie[50..58].copy_from_slice(&1_u64.to_le_bytes());
    for number in 0..10_u64 {
        lie[50..58].copy_from_slice(&number.to_le_bytes());
        assert_eq!(a.deliver(*from, &lie), Ok(()));
    }
    settle().await;
    assert!(at_a.downs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_node_may_tie_itself_to_is_bounded() {
    let wire = std::sync::Arc::new(common::Wire::default());
    let config = ActorsConfig { ties_per_node_max: 2, ..ActorsConfig::default() };
    let (a, b) = (wire.node(1, 1), wire.node_with(2, 1, config));
    let (at_a, at_b) = (Puppet::new(&a), Puppet::new(&b));
    at_a.trap().await;
    let first = at_a.monitor(&at_b).await;
    at_a.link(&at_b).await;
    settle().await;
    let third = at_a.monitor(&at_b).await;
    settle().await;
    let pid = at_b.pid();
    assert_eq!(at_a.downs(), [Down { monitor: third, pid, exit: Exit::NoConnection }]);
    assert!(at_a.act(move |mailbox| mailbox.demonitor(first)).await);
    settle().await;
    at_a.monitor(&at_b).await;
    settle().await;
    assert!(at_a.downs().is_empty(), "there is room again");
    assert_eq!(b.counts().letters_refused, 1);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_signals_to_who_does_not_run_cuts_its_sender_off() {
    let stage = Stage::new();
    settle().await;
    stage.wire.hold();
    stage
        .at_a
        .act({
            let pid = stage.at_b.pid();
            move |mailbox| mailbox.exit(pid, Exit::Normal)
        })
        .await;
    let [(from, _, letter)] = &stage.wire.take_held()[..] else { panic!("one letter") };
    let taken = (0..100_000).take_while(|_| stage.b.deliver(*from, letter).is_ok()).count();
    assert_eq!(taken, 65_536);
    assert_eq!(stage.wire.severed(), [(stage.b.node(), *from)]);
    settle().await;
    assert_eq!(stage.b.deliver(*from, letter), Ok(()), "they were taken in");
}

#[tokio::test(start_paused = true)]
async fn exits_that_a_far_node_sends_to_who_traps_are_bounded_like_mail() {
    let wire = std::sync::Arc::new(common::Wire::default());
    let config = ActorsConfig { mailbox_bytes_max: 3 << 10, ..ActorsConfig::default() };
    let (a, b) = (wire.node(1, 1), wire.node_with(2, 1, config));
    let at_b = Puppet::new(&b);
    at_b.trap().await;
    (0..10).for_each(|_| assert!(a.exit(at_b.pid(), fire())));
    settle().await;
    assert_eq!(at_b.trapped().len(), 3);
    assert!(a.exit(at_b.pid(), fire()));
    settle().await;
    assert_eq!(at_b.trapped().len(), 1, "there is room again");
}

#[tokio::test(start_paused = true)]
async fn closing_lets_go_of_all_nodes() {
    let stage = Stage::new();
    let ended = stage.a.ended(stage.at_b.pid());
    stage.at_b.monitor(&stage.at_a).await;
    settle().await;
    stage.a.close().await;
    assert_eq!(ended.await, Exit::NoConnection);
    settle().await;
    let exits: Vec<(Ref, Exit)> =
        stage.at_b.downs().into_iter().map(|down| (down.monitor, down.exit)).collect();
    assert!(matches!(&exits[..], [(_, Exit::Shutdown)]));
    assert!(!stage.a.is_tied_to(stage.b.node()));
}
