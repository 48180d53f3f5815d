//! Processes, mailboxes and calls of quorate.
//!
//! A process is a future with a typed mailbox and a [`Pid`](quorate_vocab::Pid). An [`Addr`] is how one is
//! reached, near or far: a near message is moved, a far one becomes a letter that the [`Carrier`] takes.
//! What an answer is for goes to the caller's waiting slot by its number, never through its mailbox.
//!
//! Reading order: [`Message`] and `letter` say what travels, `mailbox` and `process` what receives and lives,
//! `addr` and `call` what asks, [`Actors`] joins them.
//!
//! Not here: sockets (the hall joins us to the mesh through [`Carrier`] and [`Actors::deliver`]), names,
//! links and supervisors, and any promise that a message arrives: sends are at most once.
//!
//! I12 holds here: a mailbox is first in, first out, a near send places its message before it returns, and a
//! far one is posted before it returns; so mail between two processes keeps its order as far as the carrier
//! keeps it. A break is told: to the sender of a near message at once, to a caller always.

mod actors;
mod addr;
mod call;
mod carrier;
mod codec;
mod error;
mod exit;
mod letter;
mod mailbox;
mod process;
mod reply;
mod table;

pub use actors::{Actors, ActorsConfig, Counts};
pub use addr::Addr;
pub use carrier::Carrier;
pub use codec::Message;
pub use error::{CallError, LetterError, NotSent, SendError};
pub use exit::Exit;
pub use mailbox::Mailbox;
pub use reply::ReplyTo;
