//! Selective receive: a nurse who sees the urgent first, however long the queue is, and goes home when nobody
//! comes.
//!
//! `cargo run --release -p quorate-actor --example selective_receive`

use std::time::Duration;

use quorate_actor::{Actors, Exit, Mailbox, Message, receive};
use tokio::sync::mpsc;

enum Patient {
    Urgent(&'static str),
    Waits(&'static str, u32),
}

impl Message for Patient {}

async fn nurse(mut mailbox: Mailbox<Patient>, board: mpsc::Sender<String>) -> Exit {
    loop {
        // Whoever fits the first of these patterns is seen; all others stay in the queue, in their order.
        let line = receive!(mailbox, {
            Mail(Patient::Urgent(name)) => format!("{name} is seen at once"),
            after Duration::ZERO => receive!(mailbox, {
                Mail(Patient::Urgent(name)) => format!("{name} is seen at once"),
                Mail(Patient::Waits(name, age)) if *age < 10 => {
                    format!("{name} is {age}, and is seen before the grown-ups")
                }
                after Duration::ZERO => receive!(mailbox, {
                    Mail(Patient::Waits(name, _)) => format!("{name} is seen"),
                    Mail(Patient::Urgent(name)) => format!("{name} is seen at once"),
                    after Duration::from_millis(50) => return Exit::Normal,
                }),
            }),
        });
        if board.send(line).await.is_err() {
            return Exit::because("nobody reads the board");
        }
    }
}

/// What the nurse writes on the board.
pub async fn tell() -> String {
    let actors = Actors::alone();
    let (board, mut read) = mpsc::channel(16);
    let nurse = actors.spawn(|mailbox| nurse(mailbox, board));
    for patient in [
        Patient::Waits("Ada", 36),
        Patient::Waits("Tim", 7),
        Patient::Waits("Joe", 61),
        Patient::Urgent("Robert"),
        Patient::Waits("Mia", 4),
        Patient::Urgent("Barbara"),
    ] {
        nurse.send(patient).expect("she is there");
    }
    let mut told = String::new();
    while let Some(line) = read.recv().await {
        told += &line;
        told.push('\n');
    }
    actors.close().await;
    told
}

#[allow(dead_code, reason = "the tests tell it themselves")]
#[tokio::main(flavor = "current_thread")]
async fn main() {
    print!("{}", tell().await);
}
