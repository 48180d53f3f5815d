//! Links over HTTP: those of this node, and the topology rules of all, with a dry run.
//!
//! A rule is one object in words: `{"from": "role:edge", "to": "label:zone=b", "verdict": "deny", "lanes":
//! ["normal"], "rate": "10MiB/s"}`. What is answered can be sent back.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use quorate::{
    Explained, Explanation, Index, Lane, Lanes, Link, LinkRule, LinkState, NodeName, Party, Rate,
    Rule, Rules, Traffic,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::codes::named;
use crate::face::Shared;
use crate::names::{Consistency, Look};
use crate::parse::{self, Asked};
use crate::problem::Problem;
use crate::{shape, status};

/// Rules as somebody would have them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RulesWish {
    rules: Vec<RuleWish>,
    replace_version: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleWish {
    from: String,
    to: String,
    verdict: String,
    lanes: Option<Vec<String>>,
    rate: Option<RateWish>,
}

/// One rate for all lanes, or one for each that is named.
#[derive(Deserialize)]
#[serde(untagged)]
enum RateWish {
    All(String),
    Each(BTreeMap<String, String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pair {
    from: String,
    to: String,
    #[serde(default)]
    consistency: Consistency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DryRun {
    from: String,
    to: String,
    rules: Vec<RuleWish>,
}

/// `GET /v1/links`
pub(crate) async fn list(State(inside): State<Shared>) -> Response {
    let links = inside.node.links();
    // First: what is read after them is not older than they say.
    let (stale, index) = (links.stale(), links.rules().index);
    let shown: Vec<Value> = links.list().iter().map(link).collect();
    let body = json!({ "node": inside.node.name().as_str(), "index": index.0, "links": shown });
    (shape::age(index, stale), Json(body)).into_response()
}

/// `GET /v1/links/rules`
pub(crate) async fn rules(
    State(inside): State<Shared>,
    look: Asked<Look>,
) -> Result<Response, Problem> {
    let stale = sure(&inside, parse::asked(look)?.consistency).await?;
    let in_force = inside.node.links().rules();
    let shown: Vec<Value> = in_force.rules.list().iter().map(rule).collect();
    let body = json!({ "version": in_force.version.0, "index": in_force.index.0, "rules": shown });
    Ok((shape::age(in_force.index, stale), Json(body)).into_response())
}

/// `PUT /v1/links/rules`
pub(crate) async fn set(
    State(inside): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let (wish, key): (RulesWish, _) = parse::wish(request).await?;
    let rules = understood(wish.rules)?;
    let replace = wish.replace_version.map(Index);
    let count = rules.list().len();
    let version = inside.node.links().set_rules(rules, replace, key).await?;
    let headers = [(shape::INDEX, HeaderValue::from(version.0))];
    Ok((headers, Json(json!({ "version": version.0, "rules": count }))).into_response())
}

/// `GET /v1/links/explain`
pub(crate) async fn explain(
    State(inside): State<Shared>,
    pair: Asked<Pair>,
) -> Result<Response, Problem> {
    let Pair { from, to, consistency } = parse::asked(pair)?;
    let (from, to) = (node_name("from", &from)?, node_name("to", &to)?);
    let stale = sure(&inside, consistency).await?;
    let told = inside.node.links().explain(&from, &to, None).map_err(|none| no_node(&none))?;
    Ok((shape::age(told.index, stale), Json(explained(&told))).into_response())
}

/// `POST /v1/links/explain`: with rules that are not in force, which changes nothing.
pub(crate) async fn dry_run(
    State(inside): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let (DryRun { from, to, rules }, _) = parse::wish(request).await?;
    let (from, to) = (node_name("from", &from)?, node_name("to", &to)?);
    let links = inside.node.links();
    let stale = links.stale();
    let told = links.explain(&from, &to, Some(understood(rules)?));
    let told = told.map_err(|none| no_node(&none))?;
    Ok((shape::age(told.index, stale), Json(explained(&told))).into_response())
}

/// Makes a read as sure as it was asked to be, and says how old it is.
async fn sure(inside: &Shared, consistency: Consistency) -> Result<std::time::Duration, Problem> {
    match consistency {
        Consistency::Local => Ok(inside.node.links().stale()),
        Consistency::Linearizable => {
            inside.node.links().confirm().await?;
            Ok(std::time::Duration::ZERO)
        }
    }
}

fn node_name(what: &str, text: &str) -> Result<NodeName, Problem> {
    let wrong = |e| Problem::new(named::BAD_PARAMETER, format!("{what} is no name of a node: {e}"));
    NodeName::try_from(text).map_err(wrong)
}

fn no_node(none: &quorate::NoSuchNode) -> Problem {
    Problem::new(named::NO_NODE, none.to_string())
}

/// Reads rules, and names the first that does not fit by its number.
fn understood(wishes: Vec<RuleWish>) -> Result<Rules, Problem> {
    let bad = |why: String| Problem::new(named::BAD_RULES, why);
    let mut rules = Vec::new();
    for (number, wish) in (1..).zip(wishes) {
        rules.push(one(wish).map_err(|why| bad(format!("rule {number}: {why}")))?);
    }
    Rules::new(rules).map_err(|e| bad(e.to_string()))
}

fn one(wish: RuleWish) -> Result<Rule, quorate::TextError> {
    let mut lanes = Lanes::ALL;
    if let Some(named) = wish.lanes {
        lanes = Lanes::NONE;
        for lane in named {
            lanes = lanes.with(Lanes::named(&lane)?);
        }
    }
    let mut rates = [None; 3];
    match wish.rate {
        None => {}
        Some(RateWish::All(rate)) => rates = [Some(rate.parse::<Rate>()?); 3],
        Some(RateWish::Each(each)) => {
            for (lane, rate) in each {
                rates[Lanes::named(&lane)?.index()] = Some(rate.parse()?);
            }
        }
    }
    let (from, to, stance) = (wish.from.parse()?, wish.to.parse()?, wish.verdict.parse()?);
    Ok(Rule { from, to, stance, lanes, rates })
}

fn rule(rule: &Rule) -> Value {
    let mut shown = json!({
        "from": rule.from.to_string(),
        "to": rule.to.to_string(),
        "verdict": rule.stance.to_string(),
        "lanes": lanes(rule.lanes.flags()),
    });
    if rule.rates != [None; 3] {
        shown["rate"] = rates(&rule.rates);
    }
    shown
}

fn lanes(flags: [bool; 3]) -> Vec<&'static str> {
    Lane::ALL.iter().filter(|lane| flags[lane.index()]).map(|lane| lane.as_str()).collect()
}

/// The lanes that have a rate, with it.
fn rates(rates: &[Option<Rate>; 3]) -> Value {
    let lanes = Lane::ALL.iter().filter_map(|lane| Some((lane, rates[lane.index()]?)));
    let shown: Map<String, Value> =
        lanes.map(|(lane, rate)| (lane.as_str().to_owned(), rate.to_string().into())).collect();
    shown.into()
}

fn link(link: &Link) -> Value {
    let LinkRule { allowed, lanes: open, rates: slow } = &link.rule;
    json!({
        "name": link.name.as_str(),
        "id": link.peer.to_string(),
        "role": link.role.map(quorate::NodeRole::as_str),
        "state": status::state(link.state),
        "address": link.address,
        "standing": link.standing.map(|standing| standing.standing.to_string()),
        "evidence": link.standing.map(|standing| standing.to_string()),
        "control": link.control.as_ref().map(state_of),
        "data": link.data.as_ref().map(state_of),
        "allowed": allowed,
        "lanes": lanes(*open),
        "rates": rates(slow),
    })
}

/// One of the roads to a peer.
fn state_of(link: &LinkState) -> Value {
    let millis = |span: Duration| span.as_secs_f64() * 1e3;
    json!({
        "ours": link.is_ours,
        "connections": link.connections,
        "up_s": link.lasting.as_secs_f64(),
        "idle_s": link.idle.as_secs_f64(),
        "suspect": link.is_suspect,
        "waiting_bytes": link.waiting,
        "bytes_in": link.traffic.bytes_in,
        "bytes_out": link.traffic.bytes_out,
        "lanes": by_lane(&link.traffic),
        "late": link.late,
        "rtt_ms": link.round_trips.map(|trips| json!({
            "min": millis(trips.min), "p50": millis(trips.p50), "p99": millis(trips.p99),
        })),
        "clock_ahead_ms": link.offset.map(|offset| offset.nanos as f64 / 1e6),
        "clock_error_ms": link.offset.map(|offset| millis(offset.error)),
    })
}

/// What went in each lane, in bytes.
fn by_lane(traffic: &Traffic) -> Value {
    let of = |lane: &Lane| {
        let (came, sent) = (traffic.lanes_in[lane.index()], traffic.lanes_out[lane.index()]);
        (lane.as_str().to_owned(), json!({ "bytes_in": came, "bytes_out": sent }))
    };
    Lane::ALL.iter().map(of).collect::<Map<String, Value>>().into()
}

fn explained(told: &Explained) -> Value {
    let [from, to] = &told.parties;
    let [there, back] = &told.ways;
    json!({
        "version": told.version.map(|version| version.0),
        "index": told.index.0,
        "nodes": [party(from), party(to)],
        "ways": [way(from, to, there, &told.rules), way(to, from, back, &told.rules)],
    })
}

fn party(party: &Party) -> Value {
    json!({
        "name": party.name.as_str(),
        "role": party.role.as_str(),
        "groups": party.groups,
        "labels": party.labels,
    })
}

fn way(from: &Party, to: &Party, told: &Explanation, rules: &Rules) -> Value {
    let text = |number: usize| rules.list()[number - 1].to_string();
    let passed = told.passed.iter().map(
        |passed| json!({ "number": passed.rule, "text": text(passed.rule), "why": passed.why }),
    );
    let decided =
        told.judgement.rule.map(|number| json!({ "number": number, "text": text(number) }));
    json!({
        "name": format!("{}->{}", from.name, to.name),
        "from": from.name.as_str(),
        "to": to.name.as_str(),
        "allowed": told.judgement.is_allowed(),
        "lanes": lanes(told.judgement.lanes.flags()),
        "rates": rates(&told.judgement.rates),
        "rule": decided,
        "passed": passed.collect::<Vec<_>>(),
    })
}
