//! What a code means and what to do.

use quorate_http::{ALL, Code, by_name, code};
use serde_json::{Value, json};

use crate::fail::{Done, Fail};
use crate::output::{self, Format, column, shown};

/// `quorate explain [CODE]`
pub(crate) fn explain(name: Option<&str>, format: Format) -> Done {
    let Some(name) = name else {
        let all: Vec<Value> = ALL.iter().map(|code| object(code)).collect();
        let columns = [
            column("CODE", |code| shown(&code["name"])),
            column("OUTCOME", |code| shown(&code["outcome"])),
            column("TITLE", |code| shown(&code["title"])),
        ];
        return output::many(format, &json!({ "codes": all }), &all, &columns);
    };
    let known =
        by_name(name).ok_or_else(|| Fail::new(code::NO_SUCH_CODE, format!("{name} is none")))?;
    match format {
        Format::Table | Format::Wide => {
            let http = match known.status {
                0 => "never over HTTP".to_owned(),
                status => format!("HTTP {status}"),
            };
            let outcome = shown(&json!(known.outcome));
            output::line(&format!(
                "{}: {} ({http}, outcome {outcome})\n\n  state  {}\n  next   {}",
                known.name(),
                known.title,
                known.state,
                known.hint
            ))
        }
        format => output::one(format, &object(known), &[]),
    }
}

fn object(code: &Code) -> Value {
    json!({
        "name": code.name(),
        "title": code.title,
        "status": code.status,
        "outcome": code.outcome,
        "state": code.state,
        "hint": code.hint,
    })
}
