//! The doctor looks by itself: no agent runs here.

use crate::common;

use common::{Place, json, texts};

/// Where somebody listens, and where nobody does and nobody can begin to.
#[expect(clippy::disallowed_types, reason = "a client stands outside of every node")]
fn doors() -> (String, String, impl Sized) {
    let far = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let near = std::net::TcpStream::connect(far.local_addr().unwrap()).unwrap();
    let text = |at: std::net::SocketAddr| at.to_string();
    (text(far.local_addr().unwrap()), text(near.local_addr().unwrap()), (far, near))
}

#[test]
fn each_source_and_each_candidate_is_explained_and_exit_1_is_a_problem() {
    let place = Place::new();
    let (open, shut, _held) = doors();
    std::fs::write(place.path().join("nodes"), format!("{open} # ours\n{shut}\n")).unwrap();
    let sound = ["doctor", "discovery", "--join", "file://nodes", "--timeout", "60s"];
    let table = place.good(&sound);
    assert!(table.starts_with("SOURCE") && !table.contains("PROBLEMS"), "{table}");
    assert!(table.contains(&open) && table.contains("answers"), "{table}");
    assert!(table.contains("unreachable: "), "one dead node in a list is no problem: {table}");

    let join = format!("file://nodes,env://NOT_SET,{shut}");
    let args = ["doctor", "discovery", "--join", &join, "--advertise", &open, "--timeout", "60s"];
    let output = place.run(&args);
    assert_eq!(output.status.code(), Some(1));
    let table = texts(&output).0;
    assert!(table.contains("PROBLEMS") && table.contains("nobody answers"), "{table}");

    let output = place.run(&[&args[..], &["-o", "json"]].concat());
    let found = json(&texts(&output).0);
    assert_eq!(found["candidates"].as_array().unwrap().len(), 2);
    let candidate = |address: &str| {
        let candidates = found["candidates"].as_array().unwrap();
        candidates.iter().find(|one| one["name"] == address).unwrap().clone()
    };
    assert_eq!(candidate(&open)["verdict"], "self");
    assert_eq!(candidate(&shut)["verdict"], "unreachable");
    assert_eq!(candidate(&shut)["sources"].as_array().unwrap().len(), 2);
    let sources = found["sources"].as_array().unwrap();
    let failing = sources.iter().find(|one| one["spec"] == "env://NOT_SET").unwrap();
    assert_eq!(failing["state"], "fails");
    assert_eq!(found["problems"].as_array().unwrap().len(), 2);
}

#[test]
fn a_wrong_spec_is_refused_with_the_nearest_right_one() {
    let place = Place::new();
    let err = place.bad(&["doctor", "discovery", "--join", "dns-srv://x"], 2, "Q0501");
    assert!(err.contains("dns+srv://_quorate._tcp.example"), "{err}");
    place.bad(&["doctor", "discovery", "--join", "n1:1", "--advertise", "n1"], 2, "Q0501");
    assert_eq!(
        place.run(&["doctor", "discovery"]).status.code(),
        Some(2),
        "it needs to be told where"
    );
}
