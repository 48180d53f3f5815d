//! Event managers: who is shown what, and what becomes of handlers.

use crate::stories;

use std::future::Future;

use quorate_actor::{Actors, Exit, Mailbox};
use quorate_otp::{Events, EventsError, Gone, Handler, HandlerId, Start, Stay};
use stories::{LONG, Log, in_process, story};

/// Writes down what it is shown.
struct Scribe {
    name: &'static str,
    log: Log,
    seen: u32,
}

impl Handler<u32> for Scribe {
    fn handle(&mut self, event: &u32) -> Stay {
        self.seen += 1;
        match event {
            13 => panic!("thirteen"),
            0 => Stay::Leave,
            event => {
                self.log.add(format!("{} {event}", self.name));
                Stay::Here
            }
        }
    }

    fn removed(&mut self, why: &Gone) {
        self.log.add(format!("{} is gone: {why:?}", self.name));
    }
}

/// Only counts.
struct Counter(u32);

impl Handler<u32> for Counter {
    fn handle(&mut self, _event: &u32) -> Stay {
        self.0 += 1;
        Stay::Here
    }
}

async fn manager(actors: &Actors) -> Events<u32> {
    Events::start(actors, Start::default()).await.unwrap()
}

async fn scribe(events: &Events<u32>, name: &'static str, log: &Log) -> HandlerId<Scribe> {
    events.add(LONG, Scribe { name, log: log.clone(), seen: 0 }).await.unwrap()
}

#[test]
fn every_handler_sees_every_event_from_its_adding_to_its_removal() {
    story(async |actors: Actors| {
        let log = Log::default();
        let events = manager(&actors).await;
        events.notify(1).unwrap();
        let ann = scribe(&events, "ann", &log).await;
        events.notify(2).unwrap();
        scribe(&events, "bob", &log).await;
        events.notify(3).unwrap();
        let taken = events.remove(LONG, ann).await.unwrap();
        assert_eq!((taken.name, taken.seen), ("ann", 2));
        assert_eq!(events.remove(LONG, ann).await.err(), Some(EventsError::NoHandler));
        events.sync_notify(LONG, 4).await.unwrap();
        log.says(&["ann 2", "ann 3", "bob 3", "ann is gone: Removed", "bob 4"]);
    });
}

#[test]
fn one_handler_can_be_asked_and_can_leave_by_itself() {
    story(async |actors: Actors| {
        let log = Log::default();
        let events = manager(&actors).await;
        let ann = scribe(&events, "ann", &log).await;
        let counter = events.add(LONG, Counter(0)).await.unwrap();
        events.notify(1).unwrap();
        assert_eq!(events.call(LONG, ann, |ann| ann.seen).await, Ok(1));
        events.notify(0).unwrap();
        assert_eq!(events.call(LONG, ann, |ann| ann.seen).await, Err(EventsError::NoHandler));
        assert_eq!(events.call(LONG, counter, |counter| counter.0).await, Ok(2));
        assert_eq!(events.handlers(LONG).await.unwrap().len(), 1);
        log.says(&["ann 1", "ann is gone: Left"]);
    });
}

#[test]
fn a_handler_that_panics_is_removed_and_the_others_see_the_event() {
    story(async |actors: Actors| {
        let log = Log::default();
        let events = manager(&actors).await;
        let ann = scribe(&events, "ann", &log).await;
        let counter = events.add(LONG, Counter(0)).await.unwrap();
        events.notify(13).unwrap();
        events.notify(1).unwrap();
        assert_eq!(events.call(LONG, counter, |counter| counter.0).await, Ok(2));
        assert_eq!(events.call(LONG, ann, |ann| ann.seen).await, Err(EventsError::NoHandler));
        let asked = events.call(LONG, counter, |_| panic!("an odd question")).await;
        assert_eq!(asked, Err::<(), _>(EventsError::Panicked));
        assert!(events.handlers(LONG).await.unwrap().is_empty());
        // It is not asked to take leave: its state may be half changed.
        log.says(&[]);
    });
}

#[test]
fn one_takes_the_place_of_another_and_no_event_comes_between() {
    story(async |actors: Actors| {
        let log = Log::default();
        let events = manager(&actors).await;
        let counter = events.add(LONG, Counter(0)).await.unwrap();
        scribe(&events, "bob", &log).await;
        events.notify(1).unwrap();
        let to = log.clone();
        let make = move |old: Counter| Scribe { name: "ann", log: to, seen: old.0 };
        let ann = events.swap(LONG, counter, make).await.unwrap();
        events.notify(2).unwrap();
        assert_eq!(events.call(LONG, ann, |ann| ann.seen).await, Ok(2));
        let gone = events.call(LONG, counter, |counter| counter.0).await;
        assert_eq!(gone, Err(EventsError::NoHandler));
        log.says(&["bob 1", "ann 2", "bob 2"]);
    });
}

/// Has a process add a supervised scribe, lets `act` do something to it, and gives the news of that.
async fn news_of<F, Fut>(actors: &Actors, events: &Events<u32>, log: &Log, act: F) -> Exit
where
    F: FnOnce(Events<u32>, HandlerId<Scribe>) -> Fut,
    Fut: Future<Output = ()>,
{
    let (tell, told) = tokio::sync::oneshot::channel();
    let (adder, log) = (events.clone(), log.clone());
    let owner = actors.spawn(|mut me: Mailbox<String>| async move {
        let scribe = Scribe { name: "ann", log, seen: 0 };
        let news = |why: Gone| format!("{why:?}");
        let id = adder.add_supervised(LONG, &me.addr(), scribe, news).await.unwrap();
        let _ = tell.send(id);
        Exit::because(me.receive().await)
    });
    let ended = actors.ended(owner.pid());
    act(events.clone(), told.await.unwrap()).await;
    ended.await
}

#[test]
fn who_supervises_a_handler_is_told_when_it_goes() {
    story(async |actors: Actors| {
        let log = Log::default();
        let events = manager(&actors).await;
        let removed = news_of(&actors, &events, &log, |events, id| async move {
            events.remove(LONG, id).await.map(drop).unwrap();
        });
        assert_eq!(removed.await, Exit::because("Removed"));
        let panicked = news_of(&actors, &events, &log, |events, _| async move {
            events.sync_notify(LONG, 13).await.unwrap();
        });
        assert_eq!(panicked.await, Exit::because("Panicked(\"thirteen\")"));
        let swapped = news_of(&actors, &events, &log, |events, id| async move {
            let counter = events.swap(LONG, id, |_| Counter(0)).await.unwrap();
            events.remove(LONG, counter).await.map(drop).unwrap();
        });
        assert_eq!(swapped.await, Exit::because("Swapped"));
        let runtime = actors.clone();
        let stopped = news_of(&actors, &events, &log, |events, _| async move {
            runtime.exit(events.pid(), Exit::Shutdown);
        });
        assert_eq!(stopped.await, Exit::because("ManagerEnded(Shutdown)"));
        log.says(&["ann is gone: Removed", "ann is gone: ManagerEnded(Shutdown)"]);
    });
}

#[test]
fn a_supervised_handler_goes_with_the_process_that_it_was_added_for() {
    story(async |actors: Actors| {
        let log = Log::default();
        let events = manager(&actors).await;
        let (to, logged) = (events.clone(), log.clone());
        let (added, exit) = in_process(&actors, async move |me: Mailbox<()>| {
            let scribe = Scribe { name: "ann", log: logged, seen: 0 };
            to.add_supervised(LONG, &me.addr(), scribe, drop).await.unwrap();
        })
        .await;
        assert_eq!((added, exit), (Some(()), Exit::Normal));
        // The manager was told before this event is.
        events.sync_notify(LONG, 1).await.unwrap();
        assert!(events.handlers(LONG).await.unwrap().is_empty());
        log.says(&["ann is gone: OwnerEnded(Normal)"]);
    });
}

#[test]
fn a_manager_takes_leave_of_its_handlers_when_its_parent_ends() {
    story(async |actors: Actors| {
        let log = Log::default();
        let logged = log.clone();
        let (tell, told) = tokio::sync::oneshot::channel();
        let (_, exit) = in_process(&actors, async move |mut me: Mailbox<()>| {
            let events = Events::<u32>::start_link(&mut me, Start::named("news")).await.unwrap();
            scribe(&events, "ann", &logged).await;
            scribe(&events, "bob", &logged).await;
            tell.send(me.actors().ended(events.pid())).map_err(drop).unwrap();
        })
        .await;
        assert_eq!(exit, Exit::Normal);
        assert_eq!(told.await.unwrap().await, Exit::Normal);
        let gone = ["ann is gone: ManagerEnded(Normal)", "bob is gone: ManagerEnded(Normal)"];
        log.says(&gone);
    });
}
