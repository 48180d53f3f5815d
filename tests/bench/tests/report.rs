//! The program as its users run it, on rows so small that their figures say nothing.

use std::process::{Command, Output};

use serde_json::Value;

fn bench(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-bench"));
    command.arg("actors").args(args).output().expect("the program starts")
}

#[test]
fn the_document_has_what_readers_of_it_rely_on() {
    let run =
        bench(&["--row", "ping-pong", "--row", "call", "--n", "500", "--runs", "3", "--json"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let document: Value = serde_json::from_slice(&run.stdout).expect("it is JSON");
    assert!(document["machine"]["cores"].as_u64() >= Some(1));
    assert_eq!(document["failed"], serde_json::json!([]));
    let rows = document["rows"].as_array().expect("rows are a list");
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(row["row"].is_string() && row["goal"].is_number(), "{row}");
        assert_eq!((&row["unit"], &row["better"]), (&"1/s".into(), &"higher".into()), "{row}");
        assert!(row["peers"]["tokio"].as_f64() > Some(0.0), "{row}");
        let at = |index: usize| row["ours_range"][index].as_f64().expect("it has two ends");
        let ours = row["ours"].as_f64().expect("it has a median");
        assert!(at(0) <= ours && ours <= at(1) && ours > 0.0, "{row}");
    }
}

#[test]
fn a_probe_to_be_counted_from_outside_says_nothing() {
    for probe in ["spawn", "ping-pong", "one-way", "call", "ring", "call/tokio"] {
        let run = bench(&["--callgrind", probe, "--n", "2000"]);
        assert!(run.status.success() && run.stdout.is_empty(), "{probe}: {run:?}");
    }
    assert!(!bench(&["--callgrind", "spawn"]).status.success(), "how many must be said");
}
