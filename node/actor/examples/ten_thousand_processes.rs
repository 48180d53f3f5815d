//! Ten thousand processes in a ring: a token goes round, and each adds one to it. Then the first is told to
//! go, and since each is linked to the next, so do all.
//!
//! `cargo run --release -p quorate-actor --example ten_thousand_processes`

use quorate_actor::{Actors, Addr, Exit, Mailbox, Message, Pid};
use tokio::sync::oneshot;

const PROCESSES: u64 = 10_000;

enum Token {
    /// Here is who comes next.
    Next(Addr<Token>),
    /// Add one and hand it on.
    Count(u64, oneshot::Sender<u64>),
}

impl Message for Token {}

async fn member(mut mailbox: Mailbox<Token>, is_last: bool) -> Exit {
    let mut next = None;
    loop {
        match mailbox.receive().await {
            Token::Next(addr) => {
                mailbox.link(addr.pid());
                next = Some(addr);
            }
            Token::Count(count, done) if is_last => drop(done.send(count + 1)),
            Token::Count(count, done) => {
                let sent = next.as_ref().map(|next| next.send(Token::Count(count + 1, done)));
                if !matches!(sent, Some(Ok(()))) {
                    return Exit::because("the ring is broken");
                }
            }
        }
    }
}

/// What there is to tell of the ring.
pub async fn tell() -> String {
    let actors = Actors::alone();
    let ring: Vec<Addr<Token>> = (1..=PROCESSES)
        .map(|number| actors.spawn(move |mailbox| member(mailbox, number == PROCESSES)))
        .collect();
    for (member, next) in ring.iter().zip(ring.iter().cycle().skip(1)) {
        member.send(Token::Next(next.clone())).expect("it lives");
    }
    let mut told = format!("{} processes stand in a ring\n", actors.count());

    let (done, counted) = oneshot::channel();
    ring[0].send(Token::Count(0, done)).expect("it lives");
    let count = counted.await.expect("nobody broke the ring");
    told += &format!("the token went round and says {count}\n");

    let last: Pid = ring[ring.len() / 2].pid();
    let ended = actors.ended(last);
    actors.exit(ring[0].pid(), Exit::because("the bell rang"));
    told += &format!("the one across the ring ended because {}\n", ended.await);
    actors.close().await;
    told += &format!("{} processes are left\n", actors.count());
    told
}

#[allow(dead_code, reason = "the tests tell it themselves")]
#[tokio::main]
async fn main() {
    print!("{}", tell().await);
}
