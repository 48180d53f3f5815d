//! Drills of a cluster that others use: whether it lets itself be drilled, what would be done to it, and how
//! all of it is undone.
//!
//! Only the agents' own doors are put wrong, never a process. Each fault ends by itself, whoever can still be
//! reached; and what a drill puts in has names of its own and is taken out again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quorate::Time;
use quorate_drill::script::{Deed, Script};
use quorate_env::{now, sleep};
use quorate_http::code;
use serde_json::Value;

use super::door::Door;
use super::load::names;
use super::world::{LOCK, SINGLETONS};
use crate::client::checked;
use crate::fail::{Done, Fail};
use crate::output;
use crate::secrets;
use crate::singletons;

const WITHIN: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long taking out may take, beside two leases.
const PATIENCE: Duration = Duration::from_secs(10);
/// A fault ends by itself so long after it was to, if nobody ends it.
pub(super) const GUARD: Duration = Duration::from_secs(10);

/// Why a node is drained by a drill. One that is drained otherwise stays so.
pub(super) const DRAINED: &str = "a drill";

/// The agents of a cluster that others use.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) cluster: String,
    pub(super) doors: Vec<Door>,
    pub(super) lease: Duration,
    pub(super) token_file: Option<PathBuf>,
}

/// What the first agent says of its cluster.
#[derive(Default)]
struct Known {
    cluster: String,
    /// Who is of it, and where others dial it.
    members: BTreeMap<String, String>,
    lease: Duration,
}

impl Known {
    fn of(status: &Value) -> Self {
        let members = status["members"].as_array().map(Vec::as_slice).unwrap_or_default();
        let member = |one: &Value| (text(&one["name"]), text(&one["address"]));
        Self {
            cluster: text(&status["cluster"]),
            members: members.iter().map(member).collect(),
            lease: Duration::from_millis(status["lease_ms"].as_u64().unwrap_or_default()),
        }
    }
}

impl Live {
    /// Asks who the cluster is. All of its agents must be named, and let themselves be drilled.
    pub(super) async fn look(agents: &[String], token_file: Option<&Path>) -> Result<Self, Fail> {
        let mut doors = doors(agents, token_file)?;
        let mut known: Option<Known> = None;
        for door in &mut doors {
            let Some((200, status)) = door.ask("GET", "/v1/status", "", WITHIN).await else {
                return Err(refused(format!("{} does not answer", door.http)));
            };
            door.name = text(&status["node"]);
            let (cluster, name) = (text(&status["cluster"]), &door.name);
            if status["drill"] != true {
                let why = format!("{name} does not let itself be drilled");
                let next =
                    "start it with --allow-drill, or with `[drill] allow = true` in its file";
                return Err(refused(why).next(next));
            }
            if status["quorate"] != true {
                return Err(refused(format!("{name} is not quorate: heal the cluster first")));
            }
            let known = known.get_or_insert_with(|| Known::of(&status));
            if known.cluster != cluster {
                let first = &known.cluster;
                return Err(refused(format!(
                    "{name} is of the cluster {cluster}, others of {first}"
                )));
            }
            door.mesh = known.members.get(name).cloned().unwrap_or_default();
        }
        let Known { cluster, members, lease } = known.unwrap_or_default();
        if let Some(missing) =
            members.keys().find(|member| doors.iter().all(|door| door.name != **member))
        {
            let why = format!("{missing} is of the cluster, too, and was not named");
            return Err(refused(why).next("name all of its agents behind --on"));
        }
        doors.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self { cluster, doors, lease, token_file: token_file.map(Path::to_owned) })
    }

    /// What would be done, for whoever has to say that this is meant.
    pub(super) fn plan(&self, script: &Script) -> String {
        let names: Vec<&str> = self.doors.iter().map(|door| door.name.as_str()).collect();
        let mut told = format!("cluster {}: {}\n", self.cluster, names.join(", "));
        for (nth, step) in script.steps.iter().enumerate() {
            let (who, what) = (step.who.word(), step.deed.word());
            told += &match step.deed.is_order() || step.deed == Deed::Drain {
                true => format!("{:3}  {what} {who}\n", nth + 1),
                false => format!(
                    "{:3}  {what} {who} for {:?}; by itself it ends {:?} later at the latest\n",
                    nth + 1,
                    step.lasts,
                    GUARD
                ),
            };
        }
        told + "     drill/one, drill/two, drill/lock, and names that begin with drill-: taken out after it\n"
    }

    /// Whether what the drill puts in is free to be used, and no node drained, which a drill would undo.
    pub(super) async fn is_free(&self) -> Done {
        for (name, path) in put_in() {
            match self.doors[0].ask("GET", &path, "", WITHIN).await {
                Some((404, _)) => {}
                Some((200, _)) => {
                    let why =
                        format!("{name} is there already, and a drill would quarrel about it");
                    return Err(refused(why).next(match SINGLETONS.contains(&&*name) {
                        true => format!("if a drill left it: quorate singleton forget {name}"),
                        false => "if a drill left it, it ends with its lease".to_owned(),
                    }));
                }
                _ => return Err(refused(format!("nobody says whether {name} is there"))),
            }
        }
        let Some(Drained { nodes, .. }) = drained(&self.doors).await else {
            return Err(refused("nobody says which nodes are drained"));
        };
        if let Some((name, why)) = nodes.first_key_value() {
            let next = format!("end that first: quorate node undrain {name}");
            return Err(refused(format!("{name} is drained ({why})")).next(&next));
        }
        Ok(())
    }

    /// Ends all faults, and takes out what a drill put in. Says what it could not.
    pub(super) async fn tidy(&self) {
        heal(&self.doors).await;
        // Singletons are offered until the sessions of who ran them are over.
        let until = now() + self.lease * 2 + PATIENCE;
        undrain(&self.doors, until).await;
        for (name, path) in put_in() {
            while !self.is_gone(&path).await {
                if now() > until {
                    output::talk(&format!("{name} is still there"));
                    break;
                }
                sleep(LOOK_AGAIN).await;
            }
        }
    }

    /// Takes something out, at whichever node sees to it; whether it is gone.
    async fn is_gone(&self, path: &str) -> bool {
        for door in &self.doors {
            if let Some((200..300 | 404, _)) = door.ask("DELETE", path, "", WITHIN).await {
                return true;
            }
        }
        false
    }
}

/// All that a drill puts in, and where it is found. Names come last: what clients had asked for when they
/// were ended may still be done.
fn put_in() -> impl Iterator<Item = (String, String)> {
    let ones = SINGLETONS.map(|name| (name.to_owned(), singletons::path(name)));
    let held = [LOCK.to_owned()].into_iter().chain(names().map(|name| name.to_string()));
    ones.into_iter().chain(held.map(|name| {
        let path = format!("/v1/names/{name}");
        (name, path)
    }))
}

/// Which nodes are drained and why, as a majority has it.
struct Drained<'a> {
    told: &'a Door,
    nodes: BTreeMap<String, String>,
}

/// None when nobody can say: what an agent in a minority knows may be long past.
async fn drained(doors: &[Door]) -> Option<Drained<'_>> {
    for door in doors {
        if let Some(nodes) = drained_by(door).await {
            return Some(Drained { told: door, nodes });
        }
    }
    None
}

async fn drained_by(door: &Door) -> Option<BTreeMap<String, String>> {
    let (_, status) = door.ask("GET", "/v1/status", "", WITHIN).await?;
    if status["quorate"] != true {
        return None;
    }
    let mut nodes = BTreeMap::new();
    for node in Known::of(&status).members.into_keys() {
        let path = format!("/v1/nodes/{node}/drain");
        match door.ask("GET", &path, "", WITHIN).await? {
            (200, shown) if shown["draining"] == true => {
                nodes.insert(node, text(&shown["why"]));
            }
            // Who takes no part any more is not drained either.
            (200 | 404, _) => {}
            _ => return None,
        }
    }
    Some(nodes)
}

/// Undrains what a drill has drained, and says so; whether it is sure that nothing of it is left.
async fn undrain(doors: &[Door], until: Time) -> bool {
    let mut undrained = BTreeSet::new();
    loop {
        let seen = drained(doors).await;
        let is_late = now() > until;
        if let Some(Drained { told, mut nodes }) = seen {
            nodes.retain(|_, why| why == DRAINED);
            if nodes.is_empty() {
                undrained.iter().for_each(|node| output::talk(&format!("{node} is undrained")));
                return true;
            }
            for node in nodes.into_keys() {
                if is_late {
                    output::talk(&format!("{node} is still drained: quorate node undrain {node}"));
                    continue;
                }
                // Whether it was done, the next look tells.
                let path = format!("/v1/nodes/{node}/undrain");
                let _ = told.ask("POST", &path, "{}", WITHIN).await;
                undrained.insert(node);
            }
        } else if is_late {
            output::talk(
                "none of these agents is quorate, so none says what a drill has drained: \
                 quorate drill stop once one is",
            );
        }
        if is_late {
            return false;
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// `quorate drill stop`: all faults first, about which nobody but each agent is asked; then what a majority
/// decides.
pub(super) async fn stop(agents: &[String], token_file: Option<&Path>) -> Done {
    let doors = doors(agents, token_file)?;
    let healed = heal(&doors).await;
    let mut all = true;
    for (door, healed) in doors.iter().zip(&healed) {
        all &= healed.is_some();
        let told = healed.map_or("no answer: what is wrong there ends by itself".to_owned(), |n| {
            format!("{n} faults ended")
        });
        output::line(&format!("{}  {told}", door.http))?;
    }
    let reached = doors.into_iter().zip(healed).filter(|(_, healed)| healed.is_some());
    let reached: Vec<Door> = reached.map(|(door, _)| door).collect();
    if !reached.is_empty() {
        all &= undrain(&reached, now() + PATIENCE).await;
    }
    if all { Ok(()) } else { Err(Fail::Exit(1)) }
}

/// Ends all faults of these agents; how many each of them had, if it answered.
async fn heal(doors: &[Door]) -> Vec<Option<u64>> {
    let mut healed = Vec::new();
    for door in doors {
        let answer = door.ask("DELETE", "/v1/drill/faults", "", WITHIN).await;
        healed.push(
            answer
                .filter(|(status, _)| *status == 200)
                .map(|(_, body)| body["healed"].as_u64().unwrap_or_default()),
        );
    }
    healed
}

fn doors(agents: &[String], token_file: Option<&Path>) -> Result<Vec<Door>, Fail> {
    let token: Option<Arc<str>> = token_file.map(secrets::read).transpose()?.map(Arc::from);
    let door = |agent: &String| {
        let http = checked(agent)?.replacen("http://", "", 1);
        let (name, mesh) = (String::new(), String::new());
        Ok(Door { name, http, mesh, token: token.clone() })
    };
    agents.iter().map(door).collect()
}

fn refused(why: impl Display) -> Fail {
    Fail::new(code::DRILL_FAILED, format!("nothing was done: {why}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
