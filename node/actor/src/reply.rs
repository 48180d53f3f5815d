//! Answers: the right to answer a call, and how it travels inside of a message.
//!
//! A `ReplyTo` is used up exactly once: by an answer, by travelling on in a letter, or by being dropped,
//! which tells the caller that nothing will come. On its way it is only a number, the place of its route in
//! the letter; so it can be encoded and decoded only while a letter is, and the letter's routes wait in a
//! thread-local for that moment. Decoding runs no code of ours but this, and never awaits.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, LocalKey};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::letter::{Gone, Mail, ROUTES_MAX, Route};
use crate::{Actors, Message, SendError, codec};

/// The right to answer one call. Dropped without an answer it tells the caller so at once.
///
/// It travels inside of messages, at most sixteen in one; answers themselves cannot carry any.
pub struct ReplyTo<R> {
    ticket: Ticket,
    answer: PhantomData<fn(R)>,
}

impl<R> ReplyTo<R> {
    pub(crate) fn new(actors: Actors, route: Route) -> Self {
        let ticket = Ticket { actors, route, spent: AtomicBool::new(false) };
        Self { ticket, answer: PhantomData }
    }

    /// Answers. Nobody learns whether the caller still waits; when it does not, the answer falls away.
    pub fn send(self, answer: R)
    where
        R: Serialize + Send + 'static,
    {
        if self.ticket.spend() {
            self.ticket.actors.answer(self.ticket.route, answer);
        }
    }
}

impl<R> fmt::Debug for ReplyTo<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyTo({:?})", self.ticket.route)
    }
}

/// What a `ReplyTo` is, whatever its answer's type.
struct Ticket {
    actors: Actors,
    route: Route,
    spent: AtomicBool,
}

impl Ticket {
    /// Whether it was not spent before.
    fn spend(&self) -> bool {
        !self.spent.swap(true, Ordering::Relaxed)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.spend() {
            self.actors.dismiss(self.route, reason());
        }
    }
}

thread_local! {
    /// Why requests are being dropped at this moment; `None` when that is their owner's own doing.
    static FAREWELL: Cell<Option<Gone>> = const { Cell::new(None) };
    /// The routes of the letter that is being written.
    static WRITING: RefCell<Option<Vec<Route>>> = const { RefCell::new(None) };
    /// The letter that is being read.
    static READING: RefCell<Option<Reading>> = const { RefCell::new(None) };
}

struct Reading {
    actors: Actors,
    /// Each is taken at most once.
    routes: Vec<Option<Route>>,
}

/// Drops requests for a reason that their callers are to know.
pub(crate) fn farewell(reason: Gone, drop: impl FnOnce()) {
    let before = FAREWELL.replace(Some(reason));
    let dropped = catch_unwind(AssertUnwindSafe(drop));
    FAREWELL.set(before);
    if let Err(words) = dropped {
        resume_unwind(words);
    }
}

fn reason() -> Gone {
    match FAREWELL.try_with(Cell::get) {
        Ok(Some(reason)) => reason,
        // Whoever held it is going down.
        _ if thread::panicking() => Gone::NoProc,
        _ => Gone::NoReply,
    }
}

/// Appends a message to a letter, and says which answers it asks for. When it fails, those are dismissed.
pub(crate) fn encode_message<M: Message>(
    actors: &Actors,
    message: &M,
    into: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<Vec<Route>, SendError> {
    let (encoded, routes) =
        within(&WRITING, Vec::new(), || codec::encode(message, into, bytes_max));
    let error = match encoded {
        Ok(Ok(())) => return Ok(routes),
        Ok(Err(error)) => Ok(error),
        Err(words) => Err(words),
    };
    // They are spent as far as their tickets know.
    routes.into_iter().for_each(|route| actors.dismiss(route, Gone::NoReply));
    error.map_or_else(|words| resume_unwind(words), Err)
}

/// Reads the message of a mail. When it is none, whoever waits for an answer to it is told.
pub(crate) fn decode_message<M: Message>(actors: &Actors, mail: &Mail) -> Option<M> {
    let routes = mail.routes.iter().copied().map(Some).collect();
    let reading = Reading { actors: actors.clone(), routes };
    let mut message = None;
    let (decoded, reading) = within(&READING, reading, || {
        farewell(Gone::Refused, || message = codec::decode::<M>(&mail.body));
    });
    if decoded.is_err() {
        tracing::warn!(protocol = M::PROTOCOL, "a message panicked when it was decoded");
    }
    let gone = if message.is_some() { Gone::NoReply } else { Gone::Refused };
    for route in reading.routes.into_iter().flatten() {
        actors.dismiss(route, gone);
    }
    message
}

/// Runs with a context in place and takes it back, also when a message's own code panics.
fn within<C, T>(
    place: &'static LocalKey<RefCell<Option<C>>>,
    context: C,
    run: impl FnOnce() -> T,
) -> (thread::Result<T>, C) {
    let before = place.replace(Some(context));
    let result = catch_unwind(AssertUnwindSafe(run));
    let context = place.replace(before).expect("whoever replaces it puts it back");
    (result, context)
}

impl<R> Serialize for ReplyTo<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = WRITING.with_borrow_mut(|routes| {
            let routes = routes.as_mut().ok_or("a ReplyTo travels only inside of a message")?;
            if routes.len() == ROUTES_MAX {
                return Err("a message asks for too many answers");
            }
            if !self.ticket.spend() {
                return Err("a ReplyTo is encoded twice");
            }
            routes.push(self.ticket.route);
            Ok(routes.len() as u8 - 1)
        });
        serializer.serialize_u8(place.map_err(S::Error::custom)?)
    }
}

impl<'de, R> Deserialize<'de> for ReplyTo<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = usize::from(u8::deserialize(deserializer)?);
        READING
            .with_borrow_mut(|reading| {
                let reading =
                    reading.as_mut().ok_or("a ReplyTo arrives only inside of a message")?;
                let route = reading.routes.get_mut(place).and_then(Option::take);
                let route = route.ok_or("a ReplyTo has no route of its own")?;
                Ok(Self::new(reading.actors.clone(), route))
            })
            .map_err(|why: &str| D::Error::custom(why))
    }
}
