//! Links: what this agent is linked to, the topology rules of the cluster, and what they say of two nodes.
//!
//! A file of rules is TOML, one `[[rule]]` after the other. Its words are the agent's: they go to it as they
//! are, so that the same hand that obeys rules also reads them.

use std::path::Path;

use quorate_http::code;
use serde_json::{Value, json};
use toml::Table;
use ureq::http::Method;

use crate::args::{LinksCommand, ReplaceRules, RulesCommand, View};
use crate::client::{Ask, Client, encoded};
use crate::fail::{Done, Fail};
use crate::names::consistency;
use crate::output::{self, Column, Format, column, shown, wide};

/// A file of rules is not longer: the agent takes less than this.
const FILE_BYTES_MAX: u64 = 256 * 1024;

const PATH: &str = "/v1/links/rules";

const LINKS: &[Column] = &[
    column("PEER", |link| shown(&link["name"])),
    column("ROLE", |link| shown(&link["role"])),
    column("STANDING", |link| shown(&link["standing"])),
    column("CONTROL", |link| road(&link["control"])),
    column("DATA", |link| road(&link["data"])),
    column("RTT", |link| measure(link, |road| millis(&road["rtt_ms"]["p50"]))),
    column("CLOCK", |link| measure(link, ahead)),
    wide("LATE", |link| shown(&late(link))),
    column("LANES", lanes),
    wide("RATES", rates),
    column("ADDRESS", |link| shown(&link["address"])),
    wide("ID", |link| shown(&link["id"])),
    wide("EVIDENCE", |link| shown(&link["evidence"])),
];

const RULES: &[Column] = &[
    column("#", |rule| shown(&rule["number"])),
    column("VERDICT", |rule| shown(&rule["verdict"])),
    column("FROM", |rule| shown(&rule["from"])),
    column("TO", |rule| shown(&rule["to"])),
    column("LANES", lanes),
    column("RATES", rates),
];

const SET: &[Column] =
    &[column("VERSION", |set| shown(&set["version"])), column("RULES", |set| shown(&set["rules"]))];

/// Who opened a road, if it is open.
fn road(road: &Value) -> String {
    match (road["ours"].as_bool(), road["suspect"].as_bool()) {
        (None, _) => "-".to_owned(),
        (_, Some(true)) => "quiet".to_owned(),
        (Some(true), _) => "ours".to_owned(),
        (Some(false), _) => "theirs".to_owned(),
    }
}

/// How many round trips over either road took so long that something was probably lost.
fn late(link: &Value) -> Value {
    let of = |road: &str| link[road]["late"].as_u64().unwrap_or_default();
    (of("control") + of("data")).into()
}

/// What was measured over either road.
fn measure(link: &Value, of: impl Fn(&Value) -> Option<String>) -> String {
    of(&link["control"]).or_else(|| of(&link["data"])).unwrap_or_else(|| "-".to_owned())
}

fn millis(number: &Value) -> Option<String> {
    Some(format!("{:.2}ms", number.as_f64()?))
}

/// By how much the peer's wall clock is ahead of this node's, and how wrong that may be.
fn ahead(road: &Value) -> Option<String> {
    let (ahead, error) = (road["clock_ahead_ms"].as_f64()?, road["clock_error_ms"].as_f64()?);
    Some(format!("{ahead:+.1}±{error:.1}ms"))
}

/// `quorate links`
pub(crate) fn run(view: &View, command: Option<LinksCommand>) -> Done {
    let client = Client::new(&view.reach)?;
    let format = view.output.format;
    match command {
        None => list(&client, format),
        Some(LinksCommand::Explain { from, to, rules, local }) => {
            explain(&client, format, &from, &to, rules.as_deref(), local)
        }
        Some(LinksCommand::Rules { command }) => match command {
            RulesCommand::Show { local } => show(&client, format, local),
            RulesCommand::Set { file, replace } => set(&client, format, &read(&file)?, &replace),
            RulesCommand::Reset { replace } => set(&client, format, &json!([]), &replace),
        },
    }
}

fn list(client: &Client, format: Format) -> Done {
    let document = client.ask(&Ask::get("/v1/links"))?.with_age();
    output::many(format, &document, rows(&document["links"]), LINKS)
}

fn show(client: &Client, format: Format, local: bool) -> Done {
    let path = format!("{PATH}?consistency={}", consistency(local));
    let document = client.ask(&Ask::get(path))?.with_age();
    let numbered: Vec<Value> = (1..)
        .zip(rows(&document["rules"]))
        .map(|(number, rule): (u64, &Value)| {
            let mut rule = rule.clone();
            rule["number"] = number.into();
            // What `-o name` prints.
            rule["name"] = number.into();
            rule
        })
        .collect();
    output::many(format, &document, &numbered, RULES)?;
    if matches!(format, Format::Table | Format::Wide) {
        let what = if numbered.is_empty() { "no rules: everything is open" } else { "in force" };
        output::talk(&format!("version {}, {what}", shown(&document["version"])));
    }
    Ok(())
}

fn set(client: &Client, format: Format, rules: &Value, replace: &ReplaceRules) -> Done {
    let mut body = json!({ "rules": rules });
    if let Some(version) = replace.replace_version {
        body["replace_version"] = version.into();
    }
    let key = replace.idempotency_key.as_deref();
    let ask = Ask::write(Method::PUT, PATH, Some(&body), key);
    let mut set = client.ask(&ask)?.with_age();
    set["name"] = set["version"].clone();
    output::one(format, &set, SET)
}

fn explain(
    client: &Client,
    format: Format,
    from: &str,
    to: &str,
    rules: Option<&Path>,
    local: bool,
) -> Done {
    let ask = match rules {
        Some(file) => {
            let body = json!({ "from": from, "to": to, "rules": read(file)? });
            Ask::dry_run("/v1/links/explain", &body)
        }
        None => Ask::get(format!(
            "/v1/links/explain?from={}&to={}&consistency={}",
            encoded(from),
            encoded(to),
            consistency(local)
        )),
    };
    let document = client.ask(&ask)?.with_age();
    match format {
        Format::Table | Format::Wide => output::bytes(screen(&document).as_bytes()),
        _ => output::many(format, &document, rows(&document["ways"]), &[]),
    }
}

/// Both ways, rule by rule.
fn screen(document: &Value) -> String {
    let mut text = match document["version"].as_u64() {
        None => "under the rules of the file, which are not in force\n".to_owned(),
        Some(0) => "no rules were ever set\n".to_owned(),
        Some(version) => format!("under the rules in force, version {version}\n"),
    };
    let described = |name: &Value| {
        let party = rows(&document["nodes"]).iter().find(|party| party["name"] == *name);
        party.map_or_else(|| shown(name), described)
    };
    for way in rows(&document["ways"]) {
        text.push_str(&format!("\n{} -> {}\n", described(&way["from"]), described(&way["to"])));
        for passed in rows(&way["passed"]) {
            let line = [&passed["number"], &passed["text"], &passed["why"]].map(shown);
            text.push_str(&format!("  {:>3}  {}: passed over, {}\n", line[0], line[1], line[2]));
        }
        match &way["rule"] {
            Value::Null => text.push_str("       no rule fits: everything is open\n"),
            rule => {
                let line = [&rule["number"], &rule["text"]].map(shown);
                text.push_str(&format!("  {:>3}  {}: decides\n", line[0], line[1]));
            }
        }
        let lanes = if way["allowed"] == true { lanes(way) } else { "nothing".to_owned() };
        text.push_str(&format!("       open: {lanes}; rates: {}\n", rates(way)));
    }
    text.push_str("\ncontrol sessions to voters are never denied\n");
    text
}

/// A node and what rules see of it.
fn described(party: &Value) -> String {
    let labels = party["labels"].as_object().into_iter().flatten();
    let labels = labels.map(|(key, value)| shown(&format!("{key}={}", shown(value)).into()));
    let facts: Vec<String> = [shown(&party["role"])].into_iter().chain(labels).collect();
    format!("{} ({})", shown(&party["name"]), facts.join(", "))
}

/// Reads a file of rules, as far as that can be done without knowing what rules are.
fn read(file: &Path) -> Result<Value, Fail> {
    let name = file.display();
    let bad = |why: String| Fail::new(code::BAD_RULES, format!("{name}: {why}"));
    let doing = || format!("reading {name}");
    let length = std::fs::metadata(file).map_err(Fail::io(doing()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(bad(format!("it has {length} bytes, and may have {FILE_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(file).map_err(Fail::io(doing()))?;
    rules_of(&text).map_err(bad)
}

fn rules_of(text: &str) -> Result<Value, String> {
    let mut table: Table = text.parse().map_err(|e| format!("{e}"))?;
    let rules = table.remove("rule").unwrap_or_else(|| toml::Value::Array(Vec::new()));
    if let Some((key, _)) = table.iter().next() {
        return Err(format!("`{key}` is no key; each rule begins with [[rule]]"));
    }
    match serde_json::to_value(&rules) {
        Ok(rules) if rules.is_array() => Ok(rules),
        _ => Err("each rule begins with [[rule]], in double brackets".to_owned()),
    }
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The lanes that a rule names, or that are open.
fn lanes(of: &Value) -> String {
    match rows(&of["lanes"]) {
        [] => "-".to_owned(),
        all if all.len() == 3 => "all".to_owned(),
        some => some.iter().map(shown).collect::<Vec<_>>().join(","),
    }
}

/// The rates of lanes, as a cell.
fn rates(of: &Value) -> String {
    let rates = of["rates"].as_object().or_else(|| of["rate"].as_object());
    let rates: Vec<String> = rates
        .into_iter()
        .flatten()
        .map(|(lane, rate)| format!("{} {}", shown(&lane.as_str().into()), shown(rate)))
        .collect();
    if rates.is_empty() { "-".to_owned() } else { rates.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_rules_is_read_as_it_stands_and_nothing_besides() {
        let text = "# edges\n[[rule]]\nfrom = \"role:edge\"\nto = \"any\"\nverdict = \"deny\"\n\
                    lanes = [\"bulk\"]\n[[rule]]\nrate = { bulk = \"1MiB/s\" }\n";
        let rules = rules_of(text).unwrap();
        assert_eq!(
            (&rules[0]["from"], &rules[0]["lanes"]),
            (&json!("role:edge"), &json!(["bulk"]))
        );
        assert_eq!(rules[1], json!({ "rate": { "bulk": "1MiB/s" } }));
        assert_eq!(rules_of("").unwrap(), json!([]));
        for wrong in ["[rule]\nfrom = \"any\"", "[[rules]]\n", "rule = 7", "rule ="] {
            assert!(rules_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn both_ways_are_shown_rule_by_rule() {
        let document = json!({
            "version": 7,
            "nodes": [
                { "name": "n1", "role": "edge", "labels": { "zone": "a" } },
                { "name": "n2", "role": "voter", "labels": {} },
            ],
            "ways": [
                { "from": "n1", "to": "n2", "allowed": false, "lanes": [], "rates": {},
                  "rule": { "number": 2, "text": "deny any -> any" },
                  "passed": [{ "number": 1, "text": "deny any -> node:n3", "why": "to: the node is n2" }] },
                { "from": "n2", "to": "n1", "allowed": true, "lanes": ["high", "normal", "bulk"],
                  "rates": { "bulk": "1MiB/s" }, "rule": null, "passed": [] },
            ],
        });
        let expected = "\
under the rules in force, version 7

n1 (edge, zone=a) -> n2 (voter)
    1  deny any -> node:n3: passed over, to: the node is n2
    2  deny any -> any: decides
       open: nothing; rates: -

n2 (voter) -> n1 (edge, zone=a)
       no rule fits: everything is open
       open: all; rates: bulk 1MiB/s

control sessions to voters are never denied
";
        assert_eq!(screen(&document), expected);
    }
}
