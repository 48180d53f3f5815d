//! Answers: the right to answer a call, and how it travels inside of a message.
//!
//! A `ReplyTo` is used up exactly once: by an answer, by travelling on in a letter, or by being dropped,
//! which tells the caller that nothing will come. Within a node it is the caller's own end of the answer, so
//! an answer that comes too late has nowhere to go. On its way abroad it is only a number, the place of its
//! route in the letter; so it can be encoded and decoded only while a letter is, and the letter's routes wait
//! in a thread-local for that moment. Decoding runs no code of ours but this, and never awaits.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, LocalKey};

use quorate_vocab::{Lane, NodeId};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::oneshot;

use crate::call::{Answer, Busy};
use crate::letter::{self, Gone, Mail, ROUTES_MAX, Route};
use crate::sheet::Sheet;
use crate::{Actors, SendError, Wire};

/// The right to answer one call. Dropped without an answer it tells the caller so at once.
///
/// It travels inside of messages, at most sixteen in one; answers themselves cannot carry any.
pub struct ReplyTo<R> {
    /// `None` once it is used up. The lock is for its encoding, which may only look at it.
    way: Mutex<Option<Way<R>>>,
}

/// How the answer gets to the caller.
enum Way<R> {
    /// It waits on this node.
    Near(oneshot::Sender<Answer<R>>),
    /// It waits on another.
    Far(Box<Far<R>>),
}

struct Far<R> {
    actors: Actors,
    route: Route,
    /// The answer takes the lane of its request.
    lane: Lane,
    /// Writes the answer's letter.
    write: fn(Route, &R, usize, &mut Sheet),
}

impl<R> ReplyTo<R> {
    /// A right to answer, and where the answer comes.
    pub(crate) fn new() -> (Self, oneshot::Receiver<Answer<R>>) {
        let (tell, told) = oneshot::channel();
        (Self { way: Mutex::new(Some(Way::Near(tell))) }, told)
    }

    /// Answers. Nobody learns whether the caller still waits; when it does not, the answer falls away.
    pub fn send(mut self, answer: R) {
        match self.take() {
            Some(Way::Near(tell)) => drop(tell.send(Ok(answer))),
            Some(Way::Far(far)) => {
                far.actors.post_answer(far.route, far.lane, |letter| {
                    (far.write)(far.route, &answer, far.actors.message_bytes_max(), letter);
                });
            }
            None => {}
        }
    }

    fn take(&mut self) -> Option<Way<R>> {
        self.way.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<R> Drop for ReplyTo<R> {
    fn drop(&mut self) {
        match self.take() {
            // The caller may have given up.
            Some(Way::Near(tell)) => drop(tell.send(Err(reason().into()))),
            Some(Way::Far(far)) => far.actors.dismiss(far.route, reason()),
            None => {}
        }
    }
}

impl<R> fmt::Debug for ReplyTo<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplyTo")
    }
}

/// Which node a message comes from. Nobody can lie about it: it is written as nothing, and whoever takes a
/// letter in fills in the node whose link it came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin(NodeId);

impl Origin {
    /// This node.
    pub fn of(actors: &Actors) -> Self {
        Self(actors.node())
    }

    /// Which node.
    pub fn node(self) -> NodeId {
        self.0
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer)?;
        let sender = READING.with_borrow(|reading| reading.as_ref().map(|reading| reading.sender));
        sender
            .map(Self)
            .ok_or_else(|| D::Error::custom("an Origin arrives only inside of a message"))
    }
}

thread_local! {
    /// Why requests are being dropped at this moment; `None` when that is their owner's own doing.
    static FAREWELL: Cell<Option<Gone>> = const { Cell::new(None) };
    /// The letter that is being written.
    static WRITING: RefCell<Option<Writing>> = const { RefCell::new(None) };
    /// The letter that is being read.
    static READING: RefCell<Option<Reading>> = const { RefCell::new(None) };
}

struct Writing {
    actors: Actors,
    to: NodeId,
    routes: Vec<Route>,
    /// A call found no room to wait in.
    busy: bool,
}

struct Reading {
    actors: Actors,
    sender: NodeId,
    lane: Lane,
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
        _ if thread::panicking() => Gone::Died,
        _ => Gone::NoReply,
    }
}

/// Appends a message for a node to a letter, and says which answers it asks for. When it fails, their callers
/// are told.
pub(crate) fn encode_message<M>(
    actors: &Actors,
    to: NodeId,
    wire: Wire<M>,
    message: &M,
    into: &mut Sheet,
) -> Result<Vec<Route>, SendError> {
    let writing = Writing { actors: actors.clone(), to, routes: Vec::new(), busy: false };
    let bytes_max = actors.message_bytes_max();
    let (encoded, written) = within(&WRITING, writing, || (wire.encode)(message, into, bytes_max));
    let error = match encoded {
        Ok(Ok(())) => return Ok(written.routes),
        Ok(Err(_)) if written.busy => Ok(SendError::Busy),
        Ok(Err(error)) => Ok(error),
        Err(words) => Err(words),
    };
    // The rights to answer have left the message already.
    actors.dismiss_all(written.routes, Gone::NoReply);
    error.map_or_else(|words| resume_unwind(words), Err)
}

/// Reads the message of a mail. When it is none, whoever waits for an answer to it is told.
pub(crate) fn decode_message<M>(actors: &Actors, wire: Wire<M>, mail: &Mail<'_>) -> Option<M> {
    let routes = mail.routes.iter().copied().map(Some).collect();
    let reading = Reading { actors: actors.clone(), sender: mail.sender, lane: wire.lane, routes };
    let mut message = None;
    let (decoded, reading) = within(&READING, reading, || {
        farewell(Gone::Refused, || message = (wire.decode)(mail.body));
    });
    if decoded.is_err() {
        tracing::warn!(protocol = wire.protocol(), "a message panicked when it was decoded");
    }
    let gone = if message.is_some() { Gone::NoReply } else { Gone::Refused };
    actors.dismiss_all(reading.routes.into_iter().flatten(), gone);
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

impl<R: DeserializeOwned + Send + 'static> Serialize for ReplyTo<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = WRITING.with_borrow_mut(|writing| {
            let writing = writing.as_mut().ok_or("a ReplyTo travels only inside of a message")?;
            if writing.routes.len() == ROUTES_MAX {
                return Err("a message asks for too many answers");
            }
            let way = self.way.lock().unwrap_or_else(PoisonError::into_inner).take();
            let route = match way.ok_or("a ReplyTo is encoded twice")? {
                Way::Far(far) => far.route,
                Way::Near(tell) => match writing.actors.open_call(writing.to, Box::new(tell)) {
                    Ok(route) => route,
                    Err(Busy(slot)) => {
                        writing.busy = true;
                        slot.settle(Err(crate::CallError::Busy));
                        return Err("too many calls wait");
                    }
                },
            };
            writing.routes.push(route);
            Ok(writing.routes.len() as u8 - 1)
        });
        serializer.serialize_u8(place.map_err(S::Error::custom)?)
    }
}

impl<'de, R: Serialize> Deserialize<'de> for ReplyTo<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = usize::from(u8::deserialize(deserializer)?);
        READING
            .with_borrow_mut(|reading| {
                let reading =
                    reading.as_mut().ok_or("a ReplyTo arrives only inside of a message")?;
                let route = reading.routes.get_mut(place).and_then(Option::take);
                let route = route.ok_or("a ReplyTo has no route of its own")?;
                let (actors, lane) = (reading.actors.clone(), reading.lane);
                let far = Far { actors, route, lane, write: letter::write_reply::<R> };
                Ok(Self { way: Mutex::new(Some(Way::Far(Box::new(far)))) })
            })
            .map_err(|why: &str| D::Error::custom(why))
    }
}
