//! Singletons over HTTP: who holds which and why, the words of operators, and the candidates that run outside
//! of a node's own processes.
//!
//! A name is one segment of the path here, its slashes written `%2F`: what follows it is what is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use quorate::{
    Company, Ending, Epoch, Evidence, Exec, Grant, Index, Name, NodeId, NodeName, Past, Phase, Pin,
    Relocation, Restart, Restarts, SessionId, SingletonInfo, SingletonState, Spec, Standing,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::codes::named;
use crate::face::Shared;
use crate::names::Consistency;
use crate::parse::{self, Asked, NamePath, Part};
use crate::problem::Problem;
use crate::shape;

/// The most singletons in one answer, and how many there are when it was not said.
const LIST_MAX: usize = 1000;
/// The longest wait in one request; who wants to wait for longer asks again.
const WAIT_MS_MAX: u64 = 60_000;
/// How fast a plan is carried out when it was not said.
const PER_SECOND: u32 = 10;
/// How long before its time is over a command is asked to end when it was not said.
const GRACE_MS: u64 = 300;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Look {
    /// Wait until this session holds it.
    session: Option<u64>,
    /// Wait until it is not to be run under this epoch any more.
    epoch: Option<u64>,
    /// In milliseconds.
    wait: Option<u64>,
    #[serde(default)]
    consistency: Consistency,
}

/// A command that nodes are to run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Detached {
    command: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    dir: Option<String>,
    grace_ms: Option<u64>,
    #[serde(default)]
    spec: Offer,
}

/// What a candidate wants of a singleton.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Offer {
    /// Whose offer it is; not said of what nodes are to run.
    session: Option<u64>,
    #[serde(default)]
    on: BTreeMap<String, String>,
    #[serde(default)]
    prefer: BTreeMap<String, String>,
    #[serde(default)]
    not: BTreeMap<String, String>,
    pin: Option<String>,
    #[serde(default)]
    pin_back: bool,
    group: Option<String>,
    #[serde(default)]
    apart: bool,
    spread: Option<String>,
    #[serde(default)]
    after: BTreeSet<String>,
    restart: Option<String>,
    max_restarts: Option<u32>,
    restarts_within_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whose {
    session: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Move {
    to: Option<NodeName>,
    epoch: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Under {
    epoch: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    epoch: u64,
    failed: Option<String>,
    state: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    epoch: u64,
    state: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Force {
    epoch: u64,
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drain {
    #[serde(default)]
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HowMany {
    most: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    moves: Vec<PlannedMove>,
    per_second: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlannedMove {
    name: String,
    epoch: u64,
    from: NodeName,
    to: NodeName,
}

/// `GET /v1/singletons`
pub(crate) async fn list(
    State(inside): State<Shared>,
    wanted: Asked<Part>,
) -> Result<Response, Problem> {
    let wanted = parse::asked(wanted)?;
    let limit = wanted.limit(LIST_MAX)?;
    let Part { prefix, after, .. } = wanted;
    let _place = inside.listings.acquire().await;
    // First: what is read after it is not older than it says.
    let stale = inside.node.links().stale();
    let (infos, index) = inside.node.singletons().list(&prefix, after.as_deref(), limit + 1);
    let more = infos.len() > limit;
    let shown: Vec<Value> = infos.iter().take(limit).map(|info| shown(&inside, info)).collect();
    let next = shown.last().filter(|_| more).map(|last| last["name"].clone());
    let body = json!({ "index": index.0, "singletons": shown, "after": next });
    Ok((shape::age(index, stale), Json(body)).into_response())
}

/// `GET /v1/singletons/{name}`. With a wait it is answered once a session holds it, or it is not to be run
/// under an epoch any more, or the wait is over.
pub(crate) async fn show(
    State(inside): State<Shared>,
    path: NamePath,
    look: Asked<Look>,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let Look { session, epoch, wait, consistency } = parse::asked(look)?;
    let singletons = inside.node.singletons();
    let wait = wait.unwrap_or(0);
    if wait > WAIT_MS_MAX {
        let why = format!("wait is {wait}, and may be {WAIT_MS_MAX} at most");
        return Err(Problem::new(named::BAD_PARAMETER, why));
    }
    let wait = Duration::from_millis(wait);
    match (session, epoch) {
        (Some(session), _) => {
            singletons.until_granted(&name, SessionId(session), wait).await;
        }
        (None, Some(epoch)) => {
            singletons.until_over(&name, parse::epoch("epoch", epoch)?, wait).await;
        }
        (None, None) => {}
    }
    let info = match consistency {
        Consistency::Linearizable => singletons.find(&name).await?,
        Consistency::Local => singletons.peek(&name),
    };
    let info = info.ok_or_else(|| unknown(&name))?;
    let epoch = info.row.epoch().map(|epoch| (shape::EPOCH, HeaderValue::from(epoch.get())));
    let headers: HeaderMap = epoch.into_iter().collect();
    Ok((headers, Json(shown(&inside, &info))).into_response())
}

/// `GET /v1/singletons/{name}/why`
pub(crate) async fn why(
    State(inside): State<Shared>,
    path: NamePath,
) -> Result<Json<Value>, Problem> {
    let name = parse::name(path)?;
    let singletons = inside.node.singletons();
    let (Some(info), Some(nodes)) = (singletons.peek(&name), singletons.why(&name)) else {
        return Err(unknown(&name));
    };
    let nodes: Vec<Value> =
        nodes.iter().map(|(called, _, standing)| stands(called, standing)).collect();
    let mut body = shown(&inside, &info);
    body["nodes"] = nodes.into();
    Ok(Json(body))
}

/// `GET /v1/singletons/{name}/history`
pub(crate) async fn history(
    State(inside): State<Shared>,
    path: NamePath,
) -> Result<Json<Value>, Problem> {
    let name = parse::name(path)?;
    let info = inside.node.singletons().peek(&name).ok_or_else(|| unknown(&name))?;
    let past: Vec<Value> = info.row.past.iter().map(|past| ended(&inside, past)).collect();
    let mut body = shown(&inside, &info);
    body["past"] = past.into();
    Ok(Json(body))
}

/// `PUT /v1/singletons/{name}`
pub(crate) async fn offer(
    State(inside): State<Shared>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let (offer, key): (Offer, _) = parse::wish(request).await?;
    let none = || Problem::new(named::BAD_BODY, "an offer is a session's: `session` is missing");
    let session = SessionId(offer.session.ok_or_else(none)?);
    let spec = offer.spec()?;
    let index = inside.node.singletons().offer(&name, session, spec, key).await?;
    Ok((StatusCode::ACCEPTED, at(index), Json(json!({ "name": name.as_str() }))).into_response())
}

/// `DELETE /v1/singletons/{name}`. With a session, its offer is taken back; what ran under it has ended.
/// Without one, a singleton that nobody offers to run is taken out.
pub(crate) async fn withdraw(
    State(inside): State<Shared>,
    path: NamePath,
    whose: Asked<Whose>,
) -> Result<StatusCode, Problem> {
    let name = parse::name(path)?;
    let singletons = inside.node.singletons();
    match parse::asked(whose)?.session {
        Some(session) => singletons.withdraw(&name, SessionId(session)).await?,
        None => singletons.forget(&name).await?,
    };
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/singletons/{name}/move`. Answered once it is decided.
pub(crate) async fn relocate(
    State(inside): State<Shared>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let (Move { to, epoch }, _) = parse::wish(request).await?;
    let epoch = epoch.map(|epoch| parse::epoch("epoch", epoch)).transpose()?;
    let index = inside.node.singletons().move_to(&name, to.as_ref(), epoch).await?;
    Ok(done(index))
}

/// `POST /v1/singletons/{name}/stop`
pub(crate) async fn stop(
    State(inside): State<Shared>,
    path: NamePath,
) -> Result<Response, Problem> {
    Ok(done(inside.node.singletons().stop(&parse::name(path)?).await?))
}

/// `POST /v1/singletons/{name}/start`
pub(crate) async fn start(
    State(inside): State<Shared>,
    path: NamePath,
) -> Result<Response, Problem> {
    Ok(done(inside.node.singletons().start(&parse::name(path)?).await?))
}

/// `POST /v1/singletons/{name}/ready`
pub(crate) async fn ready(
    State(inside): State<Shared>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let (Under { epoch }, _) = parse::wish(request).await?;
    let epoch = parse::epoch("epoch", epoch)?;
    Ok(done(inside.node.singletons().ready(&name, epoch).await?))
}

/// `POST /v1/singletons/{name}/ended`. Whoever says so vouches for it: the next one starts at once.
pub(crate) async fn end(
    State(inside): State<Shared>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let (End { epoch, failed, state }, _) = parse::wish(request).await?;
    let epoch = parse::epoch("epoch", epoch)?;
    let ending = match failed {
        Some(why) => Ending::Failed { why },
        None => Ending::Stopped { state: state.map(String::into_bytes) },
    };
    Ok(done(inside.node.singletons().ended(&name, epoch, ending).await?))
}

/// `PUT /v1/singletons/{name}/checkpoint`
pub(crate) async fn keep(
    State(inside): State<Shared>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let (Kept { epoch, state }, _) = parse::wish(request).await?;
    let epoch = parse::epoch("epoch", epoch)?;
    Ok(done(inside.node.singletons().checkpoint(&name, epoch, state.into_bytes()).await?))
}

/// `GET /v1/singletons/{name}/checkpoint`
pub(crate) async fn kept(
    State(inside): State<Shared>,
    path: NamePath,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let kept = inside.node.singletons().last_checkpoint(&name).ok_or_else(|| unknown(&name))?;
    let mut body = json!({ "epoch": kept.epoch.get(), "index": kept.version.0 });
    match String::from_utf8(kept.state) {
        Ok(text) => body["state"] = text.into(),
        Err(bytes) => body["state_hex"] = shape::hex(bytes.as_bytes()).into(),
    }
    Ok((shape::made(kept.epoch, kept.version), Json(body)).into_response())
}

/// `POST /v1/singletons/{name}/exec`. From then on every node that starts commands offers to run it.
pub(crate) async fn exec(
    State(inside): State<Shared>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let (detached, key): (Detached, _) = parse::wish(request).await?;
    if !inside.allow_exec {
        return Err(Problem::new(named::NO_EXEC, "this agent was started without --allow-exec"));
    }
    let Detached { command: argv, env, dir, grace_ms, spec } = detached;
    if spec.session.is_some() {
        return Err(Problem::new(named::BAD_BODY, "what nodes run is no session's offer"));
    }
    let grace_ms = grace_ms.unwrap_or(GRACE_MS);
    let exec = Some(Exec { argv, env, dir, grace_ms });
    let spec = Spec { exec, ..spec.spec()? };
    let index = inside.node.singletons().offer_here(&name, spec, key).await?;
    Ok((StatusCode::ACCEPTED, at(index), Json(json!({ "name": name.as_str() }))).into_response())
}

/// `GET /v1/singletons/{name}/logs`: as it was printed.
pub(crate) async fn logs(
    State(inside): State<Shared>,
    path: NamePath,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let tail = inside.node.singletons().tail(&name).await?;
    let (node, tail) = tail.ok_or_else(|| unknown(&name))?;
    let from = HeaderValue::from_str(&called(&inside, node));
    let from = from.map_err(|e| Problem::new(named::FAILED_INSIDE, e.to_string()))?;
    Ok(([("quorate-singleton-node", from)], tail).into_response())
}

/// `POST /v1/singletons/{name}/force`
pub(crate) async fn force(
    State(inside): State<Shared>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let (Force { epoch, why }, _) = parse::wish(request).await?;
    let epoch = parse::epoch("epoch", epoch)?;
    Ok(done(inside.node.singletons().force(&name, epoch, why).await?))
}

/// `POST /v1/nodes/{name}/drain`
pub(crate) async fn drain(
    State(inside): State<Shared>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let node = node_named(path)?;
    let (Drain { why }, _) = parse::wish(request).await?;
    Ok(done(inside.node.singletons().drain(&node, Some(why)).await?))
}

/// `POST /v1/nodes/{name}/undrain`
pub(crate) async fn undrain(
    State(inside): State<Shared>,
    path: NamePath,
) -> Result<Response, Problem> {
    Ok(done(inside.node.singletons().drain(&node_named(path)?, None).await?))
}

/// `GET /v1/nodes/{name}/drain`
pub(crate) async fn drained(
    State(inside): State<Shared>,
    path: NamePath,
) -> Result<Json<Value>, Problem> {
    let node = node_named(path)?;
    let (holds, why) =
        inside.node.singletons().load(&node).ok_or_else(|| {
            Problem::new(named::NO_NODE, format!("no node called {node} takes part"))
        })?;
    let draining = why.is_some();
    Ok(Json(json!({ "name": node, "singletons": holds, "draining": draining, "why": why })))
}

/// `GET /v1/plan`
pub(crate) async fn plan(
    State(inside): State<Shared>,
    most: Asked<HowMany>,
) -> Result<Json<Value>, Problem> {
    let most = parse::limit(parse::asked(most)?.most, LIST_MAX)?;
    let moves = inside.node.singletons().plan(most);
    let moves: Vec<Value> = moves
        .iter()
        .map(|one| {
            let (from, to) = (called(&inside, one.from), called(&inside, one.to));
            json!({ "name": one.name, "epoch": one.epoch.get(), "from": from, "to": to })
        })
        .collect();
    Ok(Json(json!({ "moves": moves })))
}

/// `POST /v1/plan`
pub(crate) async fn commit(
    State(inside): State<Shared>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (Plan { moves, per_second }, _) = parse::wish(request).await?;
    let find = |name: &NodeName| {
        let found = inside.node.inspect(|machine, _| {
            machine.nodes().find(|node| node.name == *name).map(|node| node.id)
        });
        let none = || Problem::new(named::NO_NODE, format!("no node called {name} takes part"));
        found.ok_or_else(none)
    };
    let mut plan = Vec::new();
    for PlannedMove { name, epoch, from, to } in moves {
        let name = Name::new(name).map_err(|e| Problem::new(named::BAD_NAME, e.to_string()))?;
        let epoch = parse::epoch("epoch", epoch)?;
        plan.push(Relocation { name, epoch, from: find(&from)?, to: find(&to)? });
    }
    let per_second = per_second.unwrap_or(PER_SECOND);
    let begun = inside.node.singletons().relocate(&plan, per_second).await?;
    Ok(Json(json!({ "moved": begun, "left_alone": plan.len() - begun })))
}

impl Offer {
    fn spec(self) -> Result<Spec, Problem> {
        let bad = |why: String| Problem::new(named::BAD_BODY, why);
        let pin = self.pin.map(|node| NodeName::try_from(node.as_str()));
        let pin = pin.transpose().map_err(|e| bad(format!("pin: {e}")))?;
        let after: Result<BTreeSet<Name>, _> = self.after.iter().map(Name::new).collect();
        let usual = Restarts::default();
        let when = match self.restart.as_deref() {
            None => usual.when,
            Some("always") => Restart::Always,
            Some("on-failure") => Restart::OnFailure,
            Some("never") => Restart::Never,
            Some(other) => {
                return Err(bad(format!("restart is {other:?}: always, on-failure or never")));
            }
        };
        let (apart, spread) = (self.apart, self.spread);
        if self.group.is_none() && (apart || spread.is_some()) {
            return Err(bad("apart and spread are said of a group; name it".to_owned()));
        }
        Ok(Spec {
            on: self.on,
            prefer: self.prefer,
            not: self.not,
            pin: pin.map(|node| Pin { node, back: self.pin_back }),
            company: self.group.map(|group| Company { group, apart, spread }),
            after: after.map_err(|e| bad(format!("after: {e}")))?,
            restarts: Restarts {
                when,
                most: self.max_restarts.unwrap_or(usual.most),
                within_ms: self.restarts_within_ms.unwrap_or(usual.within_ms),
            },
            exec: None,
        })
    }
}

fn shown(inside: &Shared, info: &SingletonInfo) -> Value {
    let SingletonInfo { row, candidates, checkpoint, state } = info;
    let (state, reason) = match state {
        SingletonState::Running => ("running", None),
        SingletonState::Starting => ("starting", None),
        SingletonState::Yielding => ("yielding", None),
        SingletonState::Stopped => ("stopped", None),
        SingletonState::Failed => ("failed", failures(candidates)),
        SingletonState::Waiting(blocked) => ("waiting", Some(blocked.to_string())),
    };
    let candidates: Vec<Value> = candidates
        .iter()
        .map(|one| {
            let (node, session) = (called(inside, one.node), one.session.0);
            json!({ "node": node, "session": session, "since": one.since.0, "failed": one.failed })
        })
        .collect();
    let checkpoint =
        checkpoint.map(|(epoch, bytes)| json!({ "epoch": epoch.get(), "bytes": bytes }));
    json!({
        "name": row.name,
        "state": state,
        "reason": reason,
        "grant": row.grant.map(|grant| granted(inside, &grant)),
        "owner": row.grant.map(|grant| called(inside, grant.node)),
        "epoch": row.epoch().map(Epoch::get),
        "last": row.past.back().map(|past| ended(inside, past)),
        "turns": row.past.len() + usize::from(row.grant.is_some()),
        "candidates": candidates,
        "checkpoint": checkpoint,
        "spec": wanted(&row.spec),
        "version": row.version.0,
    })
}

fn failures(candidates: &[quorate::Candidate]) -> Option<String> {
    candidates.iter().rev().find_map(|one| one.failed.clone())
}

fn granted(inside: &Shared, grant: &Grant) -> Value {
    let phase = match grant.phase {
        Phase::Active => "active",
        Phase::Yielding { .. } => "yielding",
    };
    json!({
        "epoch": grant.epoch.get(),
        "node": called(inside, grant.node),
        "session": grant.session.0,
        "phase": phase,
        "ready": grant.ready,
    })
}

fn ended(inside: &Shared, past: &Past) -> Value {
    json!({
        "epoch": past.epoch.get(),
        "node": called(inside, past.node),
        "from": past.epoch.index().0,
        "until": past.closed.0,
        "evidence": evidence(past.evidence),
        "why": past.why,
    })
}

fn evidence(evidence: Evidence) -> String {
    match evidence {
        Evidence::Stopped => "stopped".to_owned(),
        Evidence::Expired { term } => format!("expired in term {term}"),
        Evidence::Superseded { by } => format!("its node began life {}", by.0),
        Evidence::NodeLeft => "its node was taken out".to_owned(),
        Evidence::NameGone => "gone".to_owned(),
        Evidence::ProvenDead => "proven dead".to_owned(),
        Evidence::Forced => "forced".to_owned(),
    }
}

fn stands(called: &NodeName, standing: &Standing) -> Value {
    let score = match standing {
        Standing::Fits(score) => Some(json!({
            "pinned": score.pinned,
            "preferred": score.preferred,
            "crowd": score.crowd.0,
            "has_room": score.has_room,
            "place": score.place.0,
        })),
        _ => None,
    };
    let eligible = matches!(standing, Standing::Fits(_) | Standing::Owner);
    let why = standing.to_string();
    json!({ "node": called, "name": called, "eligible": eligible, "why": why, "score": score })
}

fn wanted(spec: &Spec) -> Value {
    let restart = match spec.restarts.when {
        Restart::Always => "always",
        Restart::OnFailure => "on-failure",
        Restart::Never => "never",
    };
    let company = spec.company.as_ref();
    json!({
        "on": spec.on,
        "prefer": spec.prefer,
        "not": spec.not,
        "pin": spec.pin.as_ref().map(|pin| &pin.node),
        "pin_back": spec.pin.as_ref().is_some_and(|pin| pin.back),
        "group": company.map(|company| &company.group),
        "apart": company.is_some_and(|company| company.apart),
        "spread": company.and_then(|company| company.spread.as_ref()),
        "after": spec.after,
        "restart": restart,
        "max_restarts": spec.restarts.most,
        "restarts_within_ms": spec.restarts.within_ms,
        "exec": spec.exec.as_ref().map(|Exec { argv, .. }| argv),
    })
}

/// What people call a node; its number when it takes no part any more.
fn called(inside: &Shared, node: NodeId) -> String {
    let name = inside.node.inspect(|machine, _| machine.node(node).map(|node| node.name.clone()));
    name.map_or_else(|| node.to_string(), |name| name.to_string())
}

fn node_named(path: NamePath) -> Result<NodeName, Problem> {
    let axum::extract::Path(text) =
        path.map_err(|e| Problem::new(named::BAD_PARAMETER, e.body_text()))?;
    NodeName::try_from(text.as_str())
        .map_err(|e| Problem::new(named::BAD_PARAMETER, format!("{text} names no node: {e}")))
}

fn unknown(name: &Name) -> Problem {
    Problem::new(named::NO_SINGLETON, format!("nobody ever offered to run {name}"))
}

fn at(index: Index) -> [(axum::http::HeaderName, HeaderValue); 1] {
    [(shape::INDEX, HeaderValue::from(index.0))]
}

fn done(index: Index) -> Response {
    (at(index), Json(json!({ "index": index.0 }))).into_response()
}
