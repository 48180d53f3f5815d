//! What this machine finds when it looks for other nodes, and what to do about what it does not find.
//!
//! No agent is asked and none is told: the doctor looks by itself, with the same sources that an agent uses,
//! and knocks at every address that they name. It does not say who is there; that takes the cookie.

use std::time::Duration;

use quorate_discovery::{Address, Asker, Explanation, Spec, survey};
use quorate_env::Tcp;
use quorate_http::code;
use serde_json::{Value, json};

use crate::agent::small_runtime;
use crate::args::Output;
use crate::fail::{Done, Fail};
use crate::output::{self, Column, Format, column, shown, wide};
use crate::span;

const SOURCES: &[Column] = &[
    column("SOURCE", |source| shown(&source["spec"])),
    column("STATE", |source| shown(&source["state"])),
    column("FOUND", |source| shown(&source["found"])),
    wide("LEFT OUT", |source| shown(&source["left_out"])),
    column("DETAIL", |source| shown(&source["error"])),
];

const CANDIDATES: &[Column] = &[
    column("ADDRESS", |candidate| shown(&candidate["name"])),
    column("VERDICT", |candidate| shown(&candidate["verdict"])),
    column("WHY", |candidate| shown(&candidate["why"])),
    column("SOURCES", |candidate| {
        let sources = candidate["sources"].as_array().map_or(&[][..], Vec::as_slice);
        sources.iter().map(shown).collect::<Vec<_>>().join(" ")
    }),
];

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Look once for other nodes; exit 1 if a source fails or nobody answers anywhere
    Discovery(Discovery),
}

#[derive(clap::Args)]
pub(crate) struct Discovery {
    /// Where to look, as for `quorate agent`: HOST:PORT, dns://, dns+srv://, file://, hosts-erlang://,
    /// env://, k8s://, consul://, gossip://, exec://, http(s)://
    #[arg(
        long,
        value_name = "WHERE",
        value_delimiter = ',',
        required = true,
        env = "QUORATE_JOIN"
    )]
    join: Vec<String>,
    /// The address of the node that would look, which is then known as itself
    #[arg(long, value_name = "ADDR", env = "QUORATE_ADVERTISE")]
    advertise: Option<String>,
    /// All of it takes no longer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = span::parse)]
    timeout: Duration,
    #[command(flatten)]
    output: Output,
}

/// `quorate doctor`
pub(crate) fn run(command: &Command) -> Done {
    match command {
        Command::Discovery(args) => discovery(args),
    }
}

fn discovery(args: &Discovery) -> Done {
    let bad = |why: String| Fail::new(code::BAD_SETTING, why);
    let specs = Spec::parse_all(&args.join).map_err(|e| bad(format!("join: {e}")))?;
    let own = args.advertise.as_deref().map(Address::parse).transpose();
    let own = own.map_err(|e| bad(format!("advertise: {e}")))?;
    let found = small_runtime()?.block_on(async {
        // Without an address nobody is made known to others.
        survey(&specs, &Asker::default(), &Tcp, args.timeout).await
    });
    let report = Report::of(&found, own.as_ref());
    report.print(args.output.format)?;
    if report.problems.is_empty() { Ok(()) } else { Err(Fail::Exit(1)) }
}

/// What was found, as it is printed.
struct Report {
    sources: Vec<Value>,
    candidates: Vec<Value>,
    /// Pairs of a problem and its remedy.
    problems: Vec<(String, String)>,
}

impl Report {
    fn of(found: &Explanation, own: Option<&Address>) -> Self {
        let mut problems = Vec::new();
        let mut sources = Vec::new();
        for source in &found.sources {
            let error = source.last_error.as_ref().map(|(_, why)| why);
            let state = match (error, source.found) {
                (Some(_), _) => "fails",
                (None, 0) => "empty",
                (None, _) => "answers",
            };
            if let Some(why) = error {
                problems.push((format!("{} fails", source.spec), remedy(&source.spec, why)));
            } else if source.found == 0 {
                let remedy = "look whether the name is right and any node is listed there yet";
                problems.push((format!("{} knows nobody", source.spec), remedy.to_owned()));
            }
            if source.left_out > 0 {
                let what = format!("{} names {} more than are held", source.spec, source.left_out);
                problems.push((what, "name fewer; a few that live are enough".to_owned()));
            }
            sources.push(json!({
                "spec": source.spec, "state": state, "found": source.found,
                "left_out": source.left_out, "error": error,
            }));
        }
        let mut candidates = Vec::new();
        let mut answering = 0;
        for candidate in &found.candidates {
            let is_own = own == Some(&candidate.address);
            let (verdict, why) = match is_own {
                true => ("self", "it is this node".to_owned()),
                false => (candidate.verdict.word(), candidate.verdict.to_string()),
            };
            answering += usize::from(!is_own && candidate.verdict.is_usable());
            candidates.push(json!({
                "name": candidate.address.as_str(), "verdict": verdict, "why": why,
                "used": !is_own && candidate.verdict.is_usable(), "sources": candidate.sources,
            }));
        }
        if answering == 0 {
            let remedy = "start another agent, or let its port through; `--listen` on loopback is reached \
                          from its own machine alone";
            problems.push(("nobody answers at any address".to_owned(), remedy.to_owned()));
        }
        Self { sources, candidates, problems }
    }

    fn print(&self, format: Format) -> Done {
        let Self { sources, candidates, problems } = self;
        match format {
            Format::Table | Format::Wide => {
                let all = format == Format::Wide;
                let mut text = output::table(all, sources, SOURCES);
                if !candidates.is_empty() {
                    text.push('\n');
                    text.push_str(&output::table(all, candidates, CANDIDATES));
                }
                if !problems.is_empty() {
                    text.push_str("\nPROBLEMS\n");
                }
                for (problem, remedy) in problems {
                    text.push_str(&format!("  {problem}: {remedy}\n"));
                }
                output::bytes(text.as_bytes())
            }
            format => {
                let problems = problems
                    .iter()
                    .map(|(problem, remedy)| json!({ "problem": problem, "remedy": remedy }));
                let problems: Vec<Value> = problems.collect();
                let document = json!({
                    "sources": sources, "candidates": candidates, "problems": problems,
                });
                output::many(format, &document, candidates, CANDIDATES)
            }
        }
    }
}

/// What to do about a source that fails.
fn remedy(spec: &str, why: &str) -> String {
    let hint = match spec.split_once("://").map_or("", |(scheme, _)| scheme) {
        "file" | "hosts-erlang" => "make it readable for this user, one address a line",
        "env" => "set it to a list of HOST:PORT in the environment of the agent",
        "dns" | "dns+srv" => "ask the same with dig, and compare the servers in /etc/resolv.conf",
        "k8s" => {
            "let the pod's account list and watch endpointslices (discovery.k8s.io) in that namespace"
        }
        "consul" => "look whether Consul's agent runs there and the token may read the service",
        "gossip" => {
            "look at the secret, and whether the network carries multicast; if not, name peers"
        }
        "exec" => "run it by hand as this user",
        _ => "fetch it by hand from this machine",
    };
    format!("{why}; {hint}")
}

#[cfg(test)]
mod tests {
    use quorate_discovery::{CandidateReport, SourceReport, Verdict};

    use super::*;

    #[test]
    fn each_problem_has_a_remedy_and_a_sound_view_has_none() {
        let source = |spec: &str, found: usize, error: Option<&str>| SourceReport {
            spec: spec.to_owned(),
            answers: 1,
            errors: 0,
            answered_ago: None,
            found,
            missing: 0,
            left_out: 0,
            last_error: error.map(|why| (Duration::ZERO, why.to_owned())),
            failing: error.is_some(),
        };
        let candidate = |verdict: Verdict| CandidateReport {
            address: Address::parse("n1:1").unwrap(),
            sources: vec!["addresses".to_owned()],
            missing: false,
            verdict,
        };
        let mut found = Explanation {
            sources: vec![source("addresses", 1, None)],
            candidates: vec![candidate(Verdict::Answers)],
        };
        assert_eq!(Report::of(&found, None).problems, []);
        let own = Address::parse("n1:1").unwrap();
        let alone = Report::of(&found, Some(&own));
        assert_eq!((&alone.candidates[0]["verdict"], alone.problems.len()), (&json!("self"), 1));
        found.sources.push(source("k8s://a/b", 0, Some("403 Forbidden")));
        found.sources.push(source("dns://a:1", 0, None));
        let problems = Report::of(&found, None).problems;
        assert!(problems[0].1.contains("endpointslices"), "{problems:?}");
        assert!(problems[1].0.contains("knows nobody"), "{problems:?}");
    }
}
