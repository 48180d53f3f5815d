//! A runner's part in the cluster: a session that is kept, an offer under it, and what is said of the end.

use std::time::Duration;

use quorate::Time;
use quorate_env::{blocking, now, sleep, sleep_until, timeout};
use quorate_http::code;
use serde_json::{Value, json};
use tokio::sync::watch;
use ureq::http::Method;

use super::Run;
use super::signals::Signals;
use crate::charge::code_of_signal;
use crate::client::{Ask, Client};
use crate::fail::Fail;
use crate::output::{self, shown};
use crate::secrets;
use crate::session::{self, Session};
use crate::singletons::path;

/// How long one look waits for a change.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait before a cluster that cannot answer is asked again.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long the last words to the cluster may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// This command's part in the cluster.
pub(super) struct Candidate {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) session: u64,
    /// Until when the session is held for certain; none once it has ended.
    pub(super) held: watch::Receiver<Option<Time>>,
}

/// What it is the one of: under this epoch, for this node.
pub(super) struct Seat {
    pub(super) epoch: u64,
    pub(super) node: String,
}

/// What came of waiting under one session.
enum Waited {
    Granted(Seat),
    /// The time is over.
    Late,
    /// The session or the offer was ended, for whatever reason; another may do better.
    Ended,
}

/// Waits to be the one, until a time or for as long as it takes. A session that ends meanwhile is followed by
/// another one: whoever stands by for months is not to be ended by one night without a leader.
pub(super) async fn stand(
    wish: &Run,
    client: &Client,
    signals: &mut Signals,
    until: Option<Time>,
) -> Result<Option<(Candidate, Seat)>, Fail> {
    let is_late = || until.is_some_and(|until| now() >= until);
    let mut told = Told { name: &wish.name, last: String::new() };
    let mut was_heard = false;
    loop {
        let begun = tokio::select! {
            biased;
            // Nothing is ever started after a signal came.
            number = signals.fatal() => return Err(Fail::Exit(code_of_signal(number))),
            begun = Candidate::begin(wish, client) => begun,
        };
        let candidate = match begun {
            Ok(candidate) => candidate,
            // A cluster that was there once may come back. One that never was is told of at once.
            Err(fail) if was_heard && !is_late() && may_pass(&fail) => {
                told.tell(format!("the cluster cannot be asked: {}", fail.detail()));
                continue;
            }
            Err(fail) => return Err(fail),
        };
        was_heard = true;
        match candidate.wait(wish, signals, until, &mut told).await {
            Ok(Waited::Granted(seat)) => return Ok(Some((candidate, seat))),
            Ok(Waited::Ended) => {
                candidate.end_session().await;
                told.tell("its session has ended, and it stands again".to_owned());
            }
            Ok(Waited::Late) => {
                candidate.leave().await;
                output::talk(&format!("{}: it was not the one in time", wish.name));
                return Ok(None);
            }
            Err(fail) => {
                candidate.leave().await;
                return Err(fail);
            }
        }
    }
}

impl Candidate {
    /// Opens a session and keeps it.
    async fn begin(wish: &Run, client: &Client) -> Result<Self, Fail> {
        let (asked, lease) = (client.clone(), wish.lease);
        let session = patiently(client, move || Session::open(&asked, lease)).await?;
        let held = keep(client.clone(), &session);
        Ok(Self { client: client.clone(), name: wish.name.clone(), session: session.id, held })
    }

    /// Offers to run the singleton, and waits to be the one.
    async fn wait(
        &self,
        wish: &Run,
        signals: &mut Signals,
        until: Option<Time>,
        told: &mut Told<'_>,
    ) -> Result<Waited, Fail> {
        let waiting = async {
            match self.offer(wish).await {
                Err(fail) if fail.is(code::SESSION_ENDED) => Ok(Waited::Ended),
                Err(fail) => Err(fail),
                Ok(()) => self.until_granted(until, told).await,
            }
        };
        let mut held = self.held.clone();
        tokio::select! {
            biased;
            number = signals.fatal() => Err(Fail::Exit(code_of_signal(number))),
            _ = held.wait_for(Option::is_none) => Ok(Waited::Ended),
            waited = waiting => waited,
        }
    }

    async fn offer(&self, wish: &Run) -> Result<(), Fail> {
        let (client, path) = (self.client.clone(), path(&self.name));
        // Always the same key: asked twice, it is one offer.
        let (body, key) = (wish.offer(self.session), secrets::random());
        let put = move || {
            client.ask(&Ask::write(Method::PUT, path.as_str(), Some(&body), Some(&key))).map(drop)
        };
        patiently(&self.client, put).await
    }

    async fn until_granted(
        &self,
        until: Option<Time>,
        told: &mut Told<'_>,
    ) -> Result<Waited, Fail> {
        loop {
            let left = until.map_or(LOOK, |until| until.since(now()).min(LOOK));
            let seen =
                self.look(format!("session={}&wait={}", self.session, left.as_millis())).await;
            let is_late = until.is_some_and(|until| now() >= until);
            match seen {
                Ok(seen) if seen["grant"]["session"] == self.session => {
                    let (Some(epoch), Some(node)) =
                        (seen["epoch"].as_u64(), seen["owner"].as_str())
                    else {
                        return Err(Fail::new(code::FOREIGN_ANSWER, "a grant without an epoch"));
                    };
                    if seen["grant"]["phase"] == "active" {
                        return Ok(Waited::Granted(Seat { epoch, node: node.to_owned() }));
                    }
                    // It was moved away before it came: nothing has begun, so it has ended.
                    self.say("ended", json!({ "epoch": epoch })).await;
                    sleep(ASK_AGAIN).await;
                }
                Ok(seen) if !self.is_offered(&seen) => return Ok(Waited::Ended),
                Ok(seen) => told.tell(standing(&seen)),
                Err(fail) if fail.is(code::NO_SINGLETON) => return Ok(Waited::Ended),
                Err(fail) if may_pass(&fail) && !is_late => {
                    told.tell(format!("the cluster cannot be asked: {}", fail.detail()));
                    sleep(ASK_AGAIN).await;
                }
                Err(fail) => return Err(fail),
            }
            if is_late {
                return Ok(Waited::Late);
            }
        }
    }

    fn is_offered(&self, seen: &Value) -> bool {
        let candidates = seen["candidates"].as_array();
        candidates.is_some_and(|all| all.iter().any(|one| one["session"] == self.session))
    }

    /// Looks at the singleton, in this way.
    pub(super) async fn look(&self, how: String) -> Result<Value, Fail> {
        let client = self.client.within(self.client.timeout() + LOOK);
        let ask = Ask::get(format!("{}?{how}", path(&self.name)));
        off_thread("look", move || client.ask(&ask)).await.map(|answer| answer.body)
    }

    /// Looks until it is not to be run under an epoch any more, or a while has passed.
    pub(super) async fn look_under(&self, epoch: u64) -> Result<Value, Fail> {
        self.look(format!("epoch={epoch}&wait={}", LOOK.as_millis())).await
    }

    /// Says something of the singleton; whether it was heard, or never will be.
    pub(super) async fn say(&self, what: &str, body: Value) -> bool {
        let client = self.client.clone();
        let path = format!("{}/{what}", path(&self.name));
        let said = move || client.ask(&Ask::write(Method::POST, path.as_str(), Some(&body), None));
        !matches!(off_thread("word", said).await, Err(fail) if may_pass(&fail))
    }

    /// Gives it up, and its session with it. If that is not heard, another has it when the lease is over.
    pub(super) async fn leave(&self) {
        self.farewell(format!("{}?session={}", path(&self.name), self.session)).await;
        self.end_session().await;
    }

    pub(super) async fn end_session(&self) {
        self.farewell(format!("/v1/sessions/{}", self.session)).await;
    }

    /// Says the last words, which are worth nothing once the session is over.
    async fn farewell(&self, path: String) {
        let deadline = *self.held.borrow();
        let left = deadline.map_or(Duration::ZERO, |deadline| deadline.since(now()));
        if left.is_zero() {
            return;
        }
        let client = self.client.within(FAREWELL.min(left));
        let ask = move || client.ask(&Ask::write(Method::DELETE, path.as_str(), None, None));
        let _ = off_thread("farewell", ask).await;
    }
}

/// What is told of the waiting: each thing once.
struct Told<'a> {
    name: &'a str,
    last: String,
}

impl Told<'_> {
    fn tell(&mut self, now: String) {
        if self.last != now {
            output::talk(&format!("{}: waiting; {now}", self.name));
            self.last = now;
        }
    }
}

/// Why it is not this one's turn.
fn standing(seen: &Value) -> String {
    match (seen["owner"].as_str(), seen["reason"].as_str()) {
        (Some(owner), _) => format!("{owner} has it under epoch {}", seen["epoch"]),
        (None, Some(reason)) => reason.to_owned(),
        (None, None) => format!("it is {}", shown(&seen["state"])),
    }
}

/// A session that ended is as good as an agent that is away: another one may be had.
fn may_pass(fail: &Fail) -> bool {
    fail.is_passing() || fail.is(code::SESSION_ENDED)
}

/// Asks again while that may help, for as long as any command asks.
async fn patiently<T: Send + 'static>(
    client: &Client,
    ask: impl Fn() -> Result<T, Fail> + Clone + Send + 'static,
) -> Result<T, Fail> {
    let until = client.deadline();
    loop {
        match off_thread("request", ask.clone()).await {
            // A cluster that has just begun agrees within moments on what all of its members understand.
            Err(fail) if (fail.is_passing() || fail.is(code::TOO_NEW)) && now() < until => {
                sleep(ASK_AGAIN).await;
            }
            told => return told,
        }
    }
}

/// Renews a session for as long as somebody wants to know until when it is held.
fn keep(client: Client, session: &Session) -> watch::Receiver<Option<Time>> {
    let (tell, held) = watch::channel(Some(session.deadline()));
    let (id, ttl) = (session.id, session.ttl);
    quorate_env::spawn(async move {
        loop {
            let last = *tell.borrow();
            let Some(deadline) = last else { return };
            // Nobody waits for a task that sleeps for long.
            if timeout(ttl / 5, tell.closed()).await.is_ok() {
                return;
            }
            let asked = client.within(session::patience(ttl, deadline.since(now())));
            let renewed = tokio::select! {
                biased;
                // Whatever is answered after this comes too late.
                () = sleep_until(deadline) => {
                    tell.send_replace(None);
                    return;
                }
                renewed = off_thread("renewal", move || session::renew(&asked, id)) => renewed,
            };
            match renewed {
                Ok(sent) => {
                    tell.send_replace(Some(deadline.max(sent + ttl)));
                }
                Err(fail) if fail.is(code::SESSION_ENDED) => {
                    tell.send_replace(None);
                    return;
                }
                Err(_) => {}
            }
        }
    });
    held
}

/// Does what blocks on a thread of its own. Dropping the future leaves it to its end, which is bounded by the
/// client's patience.
async fn off_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T, Fail> + Send + 'static,
) -> Result<T, Fail> {
    let told = blocking(name, work).map_err(Fail::io("starting a thread"))?;
    match told.await {
        Ok(Ok(done)) => done,
        _ => Err(Fail::new(code::NO_ANSWER, "a request was not finished")),
    }
}
