//! Drills from the command line, on clusters of real processes.
//!
//! Whether all was calm again in time, a busy machine decides as well; so of a verdict only those checks are
//! asserted that no machine excuses.

use crate::common;

use common::{Dev, Place, json, texts};
use rustix::process::Signal;
use serde_json::Value;

/// Runs a drill whose exit code may be that of something late, and gives its story.
fn story(place: &Place, drill: &str, more: &[&str]) -> Value {
    let args = [&["drill", "run", drill, "--seed", "7", "-o", "json"], more].concat();
    let output = place.run(&args);
    let (out, err) = texts(&output);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{out}{err}");
    let story = json(&out);
    let checks = story["checks"].as_array().unwrap();
    let passed = checks.iter().all(|check| check["passed"] == true);
    assert_eq!(output.status.code(), Some(i32::from(!passed)), "{checks:#?}");
    for what in ["one owner at a time", "names", "late writes", "calls"] {
        let check = checks.iter().find(|check| check["what"] == what).unwrap();
        assert_eq!(check["passed"], true, "{check}");
    }
    // A cluster that others use has neither.
    let (letters, replicas) = (&story["letters"], &story["replicas"]);
    assert_eq!(letters["wrongs"].as_array().map_or(0, Vec::len), 0, "{letters}");
    assert!(letters.is_null() || letters["arrived"].as_u64().unwrap() > 0, "{letters}");
    assert!(replicas["parties"].as_array().is_none_or(|all| all.len() <= 1), "{replicas}");
    assert!(err.contains("again: quorate drill run"), "{err}");
    story
}

fn write(place: &Place, name: &str, text: &str) -> String {
    let path = place.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_drills_are_listed_and_a_wrong_word_is_answered_with_the_nearest() {
    let place = Place::new();
    let names = place.good(&["drill", "list", "-o", "name"]);
    assert_eq!(names.lines().count(), 24);
    assert!(names.contains("partition-owner\n") && names.contains("churn\n"));
    let err = place.bad(&["drill", "run", "partition-onwer"], 2, "Q0501");
    assert!(err.contains("`partition-owner`"), "{err}");
    let file = write(&place, "mine.toml", "[[step]]\ndo = 'kil'\n");
    let err = place.bad(&["drill", "run", &file], 2, "Q0501");
    assert!(err.contains("mine.toml") && err.contains("is it `kill`?"), "{err}");
}

#[test]
fn an_owner_that_is_killed_and_one_that_is_cut_off_have_one_heir_each_and_a_page_shows_it() {
    let place = Place::new();
    let file = write(
        &place,
        "mine.toml",
        "about = 'two heirs'\n\
         [[step]]\ndo = 'kill'\nwho = 'owner'\nlasts = '4s'\nrest = '200ms'\n\
         [[step]]\ndo = 'cut'\nwho = 'owner'\nlasts = '4s'\nrest = '200ms'\n",
    );
    let page = place.path().join("page.html");
    let story = story(&place, &file, &["--report", page.to_str().unwrap()]);
    let turns = story["turns"].as_array().unwrap();
    let of_one = turns.iter().filter(|turn| turn["name"] == "drill/one");
    assert!(of_one.count() >= 3, "{turns:#?}");
    let done = story["done"].as_array().unwrap();
    assert_eq!((&done[0]["deed"], &done[1]["deed"]), (&"kill".into(), &"cut".into()));
    let stale = story["stale"].as_array().unwrap();
    assert!(stale.iter().any(|stale| stale["refused"] == true), "{stale:#?}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("two heirs") && page.ends_with("</html>\n"));
    let left = std::fs::read_dir(place.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "beside script and page: {left:?}");
}

#[test]
fn what_was_acknowledged_outlives_the_power_of_all_and_what_was_saved_the_data_of_all() {
    let place = Place::new();
    let file = write(
        &place,
        "mine.toml",
        "forgetful = true\n\
         [[step]]\ndo = 'kill'\nwho = 'all'\nlasts = '500ms'\nrest = '500ms'\n\
         [[step]]\ndo = 'restore'\nwho = 'all'\nrest = '500ms'\n",
    );
    let story = story(&place, &file, &[]);
    assert_eq!(story["done"].as_array().unwrap().len(), 2, "{}", story["done"]);
}

fn agents(dev: &Dev) -> String {
    ["n1", "n2", "n3"].map(|node| dev.http(node).to_owned()).join(",")
}

fn run<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["drill", "run"], more].concat()
}

fn status(place: &Place, agent: &str) -> Value {
    json(&place.good(&["status", "--agent", agent, "-o", "json"]))
}

#[test]
fn a_cluster_that_others_use_is_drilled_only_if_all_of_it_agrees_and_just_it_is_meant() {
    let place = Place::new();
    let dev = place.dev(&["--allow-drill"]);
    let all = agents(&dev);
    let cluster = status(&place, dev.http("n1"))["cluster"].as_str().unwrap().to_owned();

    let err = place.bad(&run(&["kill-owner", "--on", &all]), 2, "Q0501");
    assert!(err.contains("are not harmed"), "{err}");
    let err = place.bad(&run(&["partition-owner", "--on", dev.http("n1")]), 1, "Q0514");
    assert!(err.contains("n2 is of the cluster, too"), "{err}");
    let err = place.bad(&run(&["partition-owner", "--on", &all]), 2, "Q0501");
    assert!(err.contains("cut owner for 5s; by itself it ends 10s later"), "the plan: {err}");
    assert!(err.contains(&format!("--i-mean {cluster}")), "{err}");
    let err =
        place.bad(&run(&["partition-owner", "--on", &all, "--i-mean", "another"]), 2, "Q0501");
    assert!(err.contains("nothing was done"), "{err}");
    place.good(&["name", "register", "drill-3", "mine", "--agent", dev.http("n1")]);
    let err = place.bad(&run(&["partition-owner", "--on", &all, "--i-mean", &cluster]), 1, "Q0514");
    assert!(err.contains("drill-3 is there already"), "{err}");
    place.good(&["name", "release", "drill-3", "--agent", dev.http("n1")]);

    let file = write(&place, "mine.toml", "[[step]]\ndo = 'cut'\nlasts = '3s'\nrest = '100ms'\n");
    let story = story(&place, &file, &["--on", &all, "--i-mean", &cluster]);
    assert_eq!(story["done"][0]["deed"], "cut");
    assert!(story["turns"].as_array().unwrap().len() >= 3, "{}", story["turns"]);
    // Nothing of it is left.
    let left = status(&place, dev.http("n2"));
    assert_eq!((&left["names"], &left["singletons"]["here"]), (&0.into(), &0.into()), "{left}");
    let out = place.good(&["drill", "stop", "--on", &all]);
    assert_eq!(out.matches("  0 faults ended").count(), 3, "{out}");
    assert_eq!(place.good(&["singleton", "list", "-o", "name", "--agent", dev.http("n1")]), "");
    dev.signal(Signal::INT);
}

#[test]
fn an_agent_that_allows_no_drill_is_left_alone() {
    let place = Place::new();
    let dev = place.dev(&[]);
    let err = place.bad(&["drill", "run", "drain", "--on", &agents(&dev)], 1, "Q0514");
    assert!(err.contains("n1 does not let itself be drilled"), "{err}");
    let out = place.run(&["drill", "stop", "--on", "127.0.0.1:9"]);
    assert_eq!(out.status.code(), Some(1));
    dev.signal(Signal::INT);
}

#[test]
fn a_drill_of_a_cluster_that_others_use_is_stopped_by_a_signal_and_leaves_nothing_wrong() {
    let place = Place::new();
    let dev = place.dev(&["--allow-drill"]);
    let all = agents(&dev);
    let nodes = ["n1", "n2", "n3"];
    let cluster = status(&place, dev.http("n1"))["cluster"].as_str().unwrap().to_owned();
    let get = |node: &str, path: &str| {
        let http = dev.http(node).trim_start_matches("http://");
        let url = format!("http://{http}{path}");
        json(&ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap())
    };
    let is_cut =
        |node: &str| !get(node, "/v1/drill/faults")["faults"].as_array().unwrap().is_empty();
    let is_drained = |node: &str| get(node, &format!("/v1/nodes/{node}/drain"))["draining"] == true;
    type IsWrong<'a> = &'a dyn Fn(&str) -> bool;
    for (deed, is_wrong) in [("cut", &is_cut as IsWrong<'_>), ("drain", &is_drained)] {
        let file = write(&place, "mine.toml", &format!("[[step]]\ndo = '{deed}'\nlasts = '60s'\n"));
        let args = ["drill", "run", &file, "--on", &all, "--i-mean", &cluster];
        let mut drill = place.command(&args).spawn().unwrap();
        common::eventually(deed, || nodes.iter().any(|node| is_wrong(node)));
        common::send(drill.id() as i32, Signal::INT);
        assert!(!drill.wait().unwrap().success());
        // The second one would be refused if anything of the first were left.
        assert!(!nodes.iter().any(|node| is_wrong(node)), "{deed}");
    }

    // One that could undo nothing itself is undone by the button, and only what was its.
    let drain = |node: &str, why: &str| {
        place.good(&["node", "drain", node, "-m", why, "--agent", dev.http("n1")]);
        assert!(is_drained(node), "{node}");
    };
    drain("n1", "a new disk");
    drain("n2", "a drill");
    // One agent that is quorate knows of all.
    let stopped = place.run(&["drill", "stop", "--on", dev.http("n3")]);
    let (out, err) = texts(&stopped);
    assert!(stopped.status.success() && err.contains("n2 is undrained"), "{out}{err}");
    common::eventually("only n1 is drained", || nodes.map(is_drained) == [true, false, false]);
    let err = place.bad(&["drill", "run", "drain", "--on", &all, "--i-mean", &cluster], 1, "Q0514");
    assert!(err.contains("n1 is drained (a new disk)"), "{err}");

    // Faults end in a minority, too; but nobody there can say who is drained.
    for node in ["n2", "n3"] {
        common::send(dev.pid(node), Signal::STOP);
    }
    common::eventually("n1 is alone", || get("n1", "/v1/status")["quorate"] == false);
    let alone = place.run(&["drill", "stop", "--on", dev.http("n1")]);
    for node in ["n2", "n3"] {
        common::send(dev.pid(node), Signal::CONT);
    }
    let (out, err) = texts(&alone);
    assert!(out.contains("  0 faults ended"), "{out}");
    assert!(err.contains("none of these agents is quorate"), "{err}");
    assert_eq!(alone.status.code(), Some(1));
    dev.signal(Signal::INT);
}
