//! Processes, mailboxes, links, monitors and calls of quorate.
//!
//! A process is a future with a typed mailbox and a [`Pid`](quorate_vocab::Pid). It is not a task of tokio: a
//! few tasks, one for each worker, run all processes, so a process costs about what its state weighs, and a
//! message a few dozen instructions. tokio's timers and sockets work inside of it all the same.
//!
//! An [`Addr`] is how a process is reached, near or far: a near message is moved, a far one becomes a letter
//! that the [`Carrier`] takes. What processes tell each other (mail, links, monitors, exits) comes through
//! one gate each, in order, and only the process itself acts on it, in its turn; so ties and ends never race.
//!
//! Reading order: [`Message`] and `signal` say what comes to a process, `gate` how, `process` what it does
//! with it, `ties` what it decides, `scheduler` who runs it; [`Mailbox`] and [`Addr`] are its two sides,
//! [`Actors`] joins them. `office` is where mail goes abroad, `abroad` where ties do, `letter` and `notice`
//! are what they look like then. `brick` and `chain` are the memory below.
//!
//! Not here: sockets (the hall joins us to the mesh through [`Carrier`] and [`Actors::deliver`]), global
//! names, servers and supervisors (the room above), and any promise that a message arrives: sends are at most
//! once.
//!
//! I12 holds here: a gate is first in, first out, a near send places its message before it returns, and a far
//! one is posted before it returns; so mail between two processes keeps its order as far as the carrier keeps
//! it. A break is told: to the sender of a near message at once, to a caller always. A monitor is answered by
//! exactly one [`Down`], also when the link to its process's node breaks and comes back.

mod abroad;
mod actors;
mod addr;
mod blob;
mod blocking;
mod brick;
mod call;
mod carrier;
mod chain;
mod codec;
mod error;
mod exit;
mod gate;
mod here;
mod info;
mod intake;
mod letter;
mod mailbox;
mod message;
mod names;
mod notice;
mod office;
mod peers;
mod process;
mod receive;
mod reply;
mod scheduler;
mod sheet;
mod signal;
mod table;
mod ties;
mod timers;
mod watchdog;

pub use actors::{Actors, ActorsConfig, Bond, Counts, Spawn};
pub use addr::Addr;
pub use blob::Blob;
pub use blocking::{BlockingMailbox, Ended};
pub use carrier::{Carrier, Loss, Postage};
pub use error::{CallError, LetterError, NameError, NotSent, SendError};
pub use exit::Exit;
pub use here::yield_now;
pub use info::{Brief, Info, State};
pub use intake::Capacity;
pub use mailbox::Mailbox;
pub use message::{Message, Wire};
pub use reply::{Origin, ReplyTo};
pub use signal::{Down, Incoming, Trapped};
pub use timers::Timer;
pub use watchdog::Hog;

/// What names a process, and a monitor or timeout.
pub use quorate_vocab::{Pid, Ref};
