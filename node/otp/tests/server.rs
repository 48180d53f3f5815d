//! Servers: how they start, what they are called for and when, and how they end.

use crate::stories;

use std::time::Duration;

use quorate_actor::{Actors, CallError, Exit, Incoming, Mailbox, Message, NameError, ReplyTo};
use quorate_otp::{Context, Flow, News, Server, Start, StartError};
use stories::{LONG, Log, in_process, story};
use tokio::sync::oneshot;

/// Long enough that what a test does in a row is done before it, also where a busy machine stops it in
/// between.
const SOON: Duration = Duration::from_millis(400);

/// A server that does what it is told, and writes down what it is called for.
struct Till {
    log: Log,
    owed: Option<ReplyTo<u32>>,
    sum: u32,
}

enum Ask {
    Add(u32),
    Sum(ReplyTo<u32>),
    /// Is answered upon the next `Pay`.
    Owe(ReplyTo<u32>),
    Pay,
    /// Says nothing and forgets who asked.
    Ignore(ReplyTo<u32>),
    Watch(quorate_actor::Pid, ReplyTo<()>),
    Then(Flow),
    Panic(ReplyTo<u32>),
}

impl Message for Ask {}

enum Init {
    Works,
    Traps,
    Refuses,
    Panics,
    /// Waits for the word.
    Waits(oneshot::Receiver<()>),
}

impl Server for Till {
    type Message = Ask;
    type Args = (Init, Log);

    async fn init((how, log): (Init, Log), cx: &mut Context<Ask>) -> Result<Self, Exit> {
        log.add("init");
        match how {
            Init::Works => {}
            Init::Traps => {
                cx.trap_exit(true);
            }
            Init::Refuses => return Err(Exit::because("no till")),
            Init::Panics => panic!("the till is stuck"),
            Init::Waits(word) => word.await.map_err(|_| Exit::because("no word"))?,
        }
        Ok(Self { log, owed: None, sum: 0 })
    }

    async fn started(&mut self, _cx: &mut Context<Ask>) -> Flow {
        self.log.add("started");
        Flow::Next
    }

    async fn handle(&mut self, ask: Ask, cx: &mut Context<Ask>) -> Flow {
        if !matches!(ask, Ask::Then(_) | Ask::Panic(_)) {
            self.log.add("handled");
        }
        match ask {
            Ask::Add(sum) => self.sum += sum,
            Ask::Sum(reply) => reply.send(self.sum),
            Ask::Owe(reply) => self.owed = Some(reply),
            Ask::Pay => {
                if let Some(reply) = self.owed.take() {
                    reply.send(self.sum);
                }
            }
            Ask::Ignore(reply) => drop(reply),
            Ask::Watch(pid, reply) => {
                cx.monitor(pid);
                reply.send(());
            }
            Ask::Then(flow) => return flow,
            Ask::Panic(reply) => {
                let _owed = reply;
                panic!("the till broke");
            }
        }
        Flow::Next
    }

    async fn info(&mut self, news: News, _cx: &mut Context<Ask>) -> Flow {
        match news {
            News::Down(down) => self.log.add(format!("down: {}", down.exit)),
            News::Exited(trapped) => self.log.add(format!("exited: {}", trapped.exit)),
            News::Timeout(_) => self.log.add("timer"),
        }
        Flow::Next
    }

    async fn resume(&mut self, _cx: &mut Context<Ask>) -> Flow {
        self.log.add("resumed");
        Flow::Next
    }

    async fn timeout(&mut self, _cx: &mut Context<Ask>) -> Flow {
        self.log.add("timeout");
        Flow::Stop(Exit::Normal)
    }

    async fn terminate(&mut self, exit: &Exit, _cx: &mut Context<Ask>) {
        self.log.add(format!("terminate: {exit}"));
    }
}

#[test]
fn a_server_is_given_out_only_when_its_init_is_through() {
    story(async |actors: Actors| {
        let (word, waits) = oneshot::channel();
        let log = Log::default();
        let mut started = std::pin::pin!(Till::start(&actors, (Init::Waits(waits), log.clone())));
        assert!(quorate_env::timeout(SOON, &mut started).await.is_err());
        word.send(()).unwrap();
        let till = started.await.unwrap();
        assert_eq!(till.call(LONG, Ask::Sum).await, Ok(0));
        log.says(&["init", "started", "handled"]);
    });
}

#[test]
fn it_is_cast_and_called_and_may_answer_later() {
    story(async |actors: Actors| {
        let till = Till::start(&actors, (Init::Works, Log::default())).await.unwrap();
        let mut owed = std::pin::pin!(till.call(LONG, Ask::Owe));
        assert!(quorate_env::timeout(SOON, &mut owed).await.is_err());
        till.send(Ask::Add(3)).unwrap();
        till.send(Ask::Add(4)).unwrap();
        assert_eq!(till.call(LONG, Ask::Sum).await, Ok(7));
        till.send(Ask::Pay).unwrap();
        assert_eq!(owed.await, Ok(7));
        assert_eq!(till.call(LONG, Ask::Ignore).await, Err(CallError::NoReply));
    });
}

#[test]
fn an_init_that_refuses_is_an_error_to_its_starter_and_no_more() {
    story(async |actors: Actors| {
        let why = StartError::Ended { exit: Exit::because("no till") };
        let log = Log::default();
        let refused = Till::start(&actors, (Init::Refuses, log.clone())).await;
        assert_eq!(refused.unwrap_err(), why);
        assert_eq!(actors.count(), 0, "it has ended when its starter knows");
        for traps in [false, true] {
            let log = log.clone();
            let (refused, exit) = in_process(&actors, async move |mut me: Mailbox<()>| {
                me.trap_exit(traps);
                let refused = Till::start_link(&mut me, (Init::Refuses, log)).await;
                assert!(me.try_next().is_none(), "no news on top of the error");
                refused.unwrap_err()
            })
            .await;
            assert_eq!((refused, exit), (Some(why.clone()), Exit::Normal));
        }
        log.says(&["init", "init", "init"]);
    });
}

#[test]
fn a_panic_in_init_takes_along_a_linked_starter_unless_that_traps_exits() {
    story(async |actors: Actors| {
        let stuck = Exit::Panic("the till is stuck".to_owned());
        let why = StartError::Ended { exit: stuck.clone() };
        let panicked = Till::start(&actors, (Init::Panics, Log::default())).await;
        assert_eq!(panicked.unwrap_err(), why);
        let (panicked, exit) = in_process(&actors, async |mut me: Mailbox<()>| {
            me.trap_exit(true);
            let panicked = Till::start_link(&mut me, (Init::Panics, Log::default())).await;
            assert!(me.try_next().is_none(), "no news on top of the error");
            panicked.unwrap_err()
        })
        .await;
        assert_eq!((panicked, exit), (Some(why), Exit::Normal));
        let (panicked, exit) = in_process(&actors, async |mut me: Mailbox<()>| {
            Till::start_link(&mut me, (Init::Panics, Log::default())).await.unwrap_err()
        })
        .await;
        assert_eq!((panicked, exit), (None, stuck));
    });
}

#[test]
fn a_name_is_had_before_init_and_is_free_after_a_refusal() {
    story(async |actors: Actors| {
        let named = || Start::named("till");
        let refused = Till::start_with(&actors, named(), (Init::Refuses, Log::default())).await;
        assert!(matches!(refused, Err(StartError::Ended { .. })));
        assert_eq!(actors.whereis("till"), None);

        let (word, waits) = oneshot::channel();
        let mut starting = std::pin::pin!(Till::start_with(
            &actors,
            named(),
            (Init::Waits(waits), Log::default())
        ));
        assert!(quorate_env::timeout(SOON, &mut starting).await.is_err());
        let pid = actors.whereis("till").expect("its name is there while it begins");
        word.send(()).unwrap();
        let till = starting.await.unwrap();
        assert_eq!(till.pid(), pid);

        let log = Log::default();
        let second = Till::start_with(&actors, named(), (Init::Works, log.clone())).await;
        assert_eq!(second.unwrap_err(), StartError::Name(NameError::Taken(till.pid())));
        log.says(&[]);
        assert_eq!(actors.whereis("till"), Some(till.pid()));
    });
}

#[test]
fn an_init_that_takes_too_long_is_killed_and_its_starter_is_not() {
    story(async |actors: Actors| {
        let how = Start { within: Some(SOON), ..Start::default() };
        let (_word, waits) = oneshot::channel();
        let args = (Init::Waits(waits), Log::default());
        assert_eq!(
            Till::start_with(&actors, how.clone(), args).await.unwrap_err(),
            StartError::Late
        );
        let (late, exit) = in_process(&actors, async move |mut me: Mailbox<()>| {
            let (_word, waits) = oneshot::channel();
            let args = (Init::Waits(waits), Log::default());
            Till::start_link_with(&mut me, how, args).await.unwrap_err()
        })
        .await;
        assert_eq!((late, exit), (Some(StartError::Late), Exit::Normal));
        assert_eq!(actors.count(), 0);
    });
}

#[test]
fn it_resumes_before_the_next_message_and_times_out_only_when_nothing_comes() {
    story(async |actors: Actors| {
        let log = Log::default();
        let till = Till::start(&actors, (Init::Works, log.clone())).await.unwrap();
        let ended = actors.ended(till.pid());
        till.send(Ask::Then(Flow::Resume)).unwrap();
        till.send(Ask::Add(1)).unwrap();
        till.send(Ask::Then(Flow::Within(LONG))).unwrap();
        assert_eq!(till.call(LONG, Ask::Sum).await, Ok(1));
        till.send(Ask::Then(Flow::Within(SOON))).unwrap();
        assert_eq!(ended.await, Exit::Normal);
        log.says(&[
            "init",
            "started",
            "resumed",
            "handled",
            "handled",
            "timeout",
            "terminate: normal",
        ]);
    });
}

#[test]
fn news_come_to_it_as_news() {
    story(async |actors: Actors| {
        let log = Log::default();
        let till = Till::start(&actors, (Init::Traps, log.clone())).await.unwrap();
        let friend = actors.spawn(|mut mailbox: Mailbox<()>| async move {
            mailbox.receive().await;
            Exit::because("tired")
        });
        till.call(LONG, |reply| Ask::Watch(friend.pid(), reply)).await.unwrap();
        friend.send(()).unwrap();
        let to = till.pid();
        // The news of the friend's end came first: it is told before this one is begun.
        actors.ended(friend.pid()).await;
        let (_, exit) = in_process(&actors, async move |me: Mailbox<()>| {
            me.exit(to, Exit::Shutdown);
        })
        .await;
        assert_eq!(exit, Exit::Normal);
        till.call(LONG, Ask::Sum).await.unwrap();
        log.says(&["init", "started", "handled", "down: tired", "exited: shutdown", "handled"]);
    });
}

/// Starts a till under a parent that ends as it is told to, and gives the till's exit.
async fn exit_with_its_parent(actors: &Actors, how: Init, log: &Log, parent: Exit) -> Exit {
    let (tell, told) = oneshot::channel();
    let log = log.clone();
    let starter = actors.spawn(|mut mailbox: Mailbox<()>| async move {
        let till = Till::start_link(&mut mailbox, (how, log)).await.unwrap();
        let _ = tell.send(till.pid());
        mailbox.receive().await;
        parent
    });
    let till = told.await.unwrap();
    let ended = actors.ended(till);
    starter.send(()).unwrap();
    ended.await
}

#[test]
fn it_ends_with_its_parent_and_says_its_last_words_if_it_traps_exits() {
    story(async |actors: Actors| {
        let (log, why) = (Log::default(), Exit::because("bankrupt"));
        assert_eq!(exit_with_its_parent(&actors, Init::Works, &log, why.clone()).await, why);
        log.says(&["init", "started"]);
        let log = Log::default();
        assert_eq!(exit_with_its_parent(&actors, Init::Traps, &log, why.clone()).await, why);
        log.says(&["init", "started", "terminate: bankrupt"]);
        // A parent that ends normally is no parent any more, either.
        let log = Log::default();
        let normal = exit_with_its_parent(&actors, Init::Traps, &log, Exit::Normal).await;
        assert_eq!(normal, Exit::Normal);
        log.says(&["init", "started", "terminate: normal"]);
    });
}

#[test]
fn one_without_a_parent_is_ended_in_good_order_from_outside() {
    story(async |actors: Actors| {
        let log = Log::default();
        let till = Till::start(&actors, (Init::Traps, log.clone())).await.unwrap();
        let ended = actors.ended(till.pid());
        actors.exit(till.pid(), Exit::Shutdown);
        assert_eq!(ended.await, Exit::Shutdown);
        log.says(&["init", "started", "terminate: shutdown"]);
    });
}

#[test]
fn last_words_are_said_after_a_stop_and_not_after_a_kill_or_a_panic() {
    story(async |actors: Actors| {
        let log = Log::default();
        let why = Exit::because("closing time");
        let till = Till::start(&actors, (Init::Works, log.clone())).await.unwrap();
        let ended = actors.ended(till.pid());
        till.send(Ask::Then(Flow::Stop(why.clone()))).unwrap();
        assert_eq!(ended.await, why);
        log.says(&["init", "started", "terminate: closing time"]);

        let log = Log::default();
        let till = Till::start(&actors, (Init::Traps, log.clone())).await.unwrap();
        let ended = actors.ended(till.pid());
        actors.kill(till.pid());
        assert_eq!(ended.await, Exit::Killed);

        let till = Till::start(&actors, (Init::Traps, log.clone())).await.unwrap();
        let ended = actors.ended(till.pid());
        assert_eq!(till.call(LONG, Ask::Panic).await, Err(CallError::Died));
        assert_eq!(ended.await, Exit::Panic("the till broke".to_owned()));
        log.says(&["init", "started", "init", "started"]);
    });
}

/// A server that waits for its own mail within a callback.
struct Choosy;

impl Server for Choosy {
    type Message = u64;
    type Args = ();

    async fn init((): (), _cx: &mut Context<u64>) -> Result<Self, Exit> {
        Ok(Self)
    }

    async fn handle(&mut self, first: u64, cx: &mut Context<u64>) -> Flow {
        let even = |incoming: &Incoming<u64>| match incoming {
            Incoming::Mail(mail) if mail % 2 == 0 => Some(*mail),
            _ => None,
        };
        let (second, _) = cx.select(even, None).await.expect("it waits until one comes");
        Flow::Stop(Exit::because(format!("{first} then {second}")))
    }
}

#[test]
fn a_callback_may_receive_selectively() {
    story(async |actors: Actors| {
        let choosy = Choosy::start(&actors, ()).await.unwrap();
        let ended = actors.ended(choosy.pid());
        for mail in [1, 3, 5, 6] {
            choosy.send(mail).unwrap();
        }
        assert_eq!(ended.await, Exit::because("1 then 6"));
    });
}
