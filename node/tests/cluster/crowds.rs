//! Many proposals of one node at once: they travel together, and each has an outcome of its own.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_proposals_that_travel_together_ends_as_itself_though_the_leader_changes() {
    const NAMES: usize = 300;
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    // Two nodes claim every name, and at least one of them has to carry its claims to another that leads.
    let claims: Vec<_> = (0..2 * NAMES)
        .map(|at| {
            let (node, wanted) = (at / NAMES, name(&format!("crowd/{}", at % NAMES)));
            let names = nodes[node].names().within(SOON);
            quorate_env::spawn(async move { names.claim(&wanted, value(&node.to_string())).await })
        })
        .collect();
    eventually("another leads", async || nodes[2].step_down(None).await.is_ok()).await;

    let mut outcomes = Vec::new();
    for claim in claims {
        outcomes.push(claim.await.unwrap());
    }
    let (first, second) = outcomes.split_at(NAMES);
    for (at, pair) in first.iter().zip(second).enumerate() {
        let (winner, held, refused) = match pair {
            (Ok(held), Err(Error::Refused(Refusal::Taken(by)))) => (0, held, by),
            (Err(Error::Refused(Refusal::Taken(by))), Ok(held)) => (1, held, by),
            other => panic!("crowd/{at}: {other:?}"),
        };
        assert_eq!(held.epoch, refused.epoch);
        let found = nodes[2].names().find(&held.name).await.unwrap().registration.unwrap();
        assert_eq!(
            (found.epoch, found.value.as_slice()),
            (held.epoch, winner.to_string().as_bytes())
        );
    }
    for node in &nodes {
        node.shutdown().await;
    }
}
