//! What the node says of itself: the view of one screen, and the two probes.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use quorate::{DiskStanding, MemberState, NodeRole, Opinion, Role, Status};
use serde_json::{Value, json};

use crate::codes::named;
use crate::face::Shared;
use crate::problem::Problem;
use crate::shape;

/// How many singletons that failed are named; the rest is counted.
const FAILED_SHOWN: usize = 10;

/// `GET /livez`: lives, with or without a quorum. Whoever restarts nodes must ask this and not the other.
pub(crate) async fn livez(State(inside): State<Shared>) -> Result<&'static str, Problem> {
    match inside.node.status().group.fault {
        Some(fault) => Err(Problem::new(named::STOPPED, fault)),
        None => Ok("live\n"),
    }
}

/// `GET /readyz`: a majority confirmed this node's lease, so what it is asked can be done.
pub(crate) async fn readyz(State(inside): State<Shared>) -> Result<&'static str, Problem> {
    let status = inside.node.status();
    match status.quorate {
        true => Ok("ready\n"),
        false => Err(Problem::new(named::NOT_READY, standing(&status))),
    }
}

/// `GET /v1/status`
pub(crate) async fn status(State(inside): State<Shared>) -> Response {
    let status = inside.node.status();
    let recovery = inside.node.recovery();
    let mut known: Vec<&quorate::Member> = status.members.iter().collect();
    known.sort_by(|one, other| one.name.cmp(&other.name));
    let members: Vec<Value> = known.iter().map(|one| member(one)).collect();
    let voters: Vec<&str> =
        known.iter().filter(|one| one.votes).map(|one| one.name.as_str()).collect();
    let body = json!({
        "node": status.name.as_str(),
        "id": status.node.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "cluster": status.cluster.map(|cluster| cluster.to_string()),
        "quorate": status.quorate,
        "role": role(status.group.role),
        "leader": status.leader.as_ref().map(|leader| leader.as_str()),
        "term": status.term,
        "index": status.index.0,
        "stale_ms": shape::stale_ms(status.stale),
        "lease_ms": shape::millis(status.lease),
        "session": status.session.map(|session| session.0),
        "clock": clock(inside.node.links().clocks().own()),
        "names": status.names,
        "sessions": status.sessions,
        "singletons": singletons(&inside.node.singletons().census()),
        "disk": {
            "standing": disk(status.disk.standing),
            "stuck": status.disk.stuck,
            "why": status.disk.why,
        },
        "voters": voters,
        "members": members,
        "fault": status.group.fault,
        "log": {
            "last": status.group.last_index.0,
            "snapshot": status.group.snapshot.0,
            "purged": status.group.purged.0,
        },
        "recovered_at": recovery.applied.0,
        "repaired": recovery.repaired,
        // Whether its doors may be put wrong from outside.
        "drill": inside.faults.is_some(),
    });
    (shape::age(status.index, status.stale), Json(body)).into_response()
}

/// `GET /v1/members`: the members, and how far each is behind, which the leader is asked.
pub(crate) async fn members(State(inside): State<Shared>) -> Response {
    let progress = inside.node.progress().await.ok();
    let status = inside.node.status();
    let mut known: Vec<&quorate::Member> = status.members.iter().collect();
    known.sort_by(|one, other| one.name.cmp(&other.name));
    let members: Vec<Value> = known
        .iter()
        .map(|one| {
            let mut shown = member(one);
            // Null where nobody leads, and where the leader does not send to it.
            shown["lag"] = json!(progress.as_ref().and_then(|progress| progress.lag(one.id)));
            shown
        })
        .collect();
    let body = json!({
        "node": status.name.as_str(),
        "index": status.index.0,
        "stale_ms": shape::stale_ms(status.stale),
        "leader_index": progress.map(|progress| progress.last.0),
        "members": members,
    });
    (shape::age(status.index, status.stale), Json(body)).into_response()
}

fn singletons(census: &quorate::Census) -> Value {
    let states = census.by_state().map(|(state, count)| (state.to_owned(), json!(count)));
    let mut shown: serde_json::Map<String, Value> = states.into_iter().collect();
    let failed = census.failed.iter().take(FAILED_SHOWN).map(|name| name.as_str());
    shown.insert("failed_names".to_owned(), failed.collect());
    shown.insert("here".to_owned(), json!(census.here));
    shown.into()
}

/// This node's wall clock against the median of its peers' and its own.
fn clock(own: &quorate::Clock) -> Value {
    json!({
        "ahead_ms": own.skew.map(|skew| skew.nanos as f64 / 1e6),
        "error_ms": own.skew.map(|skew| skew.error.as_secs_f64() * 1e3),
        "opinion": match own.opinion {
            Opinion::Unsure => "unsure",
            Opinion::Agrees => "agrees",
            Opinion::Off => "off",
        },
    })
}

fn disk(standing: DiskStanding) -> &'static str {
    match standing {
        DiskStanding::Healthy => "healthy",
        DiskStanding::Slow { .. } => "slow",
        DiskStanding::Hung { .. } => "hung",
        DiskStanding::Full => "full",
        DiskStanding::ReadOnly => "read-only",
        DiskStanding::Failed => "failed",
    }
}

fn member(member: &quorate::Member) -> Value {
    let role = match (member.leads, member.votes) {
        (true, _) => "leader",
        (false, true) => "voter",
        (false, false) if member.role == NodeRole::Edge => "edge",
        (false, false) => "member",
    };
    json!({
        "name": member.name.as_str(),
        "id": member.id.to_string(),
        "role": role,
        "state": state(member.state),
        "linked": member.linked,
        "address": member.address,
    })
}

pub(crate) fn state(state: MemberState) -> &'static str {
    match state {
        MemberState::Up => "up",
        MemberState::Down => "down",
    }
}

pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Learner => "member",
        Role::Follower => "voter",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Stopped => "stopped",
    }
}

/// Why a node is not ready, as far as it can tell.
fn standing(status: &Status) -> String {
    let reached = status.members.iter().filter(|one| one.votes && one.linked).count();
    let voters = status.members.iter().filter(|one| one.votes).count();
    match (&status.cluster, &status.leader) {
        (None, _) => "it belongs to no cluster yet".to_owned(),
        (_, None) => format!("it knows no leader, and reaches {reached} of {voters} voters"),
        (_, Some(leader)) => {
            format!(
                "it follows {leader}, and its lease is not confirmed; {reached} of {voters} voters reached"
            )
        }
    }
}
