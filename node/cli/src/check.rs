//! How a cluster is, in one word and an exit code, for people and for whatever watches over it.

use serde_json::{Value, json};

use crate::args::View;
use crate::client::{Ask, Client};
use crate::fail::{Done, Fail};
use crate::output::{self, Format, column, shown};

/// How a cluster is. The numbers are the exit codes of `quorate check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Everything that belongs to it takes part.
    Healthy = 0,
    /// It works, and may lose less than it is built for.
    Degraded = 1,
    /// The asked node has no majority behind it.
    NoQuorum = 2,
    /// Nobody answers.
    Unknown = 3,
}

/// A judgement, with what is wrong and what to do about each of it.
pub(crate) struct Judgement {
    pub(crate) health: Health,
    /// Pairs of a problem and its remedy.
    pub(crate) problems: Vec<(String, String)>,
    /// How many more voters may be lost.
    pub(crate) spare: u64,
}

impl Health {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Degraded => "DEGRADED",
            Self::NoQuorum => "NO QUORUM",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Judges what `/v1/status` says.
pub(crate) fn judge(status: &Value) -> Judgement {
    let none = Vec::new();
    let members = status["members"].as_array().unwrap_or(&none);
    let node = shown(&status["node"]);
    let quorate = status["quorate"] == true && status["leader"].is_string();
    let mut problems = Vec::new();
    let (mut voters, mut present) = (0_u64, 0_u64);
    for member in members {
        let name = shown(&member["name"]);
        let (up, linked) = (member["state"] == "up", member["linked"] == true);
        // Without a quorum the registry's word is old; the links are what this node sees now.
        let here = linked && (up || !quorate);
        if member["role"] == "voter" || member["role"] == "leader" {
            voters += 1;
            present += u64::from(here);
        }
        let address = shown(&member["address"]);
        if quorate && up && !linked {
            let remedy = format!("if it runs, look at the network between {node} and {address}");
            problems.push((format!("{node} has lost its link to {name}"), remedy));
        } else if !here {
            let what = if quorate { "is down" } else { "is not reached" };
            problems.push((format!("{name} {what}"), format!("start its agent again ({address})")));
        }
    }
    if let Some(fault) = status["fault"].as_str() {
        problems.push((
            format!("{node} has stopped: {fault}"),
            "mend the cause and start its agent again".to_owned(),
        ));
    }
    problems.extend(disk(status));
    problems.extend(singletons(status));
    if status["cluster"].is_null() {
        let remedy = "start the others, or look at --join and --expect".to_owned();
        problems.push((format!("{node} belongs to no cluster yet"), remedy));
    } else if !quorate && problems.is_empty() {
        problems
            .push((format!("{node} holds no lease"), "wait a second and look again".to_owned()));
    }
    if quorate && voters > 0 && voters % 2 == 0 {
        let remedy = "start one node more, or one fewer".to_owned();
        problems.push((format!("{voters} voters bear no more losses than {}", voters - 1), remedy));
    }
    let health = match (quorate, problems.is_empty()) {
        (false, _) => Health::NoQuorum,
        (true, false) => Health::Degraded,
        (true, true) => Health::Healthy,
    };
    let majority = voters / 2 + 1;
    Judgement { health, problems, spare: present.saturating_sub(majority) }
}

/// What is wrong with the disk of the node that was asked, and what to do about it.
fn disk(status: &Value) -> Option<(String, String)> {
    let (disk, node) = (&status["disk"], shown(&status["node"]));
    let remedy = match disk["standing"].as_str()? {
        "healthy" => return None,
        "full" => "make room on the file system of its data directory",
        "read-only" => "mount the file system of its data directory so that it can be written",
        "slow" | "hung" => "look at the device below its data directory",
        _ => "mend the disk, and start its agent again",
    };
    let why = disk["why"].as_str().map(|why| format!(" ({why})")).unwrap_or_default();
    let stuck = if disk["stuck"] == true { ", and it leads no more" } else { "" };
    let what = format!("the disk of {node} is {}{why}{stuck}", shown(&disk["standing"]));
    Some((what, format!("{remedy}; the node then goes on by itself")))
}

/// What nobody runs any more because it failed wherever it might.
fn singletons(status: &Value) -> Option<(String, String)> {
    let failed = &status["singletons"]["failed"];
    let count = failed.as_u64().filter(|count| *count > 0)?;
    let names = status["singletons"]["failed_names"].as_array()?;
    let first = names.first().map(shown)?;
    let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    let what = format!("singleton {first}{more} failed wherever it may run");
    let remedy =
        format!("`quorate singleton why {first}`, mend it, `quorate singleton start {first}`");
    Some((what, remedy))
}

/// `quorate check`
pub(crate) fn check(view: &View) -> Done {
    let asked = Client::new(&view.reach).and_then(|client| client.ask(&Ask::get("/v1/status")));
    let (health, problems, by) = match asked {
        Ok(answer) => {
            let judgement = judge(&answer.body);
            let by = answer.body["node"].clone();
            (judgement.health, judgement.problems, by)
        }
        Err(Fail::Told(told)) => {
            output::talk(&told.to_string());
            (Health::Unknown, Vec::new(), Value::Null)
        }
        Err(fail) => return Err(fail),
    };
    let problems: Vec<String> =
        problems.into_iter().map(|(problem, remedy)| format!("{problem}: {remedy}")).collect();
    let body =
        json!({ "name": health.word(), "exit": health as u8, "node": by, "problems": problems });
    match view.output.format {
        Format::Table | Format::Wide => {
            let more = if problems.is_empty() {
                String::new()
            } else {
                format!(" · {}", problems.join(" · "))
            };
            output::line(&format!("{}{more}", health.word()))?;
        }
        format => output::one(format, &body, &[column("HEALTH", |body| shown(&body["name"]))])?,
    }
    match health {
        Health::Healthy => Ok(()),
        health => Err(Fail::Exit(health as u8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(quorate: bool, states: &[(&str, bool)]) -> Value {
        let member = |(at, (state, linked)): (usize, &(&str, bool))| {
            let role = if at == 0 { "leader" } else { "voter" };
            json!({
                "name": format!("n{at}"), "role": role, "state": state, "linked": linked, "address": "a:1"
            })
        };
        let members: Vec<Value> = states.iter().enumerate().map(member).collect();
        json!({ "node": "n0", "cluster": "c", "quorate": quorate, "leader": "n0", "members": members })
    }

    #[test]
    fn a_cluster_is_judged_by_its_quorum_and_by_who_is_missing() {
        let up = ("up", true);
        let whole = judge(&status(true, &[up, up, up]));
        assert_eq!((whole.health, whole.spare), (Health::Healthy, 1));
        let lame = judge(&status(true, &[up, up, ("down", false)]));
        assert_eq!((lame.health, lame.spare, lame.problems.len()), (Health::Degraded, 0, 1));
        let cut = judge(&status(true, &[up, up, ("up", false)]));
        assert_eq!((cut.health, cut.spare), (Health::Degraded, 0));
        let mut full = status(true, &[up, up, up]);
        full["disk"] = json!({ "standing": "full", "stuck": true, "why": "no space left" });
        let full = judge(&full);
        assert_eq!((full.health, full.problems.len()), (Health::Degraded, 1));
        assert!(full.problems[0].0.contains("full (no space left)"), "{:?}", full.problems);
        let mut failed = status(true, &[up, up, up]);
        failed["singletons"] = json!({ "failed": 2, "failed_names": ["till", "shop"] });
        let failed = judge(&failed);
        assert_eq!((failed.health, failed.problems.len()), (Health::Degraded, 1));
        assert_eq!(failed.problems[0].0, "singleton till and 1 more failed wherever it may run");
        let even = judge(&status(true, &[up, up]));
        assert_eq!(even.health, Health::Degraded);
        let lost = judge(&status(false, &[up, ("up", false), ("up", false)]));
        assert_eq!((lost.health, lost.spare, lost.problems.len()), (Health::NoQuorum, 0, 2));
        let alone =
            judge(&json!({ "node": "n0", "cluster": null, "quorate": false, "members": [] }));
        assert_eq!((alone.health, alone.problems.len()), (Health::NoQuorum, 1));
    }
}
