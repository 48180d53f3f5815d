//! Names of the domain name system, asked of a name server that answers in bytes written down here.

use crate::common;

use std::sync::{Arc, Mutex};

use common::dns::{A, AAAA, CNAME, Reply, SRV, name, srv, start};
use common::{seen, source, trouble};

fn reply(answers: &[(&str, u16, Vec<u8>)]) -> Reply {
    let own = |(name, kind, data): &(&str, u16, Vec<u8>)| ((*name).to_owned(), *kind, data.clone());
    Reply { answers: answers.iter().map(own).collect(), ..Reply::default() }
}

fn none() -> Reply {
    Reply { code: 3, ..Reply::default() }
}

fn failed() -> Reply {
    Reply { code: 2, ..Reply::default() }
}

const V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

#[tokio::test]
async fn a_host_is_all_of_its_addresses_of_both_kinds() {
    let server = start(|name, kind| match (name, kind) {
        ("nodes.example", A) => reply(&[
            ("nodes.example", A, vec![10, 0, 0, 1]),
            ("nodes.example", A, vec![10, 0, 0, 2]),
            ("elsewhere.example", A, vec![6, 6, 6, 6]),
        ]),
        ("nodes.example", AAAA) => reply(&[("nodes.example", AAAA, V6.to_vec())]),
        _ => none(),
    })
    .await;
    let mut nodes = source(&format!("dns://nodes.example:4747?server={server}"));
    let expected = ["10.0.0.1:4747", "10.0.0.2:4747", "[fd00::1]:4747"];
    assert_eq!(
        seen(nodes.as_mut()).await,
        expected,
        "and what belongs to another name is not taken"
    );
    let mut nobody = source(&format!("dns://none.example:4747?server={server}"));
    assert!(seen(nobody.as_mut()).await.is_empty(), "that there is no such name is an answer");
}

#[tokio::test]
async fn other_names_of_a_host_are_followed_within_an_answer_and_across_answers_and_end() {
    let server = start(|asked, kind| match (asked, kind) {
        ("a.example", A) => reply(&[
            ("a.example", CNAME, name("b.example")),
            ("b.example", CNAME, name("c.example")),
        ]),
        ("c.example", A) => reply(&[("c.example", A, vec![10, 0, 0, 3])]),
        ("round.example", _) => reply(&[("round.example", CNAME, name("round.example"))]),
        _ => none(),
    })
    .await;
    let mut a = source(&format!("dns://a.example:1?server={server}"));
    assert_eq!(seen(a.as_mut()).await, ["10.0.0.3:1"]);
    let mut round = source(&format!("dns://round.example:1?server={server}"));
    assert!(trouble(round.as_mut()).await.contains("too many other names"));
}

#[tokio::test]
async fn a_service_is_its_targets_with_their_ports_looked_up_where_nothing_came_along() {
    let server = start(|asked, kind| match (asked, kind) {
        ("_quorate._tcp.example", SRV) => {
            let mut found = reply(&[
                ("_quorate._tcp.example", SRV, srv(4747, "n1.example")),
                ("_quorate._tcp.example", SRV, srv(4748, "N2.example")),
                ("_quorate._tcp.example", SRV, srv(4749, "n3.example")),
            ]);
            found.more.push(("n1.example".into(), A, vec![10, 0, 0, 1]));
            found.more.push(("stranger.example".into(), A, vec![6, 6, 6, 6]));
            found
        }
        ("n2.example", A) => reply(&[("n2.example", A, vec![10, 0, 0, 2])]),
        ("n3.example", _) => failed(),
        // The service is decidedly not here.
        ("_gone._tcp.example", SRV) => reply(&[("_gone._tcp.example", SRV, srv(0, ""))]),
        _ => none(),
    })
    .await;
    let mut service = source(&format!("dns+srv://_quorate._tcp.example?server={server}"));
    let expected = ["10.0.0.1:4747", "10.0.0.2:4748", "n3.example:4749"];
    assert_eq!(seen(service.as_mut()).await, expected, "who cannot be looked up goes by name");
    let mut gone = source(&format!("dns+srv://_gone._tcp.example?server={server}"));
    assert!(seen(gone.as_mut()).await.is_empty());
}

#[tokio::test]
async fn an_answer_that_does_not_fit_comes_over_tcp() {
    let server = start(|name, kind| match kind {
        A => {
            let many = |number: u8| (name.to_owned(), A, vec![10, 0, 1, number]);
            Reply { answers: (0..200).map(many).collect(), too_long: true, ..Reply::default() }
        }
        _ => none(),
    })
    .await;
    let mut nodes = source(&format!("dns://many.example:1?server={server}"));
    assert_eq!(seen(nodes.as_mut()).await.len(), 200);
}

#[tokio::test]
async fn answers_to_what_was_not_asked_are_passed_over() {
    let server = start(|name, kind| match kind {
        A => Reply { forged: true, ..reply(&[(name, A, vec![10, 0, 0, 1])]) },
        _ => none(),
    })
    .await;
    let mut nodes = source(&format!("dns://nodes.example:1?server={server}"));
    assert_eq!(seen(nodes.as_mut()).await, ["10.0.0.1:1"]);
}

#[tokio::test]
async fn half_an_answer_takes_nobody_away_and_a_failure_is_no_empty_answer() {
    let broken = Arc::new(Mutex::new(Vec::new()));
    let table = broken.clone();
    let server = start(move |name, kind| match kind {
        kind if table.lock().unwrap().contains(&kind) => failed(),
        A => reply(&[(name, A, vec![10, 0, 0, 1])]),
        _ => reply(&[(name, AAAA, V6.to_vec())]),
    })
    .await;
    let mut nodes = source(&format!("dns://nodes.example:1?server={server}"));
    let both = ["10.0.0.1:1", "[fd00::1]:1"];
    assert_eq!(seen(nodes.as_mut()).await, both);
    broken.lock().unwrap().push(A);
    assert_eq!(
        seen(nodes.as_mut()).await,
        both,
        "the last good answer stands in for the failed one"
    );
    let mut fresh = source(&format!("dns://nodes.example:1?server={server}"));
    broken.lock().unwrap().push(AAAA);
    let why = trouble(fresh.as_mut()).await;
    assert!(why.contains("SERVFAIL") && why.contains(&server), "{why}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_an_error_in_bounded_time() {
    let server = start(|_, _| Reply { silent: true, ..Reply::default() }).await;
    let mut nodes = source(&format!("dns://nodes.example:1?server={server}"));
    let why = trouble(nodes.as_mut()).await;
    assert!(why.contains("no answer within"), "{why}");
}
