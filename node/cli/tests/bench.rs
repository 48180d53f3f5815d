//! `bench mesh` as a user runs it, on runs so short that their figures say nothing.

use crate::common;

use std::process::{Command, Output, Stdio};

use common::{Place, eventually, json, lives, send, texts};
use rustix::process::Signal;

/// Takes one probe of the shortest span, and gives its figures.
fn figures(place: &Place, probe: &str) -> Vec<f64> {
    // Not so large that a single one takes longer than the span.
    let short = ["bench", "mesh", "--seconds", "0.1", "--message-bytes", "262144"];
    let run = place.run(&[&short[..], &["--probe", probe]].concat());
    let (out, err) = texts(&run);
    assert!(run.status.success(), "{probe}: {out}{err}");
    out.lines().map(|line| line.parse().unwrap()).collect()
}

fn rows(place: &Place) -> Vec<String> {
    let listed = place.good(&["bench", "mesh", "--list", "-o", "name"]);
    listed.lines().map(str::to_owned).collect()
}

fn assert_empty(place: &Place) {
    let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn every_row_can_be_played_by_our_nodes_and_leaves_nothing() {
    let place = Place::new();
    for row in rows(&place) {
        let figures = figures(&place, &row);
        assert!(!figures.is_empty() && figures.iter().all(|figure| *figure >= 0.0), "{row}");
    }
    assert_empty(&place);
}

#[test]
fn every_row_with_a_peer_can_be_played_by_that_peer_too() {
    let place = Place::new();
    let erlang = ["erl", "erlc"]
        .iter()
        .all(|program| Command::new(program).arg("-version").stdin(Stdio::null()).output().is_ok());
    if !erlang {
        println!("erl's half is skipped: there is no `erl` on the PATH");
    }
    for row in rows(&place).iter().filter(|row| !["stream-control", "idle"].contains(&&***row)) {
        let ours = figures(&place, &format!("{row}/tcp")).len();
        assert!(ours > 0);
        if erlang && row != "stream-tls" {
            assert_eq!(figures(&place, &format!("{row}/erl")).len(), ours, "{row}");
        }
    }
    assert_eq!(figures(&place, "stream-ping/tcp, control apart").len(), 4);
    let unknown: Output = place.run(&["bench", "mesh", "--probe", "ping-pong/carrier pigeon"]);
    assert!(texts(&unknown).1.contains("there are tcp, erl"), "{unknown:?}");
    assert_empty(&place);
}

#[test]
fn the_document_has_what_readers_of_it_rely_on() {
    let place = Place::new();
    let measured = ["bench", "mesh", "--row", "ping-pong", "--seconds", "0.1", "-o", "json"];
    let document = json(&place.good(&measured));
    assert!(document["machine"]["cores"].as_u64() >= Some(1));
    assert_eq!(document["failed"], serde_json::json!([]));
    let names: Vec<_> =
        document["rows"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["ping-pong", "ping-pong-p50"]);
    for row in document["rows"].as_array().unwrap() {
        assert!(row["row"].is_string() && row["goal"].is_number(), "{row}");
        assert!(row["peers"]["tcp"].as_f64() > Some(0.0), "{row}");
        let at = |index: usize| row["ours_range"][index].as_f64().unwrap();
        let ours = row["ours"].as_f64().unwrap();
        assert!(at(0) <= ours && ours <= at(1) && ours > 0.0, "{row}");
    }
    assert_empty(&place);
}

#[test]
fn failover_has_a_row_for_each_way_and_loses_no_call() {
    let place = Place::new();
    let few = ["--moves", "3", "--drained", "20", "--lost", "40", "--data-dir", "."];
    let args = [&["bench", "failover", "-o", "json"], &few[..]].concat();
    let document = json(&place.good(&args));
    let rows = document["rows"].as_array().unwrap();
    let named: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    for way in ["planned move", "drain of a node", "loss of a node"] {
        assert!(named.iter().any(|name| name.starts_with(way)), "{way}: {named:?}");
    }
    let lost = rows.iter().find(|row| row["name"].as_str().unwrap().ends_with("lost_calls"));
    assert_eq!(lost.unwrap()["ours_range"], serde_json::json!([0.0, 0.0]));
    assert_empty(&place);
}

#[test]
fn a_far_process_ends_with_its_near_one_however_that_ends() {
    let place = Place::new();
    let dir = place.path().join("probe");
    let mut near = place
        .command(&["bench", "mesh", "--seconds", "600", "--probe", "idle", "--dir"])
        .arg(dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let near_pid = near.id() as i32;
    let mut far = None;
    eventually("the far process has started", || {
        far = child_of(near_pid);
        far.is_some()
    });
    let far = far.unwrap();
    send(near_pid, Signal::KILL);
    near.wait().unwrap();
    eventually("the far process has ended", || !lives(far));
}

/// A process that was started by another.
fn child_of(parent: i32) -> Option<i32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.into_iter().find(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name may hold anything; behind its last bracket come the state and the parent.
        let rest = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        rest.split(' ').nth(1).and_then(|word| word.parse().ok()) == Some(parent)
    })
}
