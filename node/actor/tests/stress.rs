//! What the unsafe modules hold, under load from all sides: memory that passes between threads, and gates
//! that are pushed to while they close. Every payload is counted in and out; a sanitizer sees the rest.
//!
//! The small storms are for valgrind, under which the large ones would take an hour.

mod scene;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use quorate_actor::{Actors, Addr, Capacity, Exit, Incoming, Mailbox, Message, ReplyTo, Spawn};
use scene::{LONG, soon, until};

/// How many payloads live.
#[derive(Default)]
struct Ledger {
    live: AtomicI64,
    made: AtomicU64,
}

/// Something that is made once and must be dropped once. It owns memory, so that a second drop shows.
struct Payload(Arc<Ledger>, Box<u64>);

impl Payload {
    fn new(ledger: &Arc<Ledger>, number: u64) -> Self {
        ledger.live.fetch_add(1, Ordering::Relaxed);
        ledger.made.fetch_add(1, Ordering::Relaxed);
        Self(ledger.clone(), Box::new(number))
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        assert_eq!(*self.1 >> 32, 7, "it is what it was");
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A number whose drop can be checked.
fn marked(number: u64) -> u64 {
    7 << 32 | (number & 0xffff_ffff)
}

/// Values of all sizes that lie in bricks, of one that does not, and of one that asks for a wide place.
enum Brick<const WORDS: usize> {
    Is(Payload, [u64; WORDS]),
    Ask(ReplyTo<u64>),
}

impl<const WORDS: usize> Message for Brick<WORDS> {}

#[repr(align(64))]
struct Wide(#[expect(dead_code, reason = "it is only held")] Payload);

impl Message for Wide {}

/// How much is done.
#[derive(Clone, Copy)]
struct Size {
    threads: u64,
    rounds: u64,
    messages: u64,
}

const SMALL: Size = Size { threads: 2, rounds: 6, messages: 40 };
const LARGE: Size = Size { threads: 4, rounds: 300, messages: 400 };

/// A process that takes some messages and ends with the others in its mailbox.
fn glutton<M: Message>(actors: &Actors, capacity: Capacity, takes: u64) -> Addr<M> {
    let how = Spawn::default().mailbox(capacity);
    actors.spawn_with(how, async move |mut mailbox: Mailbox<M>| {
        for taken in 0..takes {
            let mut seen = 0;
            let second = |_: &Incoming<M>| {
                seen += 1;
                (seen == 2).then_some(())
            };
            let news = match taken % 4 {
                // It lets the first lie, and takes the second.
                0 => mailbox.select(second, Some(Duration::ZERO)).await.map(|(_, news)| news),
                _ => Some(mailbox.next().await),
            };
            drop(news);
        }
        Exit::Normal
    })
}

fn storm<M: Message>(size: Size, make: impl Fn(&Arc<Ledger>, u64) -> M + Clone + Send + 'static) {
    let ledger = Arc::new(Ledger::default());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    runtime.block_on(async {
        let actors = Actors::alone();
        let policies = [
            Capacity::Unbounded,
            Capacity::Reject(50),
            Capacity::DropOldest(10),
            Capacity::Latest,
            Capacity::Park(3),
        ];
        for round in 0..size.rounds {
            let capacity = policies[round as usize % policies.len()];
            let addr = glutton::<M>(&actors, capacity, size.messages * size.threads / 2);
            let senders = (0..size.threads).map(|thread| {
                let (addr, ledger, make) = (addr.clone(), ledger.clone(), make.clone());
                let send = move || {
                    for number in 0..size.messages {
                        let _ = addr.send(make(&ledger, marked(thread * size.messages + number)));
                    }
                };
                quorate_env::blocking("sender", send).unwrap()
            });
            let senders: Vec<_> = senders.collect();
            if round % 3 == 0 {
                actors.kill(addr.pid());
            }
            for sender in senders {
                soon(sender).await.unwrap().unwrap();
            }
            actors.kill(addr.pid());
            until(|| !actors.is_alive(addr.pid())).await;
        }
        actors.close().await;
    });
    drop(runtime);
    assert_eq!(ledger.live.load(Ordering::Relaxed), 0);
    let made = ledger.made.load(Ordering::Relaxed);
    assert_eq!(made, size.rounds * size.threads * size.messages);
}

fn storm_of<const WORDS: usize>(size: Size) {
    storm(size, |ledger, number| Brick::<WORDS>::Is(Payload::new(ledger, number), [number; WORDS]));
}

#[test]
fn a_small_storm_loses_nothing_and_drops_nothing_twice() {
    storm_of::<0>(SMALL);
    storm_of::<8>(SMALL);
    storm_of::<20>(SMALL);
    storm_of::<60>(SMALL);
    storm(SMALL, |ledger, number| Wide(Payload::new(ledger, number)));
}

#[test]
fn a_storm_loses_nothing_and_drops_nothing_twice() {
    storm_of::<0>(LARGE);
    storm_of::<20>(LARGE);
    storm_of::<60>(LARGE);
    storm(LARGE, |ledger, number| Wide(Payload::new(ledger, number)));
}

/// Processes that spawn, tie, call, send and end, all at once, on both workers.
fn melee(size: Size) {
    let ledger = Arc::new(Ledger::default());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(async {
        let actors = Actors::alone();
        let answered = Arc::new(AtomicU64::new(0));
        for round in 0..size.rounds {
            let server = actors.spawn(async move |mut mailbox: Mailbox<Brick<4>>| {
                let mut left = 20 + round % 20;
                while left > 0 {
                    left -= 1;
                    match mailbox.receive().await {
                        Brick::Is(payload, words) => assert_eq!(*payload.1, words[3]),
                        Brick::Ask(to) => to.send(left),
                    }
                }
                Exit::because("enough")
            });
            for client in 0..size.threads {
                let (server, ledger, answered) = (server.clone(), ledger.clone(), answered.clone());
                actors.spawn(async move |mut mailbox: Mailbox<Brick<4>>| {
                    mailbox.trap_exit(true);
                    mailbox.link(server.pid());
                    let monitor = mailbox.monitor(server.pid());
                    for number in 0..20 {
                        let number = marked(client * 20 + number);
                        let _ = server.send(Brick::Is(Payload::new(&ledger, number), [number; 4]));
                        let answer = server.call(LONG, Brick::Ask).await;
                        answered.fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
                        let child = mailbox
                            .spawn_link(Spawn::default(), async |_: Mailbox<()>| Exit::Normal);
                        mailbox.unlink(child.pid());
                    }
                    let over = |news: &Incoming<_>| {
                        matches!(news, Incoming::Down(down) if down.monitor == monitor)
                            .then_some(())
                    };
                    mailbox.select(over, None).await;
                    Exit::Normal
                });
            }
        }
        until(|| actors.count() == 0).await;
        assert!(answered.load(Ordering::Relaxed) > 0);
        actors.close().await;
    });
    assert_eq!(ledger.live.load(Ordering::Relaxed), 0);
}

#[test]
fn a_small_melee_ends_with_nothing_left() {
    melee(SMALL);
}

#[test]
fn a_melee_ends_with_nothing_left() {
    melee(LARGE);
}
