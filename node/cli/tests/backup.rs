//! Backups and what is begun anew with them, and a directory that is recovered, as a user does it.

use crate::agent::Agent;
use crate::common;

use common::{Place, json, texts};

fn agent(place: &Place, data: &str) -> Agent {
    Agent::start(place, &["--name", "n1", "--expect", "1", "--lease", "10s", "--data", data], &[])
}

fn epoch(place: &Place, agent: &Agent) -> u64 {
    let found = place.sure(&["name", "lookup", "kept", "-o", "json", "--agent", &agent.1]);
    json(&found)["epoch"].as_u64().unwrap()
}

#[test]
fn a_backup_is_saved_inspected_and_restored_and_a_recovered_directory_goes_on() {
    let place = Place::new();
    let first = agent(&place, "d");
    place.sure(&["name", "register", "kept", "here", "--agent", &first.1]);
    let before = epoch(&place, &first);
    let status = json(&place.sure(&["status", "-o", "json", "--agent", &first.1]));
    // A name may be there before the node itself takes part.
    common::eventually("the leader is behind by nothing", || {
        let members = json(&place.sure(&["members", "-o", "json", "--agent", &first.1]));
        members["members"][0]["lag"] == 0
    });

    let saved = json(&place.sure(&["backup", "save", "b", "-o", "json", "--agent", &first.1]));
    let known = json(&place.good(&["backup", "inspect", "b", "-o", "json"]));
    assert_eq!(known, saved);
    assert_eq!((&known["names"], &known["cluster"]), (&1.into(), &status["cluster"]));
    assert_eq!((&known["by"], &known["nodes"]), (&"n1".into(), &1.into()));
    place.bad(&["backup", "save", "b", "--agent", &first.1], 1, "Q0512");
    // A directory that somebody lives in is refused, running or not.
    place.bad(&["backup", "restore", "b", "--data", "d"], 1, "Q0521");
    place.bad(&["recover", "--data", "d"], 1, "Q0521");
    first.stop();
    let refused = place.bad(&["backup", "restore", "b", "--data", "d"], 1, "Q0521");
    assert!(refused.contains("is the data directory of a node"), "{refused}");

    let anew = json(&place.good(&["backup", "restore", "b", "--data", "r", "-o", "json"]));
    assert_eq!(anew["generation"], 1);
    assert_ne!(anew["cluster"], status["cluster"]);
    let restored = agent(&place, "r");
    let after = epoch(&place, &restored);
    assert!(after > before);
    restored.stop();
    let above = after.to_string();
    let again = ["backup", "restore", "b", "--data", "r2", "--above-epoch", &above, "-o", "json"];
    assert_eq!(json(&place.good(&again))["generation"], 2);

    recover(&place, after);
}

/// The directory `r` goes on, as what is left of a cluster.
fn recover(place: &Place, before: u64) {
    let looked = place.run(&["recover", "--data", "r"]);
    let (out, err) = texts(&looked);
    assert_eq!(looked.status.code(), Some(1), "{out}{err}");
    assert!(out.contains("HERE") && out.contains("LOST") && out.contains("1 names"), "{out}");
    assert!(err.contains("nothing was changed") && err.contains("--i-accept-loss"), "{err}");
    place.bad(&["recover", "--data", "r", "--i-accept-loss", "0"], 1, "Q0522");
    let looked = place.run(&["recover", "--data", "r", "-o", "json"]);
    let found = json(&texts(&looked).0);
    assert_eq!(found["other_voters"], serde_json::json!([]));
    let cluster = found["cluster"].as_str().unwrap();
    let args = ["recover", "--data", "r", "--i-accept-loss", cluster, "-o", "json"];
    let anew = json(&place.good(&args));
    assert_eq!(anew["generation"], 2);
    assert!(place.path().join(anew["former"].as_str().unwrap()).join("node.id").exists());
    let recovered = agent(place, "r");
    assert!(epoch(place, &recovered) > before);
    recovered.stop();
    place.bad(&["recover", "--data", "nowhere"], 1, "Q0521");
}

#[test]
fn a_backup_that_is_not_what_was_written_is_refused_by_name() {
    let place = Place::new();
    let agent = agent(&place, "d");
    place.sure(&["name", "register", "kept", "here", "--agent", &agent.1]);
    place.sure(&["backup", "save", "b", "--agent", &agent.1]);
    agent.stop();
    let whole = std::fs::read(place.path().join("b")).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut newer = whole.clone();
    newer[8] = 9;
    let cut = whole[..whole.len() - 20].to_vec();
    for (bytes, told) in [
        (flipped, "damaged at byte"),
        (cut, "damaged at byte"),
        (newer, "has format 9"),
        (b"dear reader, this is a thesis".to_vec(), "no backup of quorate"),
    ] {
        std::fs::write(place.path().join("x"), bytes).unwrap();
        let err = place.bad(&["backup", "inspect", "x"], 1, "Q0520");
        assert!(err.contains(told), "{err}");
        assert_eq!(
            err.contains("by n1"),
            told == "damaged at byte",
            "a whole head is shown: {err}"
        );
        place.bad(&["backup", "restore", "x", "--data", "r"], 1, "Q0520");
        assert!(!place.path().join("r").exists(), "nothing was begun");
    }
    place.bad(&["backup", "inspect", "nowhere"], 1, "Q0511");
}
