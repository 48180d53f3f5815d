//! Servers.

use std::time::Duration;

use quorate_actor::{Addr, CallError, Exit, Incoming, Mailbox, Message, ReplyTo, Spawn};
use quorate_env::sleep;
use quorate_otp::{Context, Flow, News, Server, StartError};
use quorate_vocab::{Pid, Ref};

use crate::stage::{
    Events, Note, Order, Stage, all, finish, oops, reason, scenarios, waits_for_its_end, waver,
};

scenarios![
    server_starts_after_init,
    server_init_refuses,
    server_init_panics,
    server_init_refuses_a_linked_starter,
    server_init_refuses_a_linked_untrapping_starter,
    server_stops_with_a_reason,
    server_stops_normally,
    server_untrapping_ends_without_a_word,
    server_trapping_ends_with_its_parent,
    server_trapping_ends_with_its_parent_s_normal_end,
    server_untrapping_outlives_its_parent_s_normal_end,
    server_trapping_is_told_of_other_exits,
    server_killed_without_a_word,
    server_panics_in_a_handler,
    server_continues_before_the_next_message,
    server_idle_timeout,
    server_idle_timeout_is_put_off_by_mail,
    server_answers_later,
    server_is_told_of_a_down,
    server_call_while_it_stops,
];

/// A server that logs what happens to it; what it does is in its messages.
struct Talker {
    driver: Addr<Note>,
    waiting: Option<ReplyTo<u64>>,
    left: &'static str,
}

/// How it begins.
enum How {
    Plain,
    Trapping,
    Refusing,
    Panicking,
}

enum Tell {
    Stop(Exit),
    StopIn(ReplyTo<u64>),
    Panic,
    Continue(&'static str),
    Nap(Duration),
    Idle(Duration),
    Watch(Pid),
    Later(ReplyTo<u64>),
    Answer,
    Say(&'static str),
}

impl Message for Tell {}

impl Talker {
    fn say(&self, word: impl Into<String>) {
        // The scenario may be over.
        let _ = self.driver.send(Note::Log(word.into()));
    }
}

impl Server for Talker {
    type Message = Tell;
    type Args = (Addr<Note>, How);

    async fn init((driver, how): Self::Args, cx: &mut Context<Tell>) -> Result<Self, Exit> {
        let talker = Self { driver, waiting: None, left: "" };
        talker.say("init");
        match how {
            How::Plain => {}
            How::Trapping => drop(cx.trap_exit(true)),
            How::Refusing => return Err(oops()),
            How::Panicking => panic!("boom"),
        }
        Ok(talker)
    }

    async fn handle(&mut self, message: Tell, cx: &mut Context<Tell>) -> Flow {
        waver().await;
        match message {
            Tell::Stop(exit) => return Flow::Stop(exit),
            Tell::StopIn(to) => {
                self.waiting = Some(to);
                return Flow::Stop(oops());
            }
            Tell::Panic => panic!("boom"),
            Tell::Continue(word) => {
                self.left = word;
                return Flow::Resume;
            }
            Tell::Nap(time) => sleep(time).await,
            Tell::Idle(time) => return Flow::Within(time),
            Tell::Watch(pid) => drop(cx.monitor(pid)),
            Tell::Later(to) => self.waiting = Some(to),
            Tell::Answer => self.waiting.take().expect("somebody waits").send(42),
            Tell::Say(word) => self.say(word),
        }
        Flow::Next
    }

    async fn info(&mut self, news: News, _: &mut Context<Tell>) -> Flow {
        match news {
            News::Exited(news) => self.say(format!("exit {}", reason(&news.exit))),
            News::Down(news) => self.say(format!("down {}", reason(&news.exit))),
            _ => self.say("news"),
        }
        Flow::Next
    }

    async fn resume(&mut self, _: &mut Context<Tell>) -> Flow {
        self.say(self.left);
        Flow::Next
    }

    async fn timeout(&mut self, _: &mut Context<Tell>) -> Flow {
        self.say("idle");
        Flow::Next
    }

    async fn terminate(&mut self, exit: &Exit, _: &mut Context<Tell>) {
        self.say(format!("terminate {}", reason(exit)));
    }
}

async fn start(on: &Stage, how: How) -> Result<Addr<Tell>, StartError> {
    Talker::start(&on.actors(), (on.me.addr(), how)).await
}

/// A server that the scenario monitors.
async fn server(on: &mut Stage, how: How) -> (Addr<Tell>, Ref) {
    let server = start(on, how).await.expect("it starts");
    let monitor = on.me.monitor(server.pid());
    (server, monitor)
}

fn tell(server: &Addr<Tell>, message: Tell) {
    server.send(message).expect("the server lives");
}

fn failed(started: Result<Addr<Tell>, StartError>) -> Events {
    vec![match started {
        Ok(_) => "started".to_owned(),
        Err(why) => format!("refused {}", reason(&why.into_exit())),
    }]
}

async fn server_starts_after_init(mut on: Stage) -> Events {
    start(&on, How::Plain).await.expect("it starts");
    let first = on.me.try_next();
    vec![match first {
        Some(Incoming::Mail(Note::Log(event))) => event,
        _ => "nothing".to_owned(),
    }]
}

async fn server_init_refuses(mut on: Stage) -> Events {
    let said = failed(start(&on, How::Refusing).await);
    all([on.logged().await, said, on.heard(&[]).await])
}

async fn server_init_panics(mut on: Stage) -> Events {
    let said = failed(start(&on, How::Panicking).await);
    all([on.logged().await, said, on.heard(&[]).await])
}

async fn server_init_refuses_a_linked_starter(mut on: Stage) -> Events {
    on.me.trap_exit(true);
    let args = (on.me.addr(), How::Refusing);
    let said = failed(Talker::start_link(&mut on.me, args).await);
    all([on.logged().await, said, on.heard(&[]).await])
}

async fn server_init_refuses_a_linked_untrapping_starter(mut on: Stage) -> Events {
    let (_, monitor) = parent(&mut on, How::Refusing);
    on.ended("", monitor).await
}

/// A process that starts a server linked, and then waits; the server is told to the scenario.
fn parent(on: &mut Stage, how: How) -> (Addr<Order>, Ref) {
    let driver = on.me.addr();
    on.me.spawn_monitor(Spawn::default(), |mut mailbox: Mailbox<Order>| async move {
        let started = Talker::start_link(&mut mailbox, (driver.clone(), how)).await;
        if let Ok(server) = started {
            driver.send(Note::Ready(server.pid())).expect("the scenario lives");
        }
        waits_for_its_end(mailbox).await
    })
}

async fn server_stops_with_a_reason(mut on: Stage) -> Events {
    let (a, monitor) = server(&mut on, How::Plain).await;
    tell(&a, Tell::Stop(oops()));
    on.ended("", monitor).await
}

async fn server_stops_normally(mut on: Stage) -> Events {
    let (a, monitor) = server(&mut on, How::Plain).await;
    tell(&a, Tell::Stop(Exit::Normal));
    on.ended("", monitor).await
}

async fn server_untrapping_ends_without_a_word(mut on: Stage) -> Events {
    let (a, monitor) = server(&mut on, How::Plain).await;
    on.me.exit(a.pid(), oops());
    on.ended("", monitor).await
}

/// Ends the parent of a server, and tells what becomes of the server.
async fn parent_ends(mut on: Stage, how: How, exit: Exit) -> Events {
    let (parent, _) = parent(&mut on, how);
    let ready = |news: &Incoming<Note>| match news {
        Incoming::Mail(Note::Ready(pid)) => Some(*pid),
        _ => None,
    };
    let (pid, _) = on.me.select(ready, None).await.expect("without a bound it waits");
    let monitor = on.me.monitor(pid);
    finish(&parent, exit);
    on.ended("", monitor).await
}

async fn server_trapping_ends_with_its_parent(on: Stage) -> Events {
    parent_ends(on, How::Trapping, oops()).await
}

async fn server_trapping_ends_with_its_parent_s_normal_end(on: Stage) -> Events {
    parent_ends(on, How::Trapping, Exit::Normal).await
}

async fn server_untrapping_outlives_its_parent_s_normal_end(on: Stage) -> Events {
    parent_ends(on, How::Plain, Exit::Normal).await
}

async fn server_trapping_is_told_of_other_exits(mut on: Stage) -> Events {
    let (a, monitor) = server(&mut on, How::Trapping).await;
    on.me.exit(a.pid(), oops());
    on.ended("", monitor).await
}

async fn server_killed_without_a_word(mut on: Stage) -> Events {
    let (a, monitor) = server(&mut on, How::Trapping).await;
    on.actors().kill(a.pid());
    on.ended("", monitor).await
}

async fn server_panics_in_a_handler(mut on: Stage) -> Events {
    let (a, monitor) = server(&mut on, How::Plain).await;
    tell(&a, Tell::Panic);
    on.ended("", monitor).await
}

async fn server_continues_before_the_next_message(mut on: Stage) -> Events {
    let (a, monitor) = server(&mut on, How::Plain).await;
    tell(&a, Tell::Nap(on.ms(50)));
    tell(&a, Tell::Continue("continued"));
    tell(&a, Tell::Say("next"));
    on.ended("", monitor).await
}

async fn server_idle_timeout(mut on: Stage) -> Events {
    let (a, monitor) = server(&mut on, How::Plain).await;
    tell(&a, Tell::Idle(on.ms(100)));
    on.ended("", monitor).await
}

async fn server_idle_timeout_is_put_off_by_mail(mut on: Stage) -> Events {
    let (a, monitor) = server(&mut on, How::Plain).await;
    tell(&a, Tell::Idle(on.ms(100)));
    tell(&a, Tell::Say("next"));
    on.ended("", monitor).await
}

async fn server_answers_later(mut on: Stage) -> Events {
    let (a, monitor) = server(&mut on, How::Plain).await;
    let (to, me, within) = (a.clone(), on.me.addr(), on.ms(5000));
    on.actors().spawn(move |_: Mailbox<()>| async move {
        let answer = to.call(within, Tell::Later).await.expect("it answers");
        me.send(Note::Log(answer.to_string())).expect("the scenario lives");
        Exit::Normal
    });
    on.settle().await;
    on.me.addr().send(Note::Log("waiting".to_owned())).expect("the scenario lives");
    tell(&a, Tell::Answer);
    on.ended("", monitor).await
}

async fn server_is_told_of_a_down(mut on: Stage) -> Events {
    let (a, monitor) = server(&mut on, How::Plain).await;
    let b = on.actors().spawn(|mut b: Mailbox<()>| async move {
        b.receive().await;
        oops()
    });
    tell(&a, Tell::Watch(b.pid()));
    on.settle().await;
    b.send(()).expect("it waits for that");
    on.ended("", monitor).await
}

async fn server_call_while_it_stops(mut on: Stage) -> Events {
    let (a, _) = server(&mut on, How::Plain).await;
    let said = match a.call(on.ms(5000), Tell::StopIn).await {
        Ok(answer) => answer.to_string(),
        Err(CallError::NoProc | CallError::Died) => "call failed noproc".to_owned(),
        Err(CallError::NoReply) => "call failed no reply".to_owned(),
        Err(other) => format!("call failed {other}"),
    };
    all([on.logged().await, vec![said]])
}
