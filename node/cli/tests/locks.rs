//! Commands that run while their name is held, and properties.

use crate::common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use common::{Place, eventually, json, lives, send, texts};
use rustix::process::Signal;

/// A command that says under which epoch it runs, and stays until it is ended.
const STAYS: &str = "echo $QUORATE_NAME $QUORATE_EPOCH $$ $QUORATE_SESSION $QUORATE_LEASE_MS; \
                     exec sleep 1000";

/// One that runs `STAYS` under a lock, and what it said.
fn locker(place: &Place, args: &[&str]) -> (Child, Vec<String>) {
    let mut all = args.to_vec();
    // However busy the machine is, it is asked for until there is an answer.
    all.extend(["--timeout", "60s", "--", "sh", "-c", STAYS]);
    let mut child =
        place.command(&all).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    let said = said.split_whitespace().map(str::to_owned).collect();
    (child, said)
}

#[test]
fn a_command_runs_while_its_lock_is_held_and_its_exit_code_is_its_own() {
    let place = Place::new();
    let _dev = place.dev(&["-n", "1"]);
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
        let output = place.settled(&["lock", "l/one", "--", "sh", "-c", script]);
        assert_eq!(output.status.code(), Some(code), "{script}: {:?}", texts(&output));
    }
    assert_eq!(place.settled(&["lock", "l/one", "--", "no-such-command"]).status.code(), Some(127));
    assert_eq!(place.settled(&["lock", "l/one", "--", "/"]).status.code(), Some(126));
    let nowhere = ["lock", "l/one", "--agent", "127.0.0.1:1", "--timeout", "1s", "--", "true"];
    assert_eq!(place.run(&nowhere).status.code(), Some(125));

    let (mut first, said) = locker(&place, &["lock", "l/one", "--ttl", "30s"]);
    let held = json(&place.sure(&["name", "lookup", "l/one", "-o", "json"]));
    assert_eq!(said[..2], ["l/one".to_owned(), held["epoch"].to_string()]);
    assert_eq!(said[3..], [held["session"].to_string(), "30000".to_owned()]);
    let refused = place.settled(&["lock", "l/one", "--try", "--", "true"]);
    assert_eq!(refused.status.code(), Some(124), "{:?}", texts(&refused));
    let late = place.settled(&["lock", "l/one", "--wait", "300ms", "--", "true"]);
    assert_eq!(late.status.code(), Some(124), "{:?}", texts(&late));

    // The next one waits, and has the lock as soon as the first one is ended by a signal.
    let waits = std::thread::scope(|scope| {
        let next = scope.spawn(|| place.settled(&["lock", "l/one", "--", "sh", "-c", "echo here"]));
        send(first.id() as i32, Signal::TERM);
        assert_eq!(first.wait().unwrap().code(), Some(143));
        next.join().unwrap()
    });
    assert_eq!(texts(&waits).0, "here\n");
    let inner: i32 = said[2].parse().unwrap();
    assert!(!lives(inner), "the command outlived its lock");
}

#[test]
fn a_command_is_ended_when_its_lock_is_lost_and_a_leader_stands_again() {
    let place = Place::new();
    let _dev = place.dev(&["-n", "1"]);
    let (mut locked, said) = locker(&place, &["lock", "l/lost", "--ttl", "20s"]);
    place.sure(&["name", "release", "l/lost"]);
    assert_eq!(locked.wait().unwrap().code(), Some(75));
    assert!(!lives(said[2].parse().unwrap()), "the command outlived its lock");

    let elect = ["elect", "l/lead", "--value", "me", "--ttl", "20s"];
    let (mut leader, said) = locker(&place, &elect);
    let held = json(&place.sure(&["name", "lookup", "l/lead", "-o", "json"]));
    assert_eq!((held["epoch"].to_string(), &held["value"]), (said[1].clone(), &"me".into()));
    assert_eq!((held["session"].to_string(), "20000"), (said[3].clone(), said[4].as_str()));
    place.sure(&["name", "release", "l/lead"]);
    eventually("it leads again", || {
        let found = place.run(&["name", "lookup", "l/lead", "-o", "json"]);
        found.status.success() && json(&texts(&found).0)["epoch"] != held["epoch"]
    });
    send(leader.id() as i32, Signal::TERM);
    assert_eq!(leader.wait().unwrap().code(), Some(143));
}

#[test]
fn many_say_something_under_one_key_and_it_goes_with_their_sessions() {
    let place = Place::new();
    let _dev = place.dev(&["-n", "1"]);
    let set = ["property", "set", "p/port", "--ttl", "1h", "-o", "json", "--meta", "zone=a", "80"];
    let first = json(&place.sure(&set));
    let second =
        json(&place.sure(&["property", "set", "p/port", "81", "--ttl", "1h", "-o", "json"]));
    let session = first["session"].to_string();
    assert_ne!(first["session"], second["session"]);
    let said = json(&place.sure(&["property", "get", "p/port", "-o", "json"]));
    let values = |said: &serde_json::Value| -> Vec<String> {
        let said = said["properties"].as_array().unwrap();
        said.iter().map(|one| one["value"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&said), ["80", "81"]);
    let near = place.sure(&["property", "list", "p/", "--labels", "zone=a", "-o", "json"]);
    assert_eq!(values(&json(&near)), ["80"]);
    // Only what was seen is replaced.
    let version = first["version"].to_string();
    let again = |version: &str, value: &str| {
        let set = ["property", "set", "p/port", value, "--session", &session];
        place.settled(&[&set[..], &["--version", version, "--idempotency-key", value]].concat())
    };
    assert!(again(&version, "82").status.success());
    assert!(texts(&again(&version, "83")).1.contains("error[Q0310]"));
    place.sure(&["property", "delete", "p/port", "--session", &session]);
    let said = json(&place.sure(&["property", "get", "p/port", "-o", "json"]));
    assert_eq!(values(&said), ["81"]);
    assert_eq!(place.run(&["property", "set", "p/port", "x"]).status.code(), Some(2));
}
