//! Signals between two nodes: the same rules, and what a cut or the end of a node adds to them.

use quorate_actor::{Addr, Exit, Loss, Mailbox};
use quorate_vocab::Pid;

use crate::stage::{
    Events, Note, Order, Stage, Subject, all, because, crash, finish, oops, scenarios,
};

scenarios![
    far_mail_keeps_its_order,
    far_mail_there_keeps_its_order,
    far_mail_then_exit_signal,
    far_mail_then_down,
    far_exit_signal_then_mail,
    far_mail_to_the_dead,
    far_mail_to_a_name,
    far_mail_to_an_unknown_name,
    far_monitor_then_exit,
    far_monitor_then_normal,
    far_monitor_then_panic,
    far_monitor_then_kill,
    far_monitor_dead,
    far_two_monitors_two_downs,
    far_demonitor_then_exit,
    far_link_then_exit_trapped,
    far_link_then_exit_untrapped,
    far_link_then_normal_untrapped,
    far_link_is_bidirectional,
    far_link_to_dead_trapped,
    far_link_to_dead_untrapped,
    far_unlink_then_exit,
    far_exit_to_other_untrapped,
    far_exit_to_other_trapped,
    far_exit_normal_to_other_untrapped,
    far_kill_through_trap,
    far_kill_seen_by_a_trapping_link,
    far_cut_told_to_monitors,
    far_cut_told_to_links,
    far_cut_ends_the_untrapping,
    far_cut_leaves_the_unlinked,
    far_cut_told_once,
    far_cut_after_mail,
    far_link_ends_with_a_cut,
    far_monitor_after_a_cut,
    far_monitor_where_no_way_leads,
    far_link_where_no_way_leads,
    far_node_ends_told_to_monitors,
    far_node_ends_told_to_links,
];

impl Stage {
    /// A subject on the other node.
    async fn far_subject(&mut self) -> Subject {
        self.far_subject_that(|_| {}).await
    }

    /// One that traps exits.
    async fn far_trapping(&mut self) -> Subject {
        self.far_subject_that(|mailbox| mailbox.trap_exit(true)).await
    }

    /// The pid of a process of the other node that has ended.
    async fn far_dead(&self) -> Pid {
        let far = &self.elsewhere.far;
        let short = far.spawn(|_: Mailbox<()>| async { Exit::Normal });
        far.ended(short.pid()).await;
        short.pid()
    }

    /// Has a subject of the other node send numbers to the scenario, over the wire.
    async fn count(&self, subject: &Subject, numbers: impl IntoIterator<Item = u64>) {
        let (me, numbers): (_, Vec<u64>) = (self.me.pid(), numbers.into_iter().collect());
        let send = move |mailbox: &mut Mailbox<Order>| {
            let home: Addr<Note> = mailbox.actors().addr(me);
            for number in numbers {
                home.send(Note::Mail(number)).expect("there is room");
            }
        };
        self.order(subject, send).await;
    }

    /// How the other node's subject is reached over the wire.
    fn over_there(&self, pid: Pid) -> Addr<Order> {
        self.me.actors().addr(pid)
    }

    /// The connection breaks.
    async fn cut(&self, loss: Loss) {
        self.settle().await;
        self.elsewhere.wire.cut([self.me.actors(), &self.elsewhere.far], loss);
    }

    /// There is no way to the other node any more.
    async fn part(&self) {
        self.elsewhere.wire.break_for_good();
        self.cut(Loss::Link).await;
    }

    /// A far subject, and one here that is linked to it and traps exits, or not.
    async fn linked_to_far(&mut self, traps: bool) -> (Subject, Subject) {
        let a = self.far_subject().await;
        let to = a.pid();
        let link = move |b: &mut Mailbox<Order>| {
            b.trap_exit(traps);
            b.link(to);
        };
        let b = self.subject_that(link).await;
        self.settle().await;
        (a, b)
    }
}

async fn far_mail_keeps_its_order(mut on: Stage) -> Events {
    let a = on.far_subject().await;
    on.count(&a, 1..=3).await;
    on.heard(&[]).await
}

async fn far_mail_there_keeps_its_order(mut on: Stage) -> Events {
    let a = on.far_subject().await;
    let there = on.over_there(a.pid());
    for number in 1..=3 {
        there.send(Order::Mail(number)).expect("there is room");
    }
    on.settle().await;
    on.fate(&a).await
}

async fn far_mail_then_exit_signal(mut on: Stage) -> Events {
    on.me.trap_exit(true);
    let a = on.far_subject().await;
    on.me.link(a.pid());
    on.settle().await;
    on.count(&a, 1..=3).await;
    finish(&a, oops());
    on.heard(&[]).await
}

async fn far_mail_then_down(mut on: Stage) -> Events {
    let a = on.far_subject().await;
    let m = on.me.monitor(a.pid());
    on.settle().await;
    on.count(&a, 1..=3).await;
    finish(&a, oops());
    on.heard(&[(m, "m")]).await
}

async fn far_exit_signal_then_mail(mut on: Stage) -> Events {
    let a = on.far_trapping().await;
    let there = on.over_there(a.pid());
    there.send(Order::Mail(1)).expect("there is room");
    on.me.exit(a.pid(), oops());
    there.send(Order::Mail(2)).expect("there is room");
    on.settle().await;
    on.fate(&a).await
}

async fn far_mail_to_the_dead(mut on: Stage) -> Events {
    let dead = on.far_dead().await;
    on.over_there(dead).send(Order::Mail(1)).expect("a far send is told nothing of the dead");
    on.heard(&[]).await
}

async fn far_mail_to_a_name(mut on: Stage) -> Events {
    let a = on.far_subject().await;
    let far = on.elsewhere.far.clone();
    far.register("teller", a.pid()).expect("the name is free");
    let there: Addr<Order> = on.me.actors().named(far.node(), "teller");
    there.send(Order::Mail(1)).expect("there is room");
    on.settle().await;
    on.fate(&a).await
}

async fn far_mail_to_an_unknown_name(mut on: Stage) -> Events {
    let there: Addr<Order> = on.me.actors().named(on.elsewhere.far.node(), "nobody");
    there.send(Order::Mail(1)).expect("a far send is told nothing of names");
    on.heard(&[]).await
}

/// Monitors a far subject, lets `end` end it, and says what came.
async fn monitored(mut on: Stage, end: impl FnOnce(&Stage, &Subject)) -> Events {
    let a = on.far_trapping().await;
    let m = on.me.monitor(a.pid());
    on.settle().await;
    end(&on, &a);
    on.heard(&[(m, "m")]).await
}

async fn far_monitor_then_exit(on: Stage) -> Events {
    monitored(on, |_, a| finish(a, oops())).await
}

async fn far_monitor_then_normal(on: Stage) -> Events {
    monitored(on, |_, a| finish(a, Exit::Normal)).await
}

async fn far_monitor_then_panic(on: Stage) -> Events {
    monitored(on, |_, a| crash(a)).await
}

async fn far_monitor_then_kill(on: Stage) -> Events {
    monitored(on, |on, a| assert!(on.me.kill(a.pid()), "the signal is under way")).await
}

async fn far_monitor_dead(mut on: Stage) -> Events {
    let dead = on.far_dead().await;
    let m = on.me.monitor(dead);
    on.heard(&[(m, "m")]).await
}

/// Nothing is said of the order in which one end is told twice.
fn sorted(mut events: Events) -> Events {
    events.sort();
    events
}

async fn far_two_monitors_two_downs(mut on: Stage) -> Events {
    let a = on.far_subject().await;
    let (m, n) = (on.me.monitor(a.pid()), on.me.monitor(a.pid()));
    on.settle().await;
    finish(&a, oops());
    sorted(on.heard(&[(m, "m"), (n, "n")]).await)
}

async fn far_demonitor_then_exit(mut on: Stage) -> Events {
    let a = on.far_subject().await;
    let m = on.me.monitor(a.pid());
    on.settle().await;
    on.me.demonitor(m);
    finish(&a, oops());
    on.heard(&[(m, "m")]).await
}

async fn far_link_then_exit_trapped(mut on: Stage) -> Events {
    let (a, b) = on.linked_to_far(true).await;
    finish(&a, oops());
    on.fate(&b).await
}

async fn far_link_then_exit_untrapped(mut on: Stage) -> Events {
    let (a, b) = on.linked_to_far(false).await;
    finish(&a, oops());
    on.fate(&b).await
}

async fn far_link_then_normal_untrapped(mut on: Stage) -> Events {
    let (a, b) = on.linked_to_far(false).await;
    finish(&a, Exit::Normal);
    on.fate(&b).await
}

async fn far_link_is_bidirectional(mut on: Stage) -> Events {
    let (a, b) = on.linked_to_far(false).await;
    finish(&b, oops());
    on.settle().await;
    on.fate(&a).await
}

async fn far_link_to_dead_trapped(mut on: Stage) -> Events {
    let dead = on.far_dead().await;
    let a = on.trapping_that(move |a| a.link(dead)).await;
    on.fate(&a).await
}

async fn far_link_to_dead_untrapped(mut on: Stage) -> Events {
    let dead = on.far_dead().await;
    let a = on.subject_that(move |a| a.link(dead)).await;
    on.fate(&a).await
}

async fn far_unlink_then_exit(mut on: Stage) -> Events {
    let (a, b) = on.linked_to_far(false).await;
    let from = a.pid();
    on.order(&b, move |b| b.unlink(from)).await;
    finish(&a, oops());
    on.fate(&b).await
}

async fn far_exit_to_other_untrapped(mut on: Stage) -> Events {
    let a = on.far_subject().await;
    on.me.exit(a.pid(), oops());
    on.settle().await;
    on.fate(&a).await
}

async fn far_exit_to_other_trapped(mut on: Stage) -> Events {
    let a = on.far_trapping().await;
    on.me.exit(a.pid(), oops());
    on.settle().await;
    on.fate(&a).await
}

async fn far_exit_normal_to_other_untrapped(mut on: Stage) -> Events {
    let a = on.far_subject().await;
    on.me.exit(a.pid(), Exit::Normal);
    on.settle().await;
    on.fate(&a).await
}

async fn far_kill_through_trap(mut on: Stage) -> Events {
    let a = on.far_trapping().await;
    on.me.kill(a.pid());
    on.settle().await;
    on.fate(&a).await
}

async fn far_kill_seen_by_a_trapping_link(mut on: Stage) -> Events {
    let (a, b) = on.linked_to_far(true).await;
    on.me.kill(a.pid());
    on.settle().await;
    on.fate(&b).await
}

async fn far_cut_told_to_monitors(on: Stage) -> Events {
    told_to_monitors(on, Loss::Link).await
}

async fn told_to_monitors(mut on: Stage, loss: Loss) -> Events {
    let a = on.far_subject().await;
    let (m, n) = (on.me.monitor(a.pid()), on.me.monitor(a.pid()));
    on.cut(loss).await;
    sorted(on.heard(&[(m, "m"), (n, "n")]).await)
}

async fn far_cut_told_to_links(mut on: Stage) -> Events {
    let (a, b) = on.linked_to_far(true).await;
    on.order(&a, |a| a.trap_exit(true)).await;
    on.cut(Loss::Link).await;
    all([on.fate_of("a", &a).await, on.fate_of("b", &b).await])
}

async fn far_cut_ends_the_untrapping(mut on: Stage) -> Events {
    let (a, b) = on.linked_to_far(false).await;
    on.cut(Loss::Link).await;
    all([on.fate_of("a", &a).await, on.fate_of("b", &b).await])
}

async fn far_cut_leaves_the_unlinked(mut on: Stage) -> Events {
    let a = on.far_subject().await;
    on.over_there(a.pid()).send(Order::Mail(1)).expect("there is room");
    on.cut(Loss::Link).await;
    on.over_there(a.pid()).send(Order::Mail(2)).expect("there is a new wire");
    on.settle().await;
    on.fate(&a).await
}

async fn far_cut_told_once(mut on: Stage) -> Events {
    let a = on.far_subject().await;
    let m = on.me.monitor(a.pid());
    on.cut(Loss::Link).await;
    on.settle().await;
    finish(&a, oops());
    on.settle().await;
    on.cut(Loss::Link).await;
    on.heard(&[(m, "m")]).await
}

async fn far_cut_after_mail(mut on: Stage) -> Events {
    let a = on.far_subject().await;
    let m = on.me.monitor(a.pid());
    on.settle().await;
    on.count(&a, 1..=2).await;
    on.cut(Loss::Link).await;
    on.settle().await;
    on.count(&a, 3..=4).await;
    on.heard(&[(m, "m")]).await
}

async fn far_link_ends_with_a_cut(mut on: Stage) -> Events {
    let (a, b) = on.linked_to_far(true).await;
    on.order(&a, |a| a.trap_exit(true)).await;
    on.cut(Loss::Link).await;
    on.settle().await;
    finish(&b, because("later"));
    on.settle().await;
    on.fate(&a).await
}

async fn far_monitor_after_a_cut(mut on: Stage) -> Events {
    let a = on.far_subject().await;
    on.cut(Loss::Link).await;
    on.settle().await;
    let m = on.me.monitor(a.pid());
    on.settle().await;
    finish(&a, oops());
    on.heard(&[(m, "m")]).await
}

async fn far_monitor_where_no_way_leads(mut on: Stage) -> Events {
    let a = on.far_subject().await;
    on.part().await;
    let m = on.me.monitor(a.pid());
    on.heard(&[(m, "m")]).await
}

async fn far_link_where_no_way_leads(mut on: Stage) -> Events {
    let a = on.far_subject().await;
    on.part().await;
    let to = a.pid();
    let b = on.trapping_that(move |b| b.link(to)).await;
    on.fate(&b).await
}

async fn far_node_ends_told_to_monitors(on: Stage) -> Events {
    told_to_monitors(on, Loss::Node).await
}

async fn far_node_ends_told_to_links(mut on: Stage) -> Events {
    let (_, b) = on.linked_to_far(true).await;
    on.cut(Loss::Node).await;
    on.fate(&b).await
}
