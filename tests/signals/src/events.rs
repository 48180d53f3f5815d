//! Event managers.

use std::time::Duration;

use quorate_actor::{Addr, Exit, Incoming};
use quorate_otp::{Events as Manager, EventsError, Gone, Handler, HandlerId, Start, Stay};

use crate::stage::{Events, Note, Order, Stage, all, finish, oops, reason, scenarios, words};

scenarios![
    event_reaches_every_handler,
    event_to_nobody,
    event_sync_notify_waits,
    event_handler_removed_hears_no_more,
    event_handler_that_panics_is_removed,
    event_handler_leaves_by_itself,
    event_call_to_one_handler,
    event_call_to_an_unknown_handler,
    event_handler_swapped,
    event_supervised_handler_goes_with_its_adder,
    event_manager_s_end_ends_its_handlers,
];

/// How long a manager may take.
const WITHIN: Duration = Duration::from_secs(60);

/// What handlers are shown.
enum Shown {
    Word(&'static str),
    Panic(&'static str),
    Leave(&'static str),
}

struct Ear {
    name: &'static str,
    driver: Addr<Note>,
}

impl Ear {
    fn say(&self, words: &str) {
        // The scenario may be over.
        let _ = self.driver.send(Note::Log(format!("{} {words}", self.name)));
    }
}

impl Handler<Shown> for Ear {
    fn handle(&mut self, shown: &Shown) -> Stay {
        match shown {
            Shown::Panic(name) if *name == self.name => panic!("boom"),
            Shown::Leave(name) if *name == self.name => return Stay::Leave,
            Shown::Word(word) => self.say(word),
            _ => {}
        }
        Stay::Here
    }

    fn removed(&mut self, why: &Gone) {
        let why = match why {
            Gone::Left => "leave".to_owned(),
            Gone::Removed => "removed".to_owned(),
            Gone::Swapped => "swapped".to_owned(),
            Gone::Panicked(_) => "panic".to_owned(),
            Gone::OwnerEnded(exit) => format!("stop {}", reason(exit)),
            Gone::ManagerEnded(_) => "stop".to_owned(),
        };
        self.say(&format!("goes {why}"));
    }
}

/// A manager with handlers of these names.
async fn manager(on: &Stage, names: &[&'static str]) -> (Manager<Shown>, Vec<HandlerId<Ear>>) {
    let manager = Manager::start(&on.actors(), Start::default()).await.expect("it starts");
    let mut ids = Vec::new();
    for name in names {
        ids.push(manager.add(WITHIN, ear(on, name)).await.expect("it is added"));
    }
    (manager, ids)
}

fn ear(on: &Stage, name: &'static str) -> Ear {
    Ear { name, driver: on.me.addr() }
}

async fn show(manager: &Manager<Shown>, shown: Shown) {
    manager.sync_notify(WITHIN, shown).await.expect("the manager lives");
}

async fn event_reaches_every_handler(mut on: Stage) -> Events {
    let (a, _) = manager(&on, &["a", "b"]).await;
    for word in ["one", "two"] {
        a.notify(Shown::Word(word)).expect("the manager lives");
    }
    on.logged().await
}

async fn event_to_nobody(mut on: Stage) -> Events {
    let (a, _) = manager(&on, &[]).await;
    show(&a, Shown::Word("one")).await;
    let lives = on.actors().is_alive(a.pid());
    all([words(["ok"]), words([lives]), on.logged().await])
}

async fn event_sync_notify_waits(mut on: Stage) -> Events {
    let (a, _) = manager(&on, &["a"]).await;
    show(&a, Shown::Word("one")).await;
    let first = on.me.try_next();
    vec![match first {
        Some(Incoming::Mail(Note::Log(event))) => event,
        _ => "nothing".to_owned(),
    }]
}

async fn event_handler_removed_hears_no_more(mut on: Stage) -> Events {
    let (a, ids) = manager(&on, &["a", "b"]).await;
    let left = a.remove(WITHIN, ids[0]).await.expect("it is there");
    show(&a, Shown::Word("two")).await;
    all([on.logged().await, vec![format!("{} left", left.name)]])
}

async fn event_handler_that_panics_is_removed(mut on: Stage) -> Events {
    let (a, _) = manager(&on, &["a", "b"]).await;
    show(&a, Shown::Panic("a")).await;
    show(&a, Shown::Word("one")).await;
    let lives = on.actors().is_alive(a.pid());
    all([on.logged().await, words([lives])])
}

async fn event_handler_leaves_by_itself(mut on: Stage) -> Events {
    let (a, _) = manager(&on, &["a", "b"]).await;
    show(&a, Shown::Leave("a")).await;
    show(&a, Shown::Word("one")).await;
    on.logged().await
}

async fn event_call_to_one_handler(mut on: Stage) -> Events {
    let (a, ids) = manager(&on, &["a", "b"]).await;
    let name = a.call(WITHIN, ids[1], |ear| ear.name).await.expect("it answers");
    all([words([name]), on.logged().await])
}

async fn event_call_to_an_unknown_handler(mut on: Stage) -> Events {
    let (a, ids) = manager(&on, &["a"]).await;
    a.remove(WITHIN, ids[0]).await.expect("it is there");
    let said = match a.call(WITHIN, ids[0], |ear| ear.name).await {
        Err(EventsError::NoHandler) => "no such handler".to_owned(),
        other => format!("{other:?}"),
    };
    all([on.logged().await, vec![said]])
}

async fn event_handler_swapped(mut on: Stage) -> Events {
    let (a, ids) = manager(&on, &["a"]).await;
    let swap = |old: Ear| {
        old.say("hands over to b");
        Ear { name: "b", ..old }
    };
    a.swap(WITHIN, ids[0], swap).await.expect("it is there");
    show(&a, Shown::Word("one")).await;
    on.logged().await
}

async fn event_supervised_handler_goes_with_its_adder(mut on: Stage) -> Events {
    let (a, _) = manager(&on, &["a"]).await;
    let b = on.subject().await;
    let tell = |_| Order::Ping;
    a.add_supervised(WITHIN, &b, ear(&on, "b"), tell).await.expect("it is added");
    finish(&b, oops());
    on.fate(&b).await;
    show(&a, Shown::Word("two")).await;
    on.logged().await
}

async fn event_manager_s_end_ends_its_handlers(mut on: Stage) -> Events {
    let (a, _) = manager(&on, &["a", "b"]).await;
    on.actors().exit(a.pid(), Exit::Normal);
    let mut gone = on.logged().await;
    gone.sort();
    all([gone, words([on.actors().is_alive(a.pid())])])
}
