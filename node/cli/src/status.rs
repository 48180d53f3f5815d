//! How the cluster is, in one screen; who takes part; who leads.

use quorate_http::code;
use serde_json::{Value, json};

use crate::args::View;
use crate::check::judge;
use crate::client::{Ask, Client};
use crate::fail::{Done, Fail};
use crate::output::{self, Column, Format, column, shown, wide};

const MEMBERS: &[Column] = &[
    column("NODE", |member| shown(&member["name"])),
    column("ROLE", |member| shown(&member["role"])),
    column("STATE", |member| shown(&member["state"])),
    column("LINKED", |member| shown(&member["linked"])),
    column("ADDRESS", |member| shown(&member["address"])),
    wide("ID", |member| shown(&member["id"])),
    // The last, and not in the screen: only the leader knows it.
    wide("LAG", |member| shown(&member["lag"])),
];

/// `quorate status`
pub(crate) fn status(view: &View) -> Done {
    let status = ask(view)?;
    match view.output.format {
        Format::Table | Format::Wide => screen(&status, view.output.format == Format::Wide),
        Format::Name => output::line(&shown(&status["node"])),
        format => output::one(format, &status, &[]),
    }
}

/// `quorate members`
pub(crate) fn members(view: &View) -> Done {
    let document = Client::new(&view.reach)?.ask(&Ask::get("/v1/members"))?.body;
    let none = Vec::new();
    let members = document["members"].as_array().unwrap_or(&none);
    output::many(view.output.format, &document, members, MEMBERS)
}

/// `quorate leader show`
pub(crate) fn leader(view: &View) -> Done {
    let status = ask(view)?;
    let by = shown(&status["node"]);
    // A node that no majority stands behind knows only who led last, be it itself.
    if status["quorate"] != true || !status["leader"].is_string() {
        let last = match status["leader"].as_str() {
            Some(leader) => format!("the last was {leader} in term {}", shown(&status["term"])),
            None => "it knows of none".to_owned(),
        };
        let age = age_of(&status);
        let detail = format!("{by} has no majority behind it; {last}; {age}");
        return Err(Fail::new(code::NO_QUORUM, detail));
    }
    let body = json!({
        "name": status["leader"],
        "term": status["term"],
        "node": status["node"],
        "stale_ms": status["stale_ms"],
    });
    let columns = [
        column("LEADER", |body| shown(&body["name"])),
        column("TERM", |body| shown(&body["term"])),
        column("SAID BY", |body| shown(&body["node"])),
        column("MS OLD", |body| shown(&body["stale_ms"])),
    ];
    output::one(view.output.format, &body, &columns)
}

fn ask(view: &View) -> Result<Value, Fail> {
    Ok(Client::new(&view.reach)?.ask(&Ask::get("/v1/status"))?.body)
}

fn age_of(status: &Value) -> String {
    match status["stale_ms"].as_u64() {
        Some(ms) => format!("what it knows is {ms} ms old at most"),
        None => "it cannot say yet how old what it knows is".to_owned(),
    }
}

fn screen(status: &Value, all: bool) -> Done {
    let judgement = judge(status);
    let cell = |member: &str| shown(&status[member]);
    let voters = status["voters"].as_array().map_or(0, Vec::len);
    let leader = if status["quorate"] == true { "leader" } else { "last leader" };
    let mut text = format!(
        "{} · {leader} {} (term {}) · {voters} voters, may lose {} · {} names, {} sessions · index {}\n",
        judgement.health.word(),
        cell("leader"),
        cell("term"),
        judgement.spare,
        cell("names"),
        cell("sessions"),
        cell("index"),
    );
    text.push_str(&format!("said by {}; {}\n", cell("node"), age_of(status)));
    if let (Some(ahead), Some(error)) =
        (status["clock"]["ahead_ms"].as_f64(), status["clock"]["error_ms"].as_f64())
    {
        let opinion = shown(&status["clock"]["opinion"]);
        text.push_str(&format!(
            "its wall clock is {ahead:+.1}±{error:.1} ms ahead of the median: {opinion}\n"
        ));
    }
    if status["drill"] == true {
        text.push_str("it lets itself be drilled: whoever may write can put its doors wrong\n");
    }
    if let Some(members) = status["members"].as_array().filter(|members| !members.is_empty()) {
        text.push('\n');
        text.push_str(&output::table(all, members, &MEMBERS[..MEMBERS.len() - 1]));
    }
    if !judgement.problems.is_empty() {
        text.push_str("\nPROBLEMS\n");
        for (problem, remedy) in &judgement.problems {
            text.push_str(&format!("  {problem}: {remedy}\n"));
        }
    }
    output::bytes(text.as_bytes())
}
