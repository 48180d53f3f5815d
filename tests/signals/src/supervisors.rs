//! Supervisors: which children are started and stopped, and in which order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quorate_actor::{Addr, Exit, Incoming, Mailbox, Spawn};
use quorate_env::sleep;
use quorate_otp::{
    AutoShutdown, Child, ChildError, ChildState, Restart, Shutdown, Strategy, Supervisor,
    SupervisorAddr, Whom,
};
use quorate_vocab::Pid;
use tokio::sync::oneshot;

use crate::stage::{
    Events, Note, Order, Stage, all, because, finish, oops, reason, scenarios, waits_for_its_end,
    waver, words,
};

scenarios![
    supervisor_starts_in_order,
    supervisor_stops_in_reverse,
    one_for_one_restarts_the_one,
    one_for_all_restarts_all,
    rest_for_one_restarts_the_rest,
    rest_for_one_last_child,
    one_for_all_after_a_panic,
    permanent_normal_is_restarted,
    transient_normal_is_not_restarted,
    transient_shutdown_is_not_restarted,
    transient_crash_is_restarted,
    killed_child_is_restarted,
    temporary_crash_is_not_restarted,
    temporary_goes_with_its_siblings,
    rest_for_one_forgets_the_temporary,
    temporary_terminated_is_forgotten,
    transient_normal_leaves_its_siblings,
    intensity_exceeded,
    intensity_zero,
    intensity_forgets_after_its_period,
    intensity_one_for_all_counts_once,
    child_that_refuses_at_boot,
    child_that_refuses_at_restart,
    child_terminated_and_restarted,
    child_deleted,
    child_started_later,
    child_started_twice,
    child_unknown,
    children_counted,
    children_listed,
    brutal_kill,
    shutdown_in_vain,
    supervisor_killed,
    supervisor_ends_with_its_parent,
    supervisor_ends_with_its_parent_s_normal_end,
    supervisor_nested,
    supervisor_exit_from_a_stranger,
    dynamic_children,
    dynamic_temporary_is_forgotten,
    dynamic_stop_takes_all,
    significant_child_ends_its_supervisor,
];

/// What a child does beyond saying when it starts and when it is asked to stop.
#[derive(Clone)]
enum How {
    Plain,
    /// It does not stop when asked.
    Stubborn,
    /// It does not start.
    Refusing,
    /// Of its starts these fail, counted from one.
    RefusingFrom(Arc<AtomicU32>, u32, u32),
}

impl How {
    fn refuses(&self) -> bool {
        match self {
            Self::Plain | Self::Stubborn => false,
            Self::Refusing => true,
            Self::RefusingFrom(starts, from, to) => {
                let nth = starts.fetch_add(1, Ordering::Relaxed) + 1;
                (*from..=*to).contains(&nth)
            }
        }
    }
}

fn child(on: &Stage, id: &'static str) -> Child {
    child_that(on, id, How::Plain)
}

fn child_that(on: &Stage, id: &'static str, how: How) -> Child {
    let driver = on.me.addr();
    Child::new(id, move |mut starter| {
        let (driver, how) = (driver.clone(), how.clone());
        Box::pin(async move {
            if how.refuses() {
                say(&driver, format!("refuse {id}"));
                return Err(oops());
            }
            let (ready, is_ready) = oneshot::channel();
            let child = starter.spawn_link(move |mailbox| run(mailbox, driver, id, how, ready));
            is_ready.await.expect("a child starts");
            Ok(child.pid())
        })
    })
}

fn say(driver: &Addr<Note>, word: String) {
    // The scenario may be over.
    let _ = driver.send(Note::Log(word));
}

/// A child's whole life.
async fn run(
    mut mailbox: Mailbox<Order>,
    driver: Addr<Note>,
    id: &'static str,
    how: How,
    ready: oneshot::Sender<()>,
) -> Exit {
    mailbox.trap_exit(true);
    say(&driver, format!("start {id}"));
    let _ = driver.send(Note::Started(id.to_owned(), mailbox.addr()));
    let _ = ready.send(());
    loop {
        waver().await;
        match mailbox.next().await {
            Incoming::Exited(news) if matches!(how, How::Stubborn) => {
                say(&driver, format!("ignore {}", reason(&news.exit)));
            }
            Incoming::Exited(news) => {
                say(&driver, format!("stop {id} {}", reason(&news.exit)));
                return news.exit;
            }
            Incoming::Mail(Order::End(exit)) => return exit,
            Incoming::Mail(Order::Panic) => panic!("boom"),
            _ => {}
        }
    }
}

/// A started supervisor whose parent is the scenario.
async fn start(on: &mut Stage, supervisor: Supervisor) -> SupervisorAddr {
    on.me.trap_exit(true);
    supervisor.start_link(&mut on.me).await.expect("it starts")
}

async fn sup(
    on: &mut Stage,
    strategy: Strategy,
    intensity: u32,
    children: impl IntoIterator<Item = Child>,
) -> SupervisorAddr {
    let supervisor = match strategy {
        Strategy::OneForOne => Supervisor::one_for_one(),
        Strategy::OneForAll => Supervisor::one_for_all(),
        Strategy::RestForOne => Supervisor::rest_for_one(),
        Strategy::Dynamic => Supervisor::dynamic(),
    };
    let supervisor = supervisor.intensity(intensity, Duration::from_secs(60));
    start(on, children.into_iter().fold(supervisor, Supervisor::child)).await
}

async fn one_for_one(on: &mut Stage, children: impl IntoIterator<Item = Child>) -> SupervisorAddr {
    sup(on, Strategy::OneForOne, 10, children).await
}

fn three(on: &Stage) -> [Child; 3] {
    ["a", "b", "c"].map(|id| child(on, id))
}

/// The newest process of a child.
async fn newest(on: &mut Stage, id: &str) -> Addr<Order> {
    let mut newest = None;
    let started = |news: &Incoming<Note>| match news {
        Incoming::Mail(Note::Started(of, child)) if of == id => Some(child.clone()),
        _ => None,
    };
    while let Some((child, _)) = on.me.select(started, Some(Duration::ZERO)).await {
        newest = Some(child);
    }
    newest.expect("it has started")
}

/// Has a child end by itself, and tells what the supervisor then does.
async fn ends(on: &mut Stage, id: &str, exit: Exit) -> Events {
    newest(on, id).await.send(Order::End(exit)).expect("it runs");
    on.logged().await
}

async fn panics(on: &mut Stage, id: &str) -> Events {
    newest(on, id).await.send(Order::Panic).expect("it runs");
    on.logged().await
}

/// Asks a supervisor to stop, as its parent.
async fn stop(on: &mut Stage, supervisor: &SupervisorAddr) -> Events {
    on.me.exit(supervisor.pid(), Exit::Shutdown);
    over(on, supervisor).await
}

/// What was logged, and how the supervisor ends.
async fn over(on: &mut Stage, supervisor: &SupervisorAddr) -> Events {
    let pid = supervisor.pid();
    let exit = |news: &Incoming<Note>| match news {
        Incoming::Exited(news) if news.from == pid => Some(reason(&news.exit)),
        _ => None,
    };
    let end = match on.me.select(exit, Some(on.ms(1000))).await {
        Some((exit, _)) => format!("supervisor ends {exit}"),
        None => "supervisor lives".to_owned(),
    };
    all([on.logged().await, vec![end]])
}

/// How each child is, in their order.
async fn listed(supervisor: &SupervisorAddr) -> Events {
    let children = supervisor.which_children().await.expect("the supervisor lives");
    let word = |state| match state {
        ChildState::Running(_) => "runs",
        ChildState::Restarting => "restarts",
        ChildState::Stopped => "stopped",
    };
    children.iter().map(|child| format!("{} {}", child.id, word(child.state))).collect()
}

/// An answer in Erlang's words.
fn said<T>(answer: Result<T, ChildError>) -> Events {
    vec![match answer {
        Ok(_) => "ok".to_owned(),
        Err(ChildError::AlreadyStarted(_)) => "already_started".to_owned(),
        Err(ChildError::AlreadyPresent) => "already_present".to_owned(),
        Err(ChildError::NotFound) => "not_found".to_owned(),
        Err(ChildError::Running) => "running".to_owned(),
        Err(other) => other.to_string(),
    }]
}

async fn supervisor_starts_in_order(mut on: Stage) -> Events {
    let children = three(&on);
    one_for_one(&mut on, children).await;
    on.logged().await
}

async fn supervisor_stops_in_reverse(mut on: Stage) -> Events {
    let children = three(&on);
    let s = one_for_one(&mut on, children).await;
    all([on.logged().await, stop(&mut on, &s).await])
}

/// Three children under a strategy, of which one ends.
async fn one_of_three_ends(mut on: Stage, strategy: Strategy, id: &str) -> Events {
    let children = three(&on);
    sup(&mut on, strategy, 10, children).await;
    all([on.logged().await, ends(&mut on, id, oops()).await])
}

async fn one_for_one_restarts_the_one(on: Stage) -> Events {
    one_of_three_ends(on, Strategy::OneForOne, "b").await
}

async fn one_for_all_restarts_all(on: Stage) -> Events {
    one_of_three_ends(on, Strategy::OneForAll, "b").await
}

async fn rest_for_one_restarts_the_rest(on: Stage) -> Events {
    one_of_three_ends(on, Strategy::RestForOne, "b").await
}

async fn rest_for_one_last_child(on: Stage) -> Events {
    one_of_three_ends(on, Strategy::RestForOne, "c").await
}

async fn one_for_all_after_a_panic(mut on: Stage) -> Events {
    let children = three(&on);
    sup(&mut on, Strategy::OneForAll, 10, children).await;
    all([on.logged().await, panics(&mut on, "a").await])
}

async fn permanent_normal_is_restarted(mut on: Stage) -> Events {
    let children = three(&on);
    one_for_one(&mut on, children).await;
    let started = on.logged().await;
    let normal = ends(&mut on, "a", Exit::Normal).await;
    all([started, normal, ends(&mut on, "a", Exit::Shutdown).await])
}

fn transient(on: &Stage) -> [Child; 2] {
    [child(on, "a").restart(Restart::Transient), child(on, "b")]
}

async fn transient_normal_is_not_restarted(mut on: Stage) -> Events {
    let children = transient(&on);
    let s = one_for_one(&mut on, children).await;
    let started = on.logged().await;
    let ended = ends(&mut on, "a", Exit::Normal).await;
    all([started, ended, stop(&mut on, &s).await])
}

async fn transient_shutdown_is_not_restarted(mut on: Stage) -> Events {
    let children = transient(&on);
    let s = one_for_one(&mut on, children).await;
    let started = on.logged().await;
    let ended = ends(&mut on, "a", Exit::Shutdown).await;
    all([started, ended, stop(&mut on, &s).await])
}

async fn transient_crash_is_restarted(mut on: Stage) -> Events {
    let children = transient(&on);
    one_for_one(&mut on, children).await;
    let started = on.logged().await;
    let ended = ends(&mut on, "a", oops()).await;
    all([started, ended, panics(&mut on, "a").await])
}

async fn count(supervisor: &SupervisorAddr) -> Events {
    words([supervisor.which_children().await.expect("the supervisor lives").len()])
}

async fn temporary_crash_is_not_restarted(mut on: Stage) -> Events {
    let children = [child(&on, "a").restart(Restart::Temporary), child(&on, "b")];
    let s = one_for_one(&mut on, children).await;
    all([on.logged().await, ends(&mut on, "a", oops()).await, count(&s).await])
}

async fn temporary_goes_with_its_siblings(mut on: Stage) -> Events {
    let [a, b, c] = three(&on);
    let children = [a, b.restart(Restart::Temporary), c];
    let s = sup(&mut on, Strategy::OneForAll, 10, children).await;
    all([on.logged().await, ends(&mut on, "a", oops()).await, count(&s).await])
}

async fn transient_normal_leaves_its_siblings(mut on: Stage) -> Events {
    let children = transient(&on);
    sup(&mut on, Strategy::OneForAll, 10, children).await;
    all([on.logged().await, ends(&mut on, "a", Exit::Normal).await])
}

async fn intensity_exceeded(mut on: Stage) -> Events {
    let children = three(&on);
    let s = sup(&mut on, Strategy::OneForOne, 2, children).await;
    let mut events = on.logged().await;
    for _ in 0..3 {
        events.extend(ends(&mut on, "b", oops()).await);
    }
    all([events, over(&mut on, &s).await])
}

async fn intensity_zero(mut on: Stage) -> Events {
    let children = [child(&on, "a"), child(&on, "b")];
    let s = sup(&mut on, Strategy::OneForOne, 0, children).await;
    all([on.logged().await, ends(&mut on, "a", oops()).await, over(&mut on, &s).await])
}

async fn intensity_one_for_all_counts_once(mut on: Stage) -> Events {
    let children = three(&on);
    let s = sup(&mut on, Strategy::OneForAll, 1, children).await;
    let started = on.logged().await;
    let once = ends(&mut on, "b", oops()).await;
    all([started, once, ends(&mut on, "a", oops()).await, over(&mut on, &s).await])
}

async fn child_that_refuses_at_boot(mut on: Stage) -> Events {
    let refusing = child_that(&on, "c", How::Refusing);
    let children = [child(&on, "a"), child(&on, "b"), refusing, child(&on, "d")];
    let supervisor = children.into_iter().fold(Supervisor::one_for_one(), Supervisor::child);
    on.me.trap_exit(true);
    let why = supervisor.start_link(&mut on.me).await.expect_err("a child refuses").into_exit();
    let log = on.logged().await;
    let heard = on.heard(&[]).await.into_iter().filter(|event| event.starts_with("exit"));
    all([log, vec![format!("refused {}", reason(&why))], heard.collect()])
}

/// Its second and third start fail: the first restart, and the first try to repeat it.
async fn child_that_refuses_at_restart(mut on: Stage) -> Events {
    let [a, _, c] = three(&on);
    let b = child_that(&on, "b", How::RefusingFrom(Arc::default(), 2, 3));
    one_for_one(&mut on, [a, b, c]).await;
    all([on.logged().await, ends(&mut on, "b", oops()).await])
}

async fn child_terminated_and_restarted(mut on: Stage) -> Events {
    let children = three(&on);
    let s = one_for_one(&mut on, children).await;
    let started = on.logged().await;
    let terminated = said(s.terminate_child("b").await);
    let stopped = all([terminated, on.logged().await, listed(&s).await]);
    let restarted = said(s.restart_child("b").await);
    all([started, stopped, restarted, on.logged().await])
}

async fn child_deleted(mut on: Stage) -> Events {
    let children = three(&on);
    let s = one_for_one(&mut on, children).await;
    let mut events = on.logged().await;
    events.extend(said(s.delete_child("b").await));
    events.extend(said(s.terminate_child("b").await));
    events.extend(on.logged().await);
    events.extend(said(s.delete_child("b").await));
    events.extend(listed(&s).await);
    all([events, said(s.restart_child("b").await)])
}

async fn child_started_later(mut on: Stage) -> Events {
    let (a, b) = (child(&on, "a"), child(&on, "b"));
    let s = one_for_one(&mut on, [a]).await;
    let started = on.logged().await;
    let later = said(s.start_child(b).await);
    all([started, later, on.logged().await, stop(&mut on, &s).await])
}

async fn child_started_twice(mut on: Stage) -> Events {
    let a = child(&on, "a");
    let s = one_for_one(&mut on, [a.clone()]).await;
    s.terminate_child("a").await.expect("it is there");
    let present = said(s.start_child(a.clone()).await);
    s.restart_child("a").await.expect("it is there");
    all([on.logged().await, present, said(s.start_child(a).await)])
}

async fn child_unknown(mut on: Stage) -> Events {
    let a = child(&on, "a");
    let s = one_for_one(&mut on, [a]).await;
    let started = on.logged().await;
    let unknown = all([
        said(s.terminate_child("x").await),
        said(s.restart_child("x").await),
        said(s.delete_child("x").await),
    ]);
    all([started, unknown, said(s.restart_child("a").await)])
}

fn of_all_kinds(on: &Stage) -> [Child; 3] {
    let [a, b, c] = three(on);
    [a, b.restart(Restart::Transient), c.restart(Restart::Temporary)]
}

async fn children_counted(mut on: Stage) -> Events {
    let children = of_all_kinds(&on);
    let s = one_for_one(&mut on, children).await;
    ends(&mut on, "b", Exit::Normal).await;
    let counts = s.count_children().await.expect("the supervisor lives");
    vec![
        format!("specs {}", counts.specs),
        format!("active {}", counts.active),
        format!("workers {}", counts.workers),
        format!("supervisors {}", counts.supervisors),
    ]
}

async fn children_listed(mut on: Stage) -> Events {
    let children = of_all_kinds(&on);
    let s = one_for_one(&mut on, children).await;
    let before = listed(&s).await;
    ends(&mut on, "b", Exit::Normal).await;
    ends(&mut on, "c", Exit::Normal).await;
    all([before, words(["then"]), listed(&s).await])
}

async fn brutal_kill(mut on: Stage) -> Events {
    let children = [child(&on, "a"), child(&on, "b").shutdown(Shutdown::BrutalKill)];
    let s = one_for_one(&mut on, children).await;
    all([on.logged().await, stop(&mut on, &s).await])
}

async fn shutdown_in_vain(mut on: Stage) -> Events {
    let stubborn = child_that(&on, "b", How::Stubborn).shutdown(Shutdown::After(on.ms(50)));
    let children = [child(&on, "a"), stubborn];
    let s = one_for_one(&mut on, children).await;
    let b = newest(&mut on, "b").await;
    let monitor = on.me.monitor(b.pid());
    let started = on.logged().await;
    let stopped = stop(&mut on, &s).await;
    all([started, stopped, on.ended("b ", monitor).await])
}

async fn supervisor_killed(mut on: Stage) -> Events {
    let children = [child(&on, "a"), child(&on, "b")];
    let s = one_for_one(&mut on, children).await;
    let started = on.logged().await;
    on.actors().kill(s.pid());
    let mut stopped = over(&mut on, &s).await;
    let end = stopped.pop();
    stopped.sort();
    all([started, end.into_iter().collect(), stopped])
}

async fn supervisor_ends_with_its_parent(on: Stage) -> Events {
    parent_ends(on, oops()).await
}

/// Ends the parent of a supervisor, and tells what becomes of the supervisor.
async fn parent_ends(mut on: Stage, exit: Exit) -> Events {
    let supervisor = Supervisor::one_for_one().child(child(&on, "a")).child(child(&on, "b"));
    let (tell, told) = oneshot::channel::<Pid>();
    let parent = on.me.spawn_monitor(Spawn::default(), |mut parent: Mailbox<Order>| async move {
        let supervisor = supervisor.start_link(&mut parent).await.expect("it starts");
        tell.send(supervisor.pid()).expect("the scenario waits");
        waits_for_its_end(parent).await
    });
    let monitor = on.me.monitor(told.await.expect("it starts"));
    finish(&parent.0, exit);
    on.ended("supervisor ", monitor).await
}

async fn supervisor_nested(mut on: Stage) -> Events {
    let inner = Supervisor::one_for_one().intensity(0, Duration::from_secs(60));
    let inner = inner.child(child(&on, "b")).child(child(&on, "c"));
    let children = [child(&on, "a"), Child::supervisor("inner", inner), child(&on, "d")];
    let s = one_for_one(&mut on, children).await;
    let started = on.logged().await;
    let ended = ends(&mut on, "c", oops()).await;
    all([started, ended, stop(&mut on, &s).await])
}

/// Only the parent's exit ends it.
async fn supervisor_exit_from_a_stranger(mut on: Stage) -> Events {
    let a = child(&on, "a");
    let s = one_for_one(&mut on, [a]).await;
    let pid = s.pid();
    on.actors().spawn(move |stranger: Mailbox<()>| async move {
        stranger.exit(pid, because("oops"));
        Exit::Normal
    });
    all([on.logged().await, words([on.actors().is_alive(pid)])])
}

async fn dynamic(on: &mut Stage, children: [Child; 2]) -> (SupervisorAddr, [Pid; 2]) {
    let s = sup(on, Strategy::Dynamic, 10, []).await;
    let [a, b] = children;
    let a = s.start_child(a).await.expect("it starts");
    let b = s.start_child(b).await.expect("it starts");
    (s, [a, b])
}

async fn active(supervisor: &SupervisorAddr) -> Events {
    let counts = supervisor.count_children().await.expect("the supervisor lives");
    vec![format!("active {}", counts.active)]
}

async fn dynamic_children(mut on: Stage) -> Events {
    let children = [child(&on, "a"), child(&on, "b")];
    let (s, [a, _]) = dynamic(&mut on, children).await;
    let started = on.logged().await;
    let restarted = ends(&mut on, "b", oops()).await;
    s.terminate_child(Whom::Pid(a)).await.expect("it is there");
    all([started, restarted, on.logged().await, active(&s).await])
}

async fn dynamic_temporary_is_forgotten(mut on: Stage) -> Events {
    let children = ["a", "b"].map(|id| child(&on, id).restart(Restart::Temporary));
    let (s, _) = dynamic(&mut on, children).await;
    let before = all([on.logged().await, active(&s).await]);
    all([before, ends(&mut on, "a", oops()).await, active(&s).await])
}

async fn dynamic_stop_takes_all(mut on: Stage) -> Events {
    let children = [child(&on, "a"), child(&on, "b")];
    let (s, _) = dynamic(&mut on, children).await;
    let started = on.logged().await;
    let mut stopped = stop(&mut on, &s).await;
    let end = stopped.pop();
    stopped.sort();
    all([started, stopped, end.into_iter().collect()])
}

async fn significant_child_ends_its_supervisor(mut on: Stage) -> Events {
    let done = child(&on, "b").restart(Restart::Transient).significant();
    let supervisor = Supervisor::one_for_one().child(child(&on, "a")).child(done);
    let s = start(&mut on, supervisor.auto_shutdown(AutoShutdown::AnySignificant)).await;
    let started = on.logged().await;
    all([started, ends(&mut on, "b", Exit::Normal).await, over(&mut on, &s).await])
}

async fn killed_child_is_restarted(mut on: Stage) -> Events {
    let children = transient(&on);
    one_for_one(&mut on, children).await;
    let started = on.logged().await;
    let a = newest(&mut on, "a").await;
    on.actors().kill(a.pid());
    all([started, on.logged().await])
}

async fn rest_for_one_forgets_the_temporary(mut on: Stage) -> Events {
    let [a, b, c] = three(&on);
    let children = [a, b.restart(Restart::Temporary), c];
    let s = sup(&mut on, Strategy::RestForOne, 10, children).await;
    all([on.logged().await, ends(&mut on, "a", oops()).await, listed(&s).await])
}

async fn temporary_terminated_is_forgotten(mut on: Stage) -> Events {
    let children = [child(&on, "a"), child(&on, "b").restart(Restart::Temporary)];
    let s = one_for_one(&mut on, children).await;
    let started = on.logged().await;
    let terminated = said(s.terminate_child("b").await);
    all([started, terminated, on.logged().await, listed(&s).await])
}

async fn intensity_forgets_after_its_period(mut on: Stage) -> Events {
    let period = Duration::from_secs(1);
    let supervisor = Supervisor::one_for_one().intensity(1, period).child(child(&on, "a"));
    let s = start(&mut on, supervisor).await;
    let first = all([on.logged().await, ends(&mut on, "a", oops()).await]);
    sleep(period * 2).await;
    let second = ends(&mut on, "a", oops()).await;
    all([first, second, words([on.actors().is_alive(s.pid())])])
}

async fn supervisor_ends_with_its_parent_s_normal_end(on: Stage) -> Events {
    parent_ends(on, Exit::Normal).await
}
