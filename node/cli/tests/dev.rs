//! The first five minutes: a throw-away cluster, names on it, a dead leader, and nothing left behind.

use crate::common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use common::{Place, eventually, json, lives, send, texts};
use quorate_env::now;
use rustix::process::Signal;

#[test]
fn a_cluster_under_weather_is_as_far_apart_as_was_asked_for() {
    let place = Place::new();
    let dev = place.dev(&["--wan", "100ms,loss=0.1%"]);
    assert!(dev.banner.len() <= 12, "{:#?}", dev.banner);
    let wan = dev.banner.iter().find(|line| line.starts_with("wan")).unwrap();
    assert!(wan.contains("100ms, loss=0.1%") && wan.contains("lease 6 s"), "{wan}");
    let began = now();
    place.sure(&["name", "register", "far/away", "x", "--agent", dev.http("n1")]);
    // However busy the machine is: a majority is at least one other node.
    assert!(now().since(began) >= Duration::from_millis(100), "no majority was so near");
}

#[test]
fn a_cluster_comes_up_serves_survives_its_leader_and_leaves_nothing() {
    let place = Place::new();
    let mut dev = place.dev(&[]);
    assert!(dev.banner.len() <= 12, "{:#?}", dev.banner);
    assert_eq!(dev.nodes.len(), 3);
    assert_eq!(dev.banner.iter().filter(|line| line.ends_with("leader")).count(), 1);

    // Names: taken at one node, found at another, held against a third.
    let (one, three) = (dev.http("n1").to_owned(), dev.http("n3").to_owned());
    let taken =
        place.sure(&["name", "register", "web/primary", "http://a", "-o", "json", "--agent", &one]);
    let epoch = json(&taken)["epoch"].as_u64().unwrap();
    let found =
        json(&place.sure(&["name", "lookup", "web/primary", "-o", "json", "--agent", &three]));
    assert_eq!((found["epoch"].as_u64(), &found["value"]), (Some(epoch), &"http://a".into()));
    assert_eq!((&found["node"], &found["stale_ms"]), (&"n3".into(), &0.into()));
    let err = place.surely_bad(&["name", "register", "web/primary", "b"], 1, "Q0301");
    assert!(err.contains(&format!("epoch {epoch}")), "{err}");
    // A node that stood still for longer than its lease is missed until it has a session again.
    eventually("all is well", || {
        let check = place.run(&["check"]);
        check.status.success() && texts(&check).0 == "HEALTHY\n"
    });
    let status = json(&place.good(&["status", "-o", "json"]));
    assert_eq!(status["voters"], serde_json::json!(["n1", "n2", "n3"]));
    let members = place.good(&["members", "-o", "name"]);
    assert_eq!(members, "n1\nn2\nn3\n");

    // The leader dies. The others go on within seconds (on a machine that does nothing else, within one),
    // and forget nothing.
    let leader = place.sure(&["leader", "show", "-o", "name"]).trim().to_owned();
    send(dev.pid(&leader), Signal::KILL);
    let died = now();
    let rest: Vec<String> =
        dev.nodes.iter().filter(|node| node.0 != leader).map(|node| node.1.clone()).collect();
    place.sure(&["name", "register", "after/it", "x", "--agent", &rest[0]]);
    let found =
        json(&place.sure(&["name", "lookup", "after/it", "-o", "json", "--agent", &rest[1]]));
    assert!(now().since(died) < Duration::from_secs(30), "{:?}", now().since(died));
    assert!(found["epoch"].as_u64().unwrap() > epoch);
    let old = place.sure(&["name", "lookup", "web/primary", "-o", "json", "--agent", &rest[1]]);
    assert_eq!(json(&old)["epoch"], epoch);
    // Also for whoever names no agent, though the dead one may be the first that is known.
    place.sure(&["name", "lookup", "after/it"]);
    eventually("the dead node is missed", || place.run(&["check"]).status.code() == Some(1));

    dev.signal(Signal::INT);
    assert!(dev.child.wait().unwrap().success());
    for (name, _, pid) in &dev.nodes {
        assert!(!lives(*pid), "{name} outlived dev");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "something is left");
}

#[test]
fn the_nodes_die_with_a_dev_that_is_killed_and_the_next_one_tidies_up() {
    let place = Place::new();
    let mut dev = place.dev(&["-n", "1"]);
    dev.signal(Signal::KILL);
    dev.child.wait().unwrap();
    let pid = dev.nodes[0].2;
    eventually("the node dies", || !lives(pid));
    // What is written down of a dead cluster leads nobody astray.
    place.bad(&["status", "--timeout", "1s"], 1, "Q0101");
    let left = |place: &Place| {
        let names = std::fs::read_dir(place.path()).unwrap();
        names
            .filter(|name| {
                name.as_ref().unwrap().file_name().to_string_lossy().starts_with("quorate-dev-")
            })
            .count()
    };
    assert_eq!(left(&place), 1);
    let mut next = place.dev(&["-n", "1"]);
    assert_eq!(left(&place), 1, "the old directory is gone, the new one is there");
    next.signal(Signal::TERM);
    assert!(next.child.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_port_that_is_taken_is_told_with_the_flag_that_helps() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let err = place.bad(&["dev", "-n", "1", "--http-port", &port], 1, "Q0508");
    assert!(err.contains("Q0507") && err.contains("--http-port"), "{err}");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "something is left");
}

#[test]
fn data_and_logs_are_kept_when_asked_for() {
    let place = Place::new();
    let mut dev = place.dev(&["-n", "1", "--retain"]);
    dev.signal(Signal::INT);
    assert!(dev.child.wait().unwrap().success());
    let kept = std::fs::read_dir(place.path()).unwrap().next().unwrap().unwrap().path();
    assert!(kept.join("n1/node.id").exists() && kept.join("n1.log").exists());
}

#[test]
fn a_name_is_held_as_long_as_the_command_runs_and_watchers_see_it_come_and_go() {
    let place = Place::new();
    let _dev = place.dev(&["-n", "1"]);
    let mut watch = place
        .command(&["name", "watch", "h/", "-o", "jsonl"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told =
        BufReader::new(watch.stdout.take().unwrap()).lines().map(|line| json(&line.unwrap()));
    assert_eq!(told.next().unwrap()["event"], "synced");
    let mut hold = place
        .command(&["name", "register", "h/me", "here", "--hold"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once it says so, a signal ends it in order.
    let mut says = BufReader::new(hold.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(says.any(|line| line.starts_with("holding h/me ")), "it did not come to hold the name");
    let came = told.next().unwrap();
    assert_eq!((&came["event"], &came["name"]), (&"registered".into(), &"h/me".into()));
    assert!(came["session"].is_u64());
    place.surely_bad(&["name", "register", "h/me", "there"], 1, "Q0301");
    send(hold.id() as i32, Signal::TERM);
    assert!(hold.wait().unwrap().success());
    let went = told.next().unwrap();
    assert_eq!((&went["event"], &went["cause"]), (&"released".into(), &"session_ended".into()));
    place.surely_bad(&["name", "lookup", "h/me"], 1, "Q0303");

    // From an index on, nothing before it is told.
    place.sure(&["name", "register", "h/two"]);
    let two = told.next().unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();
    let from = went["index"].to_string();
    let mut again = place
        .command(&["name", "watch", "h/", "-o", "jsonl", "--from", &from])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(again.stdout.take().unwrap()).lines();
    assert_eq!(json(&told.next().unwrap().unwrap()), two);
    // A reader that has enough ends the watch, and that is no error.
    drop(told);
    place.sure(&["name", "release", "h/two"]);
    place.sure(&["name", "register", "h/three"]);
    assert!(again.wait().unwrap().success());
}

#[test]
fn names_are_shown_in_every_shape() {
    let place = Place::new();
    let _dev = place.dev(&["-n", "1"]);
    for name in ["l/a", "l/b"] {
        place.sure(&["name", "register", name, "v", "--meta", "zone=x"]);
    }
    assert_eq!(place.sure(&["name", "list", "l/", "-o", "name"]), "l/a\nl/b\n");
    let lines = place.good(&["name", "list", "l/", "-o", "jsonl", "--local"]);
    assert_eq!(lines.lines().map(json).filter(|held| held["meta"]["zone"] == "x").count(), 2);
    let all = json(&place.sure(&["name", "list", "-o", "json"]));
    assert_eq!(all["names"].as_array().unwrap().len(), 2);
    assert!(all["index"].is_u64());
    let table = place.sure(&["name", "list", "-o", "wide"]);
    assert!(table.starts_with("NAME") && table.contains("zone=x"), "{table}");
    let epoch = json(&place.sure(&["name", "lookup", "l/a", "-o", "json"]))["epoch"].to_string();
    place.surely_bad(&["name", "release", "l/a", "--epoch", "1"], 1, "Q0302");
    place.sure(&["name", "release", "l/a", "--epoch", &epoch]);
    // Done once under its key, however often it is run.
    let keyed = ["name", "register", "l/k", "--idempotency-key", "k-1", "-o", "json"];
    let first = json(&place.sure(&keyed));
    assert_eq!(json(&place.sure(&keyed))["epoch"], first["epoch"]);
    // A session that nobody renews ends; not before a busy machine has taken the name under it.
    place.sure(&["name", "register", "l/brief", "--ttl", "5s"]);
    eventually("the name is let go", || {
        texts(&place.run(&["name", "lookup", "l/brief"])).1.contains("error[Q0303]: ")
    });
    let refused = place.run(&["name", "register", "not a name"]);
    assert!(texts(&refused).1.contains("error[Q0201]"));
}
