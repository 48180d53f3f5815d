//! Many nodes in one process and in virtual time: who keeps links to whom, and what that costs at rest.

use crate::common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Lab, MeshConfig, Seen, Tap, config, keep, start, tokio_now, world};
use quorate_env::{Life, LifeConfig, sleep};
use quorate_mesh::{Limits, Mesh, Road};
use quorate_vocab::{Lane, NodeId};

type Node = (Mesh, Arc<Tap>);

const VOTERS: usize = 5;

fn at(id: u64) -> MeshConfig {
    let limits = Limits::lan();
    MeshConfig { listen: format!("node-{id}"), limits, ..config(id, 1) }
}

/// So many nodes of which the first are voters; all keep control links to those. The first voter has a life
/// of its own.
async fn town(lab: &Lab, count: u64, life: &Life) -> Vec<Node> {
    let net = |id: u64| Arc::new(lab.from(format!("host-{id}")));
    let mut nodes = vec![life.scope(start(at(1), net(1))).await];
    for id in 2..=count {
        nodes.push(start(at(id), net(id)).await);
    }
    let voters: Vec<&Mesh> = nodes[..VOTERS].iter().map(|(mesh, _)| mesh).collect();
    life.scope(async { keep(voters[0], &voters) }).await;
    for (mesh, _) in &nodes[1..] {
        keep(mesh, &voters);
    }
    for (at, (_, tap)) in nodes.iter().enumerate() {
        for voter in (1..=VOTERS).filter(|voter| *voter != at + 1) {
            tap.met(voter as u64, 1).await;
        }
    }
    nodes
}

fn downs(tap: &Tap) -> Vec<Seen> {
    tap.seen().into_iter().filter(|seen| matches!(seen, Seen::Down(..))).collect()
}

/// Gives what was counted, for who wants the figures.
fn story(count: u64) -> String {
    world(count, || async {
        let lab = Lab::new(Duration::from_millis(1));
        let first = Life::begin(LifeConfig {
            seed: count,
            clock_rate: 1.0,
            deferrals_per_mille: 0,
            origin: tokio_now(),
            wall_skew_nanos: 0,
        });
        let nodes = town(&lab, count, &first).await;
        let (voters, others) = nodes.split_at(VOTERS);
        for (mesh, tap) in others {
            let peers = mesh.peers();
            assert_eq!(peers.iter().filter(|peer| peer.control_up).count(), VOTERS);
            assert!(peers.iter().all(|peer| !peer.data_up), "nobody has sent anything");
            assert!(downs(tap).is_empty(), "{:?}", downs(tap));
        }
        let links = VOTERS * others.len() + VOTERS * (VOTERS - 1) / 2;
        let up = voters.iter().flat_map(|(mesh, _)| mesh.peers());
        let ends = up.filter(|peer| peer.control_up).count();
        assert_eq!(ends, links + VOTERS * (VOTERS - 1) / 2, "as many as are owed, and no more");
        // At rest.
        let bytes_out = |nodes: &[Node]| -> u64 {
            nodes.iter().map(|(mesh, _)| mesh.counters().control.bytes_out).sum()
        };
        let before = [bytes_out(voters), bytes_out(others)];
        let opened = lab.opened();
        assert!(opened <= links as u64 * 6 / 5, "{opened} connections for {links} links");
        sleep(Duration::from_secs(20)).await;
        let rate = |now: u64, before: u64, nodes: &[Node]| (now - before) / 20 / nodes.len() as u64;
        let of_voter = rate(bytes_out(voters), before[0], voters);
        let of_other = rate(bytes_out(others), before[1], others);
        assert_eq!(lab.opened(), opened, "at rest nobody dials");
        assert!(of_other < 30 * VOTERS as u64, "{of_other} bytes a second at rest");
        assert!(of_voter < 30 * count, "{of_voter} bytes a second at rest of a voter");
        // Some that have something to say to each other.
        for pair in others.chunks_exact(2) {
            let [(one, one_tap), (two, two_tap)] = pair else { unreachable!("they are pairs") };
            one_tap.needs.store(true, Ordering::Relaxed);
            one.learn(two.me(), two.address());
            one.send(two.me(), Lane::Normal, 1, &mut b"x".to_vec()).unwrap();
            two_tap.mails(1).await;
            two.send(one.me(), Lane::Normal, 1, &mut b"x".to_vec()).unwrap();
            one_tap.mails(1).await;
        }
        // A voter dies, without a word.
        first.end();
        for (_, tap) in &nodes[1..] {
            tap.parted(1, 1).await;
        }
        sleep(Duration::from_secs(20)).await;
        for (mesh, tap) in &nodes[1..] {
            let told = downs(tap);
            assert!(matches!(told[..], [Seen::Down(NodeId(1), Road::Control, _)]), "{told:?}");
            let up = mesh.peers().iter().filter(|peer| peer.control_up).count();
            assert!(mesh.me().0 <= VOTERS as u64 || up == VOTERS - 1, "{up} links");
        }
        for pair in others.chunks_exact(2) {
            assert!(pair.iter().all(|(mesh, _)| mesh.peers().iter().any(|peer| peer.data_up)));
        }
        format!(
            "{count} nodes: {links} links, {of_other} B/s of a node at rest, {of_voter} B/s of a voter, \
             {opened} connections opened for them"
        )
    })
}

#[test]
fn two_hundred_nodes_keep_links_to_the_voters_and_the_death_of_one_is_no_news_of_others() {
    println!("{}", story(200));
}

#[test]
fn a_thousand_nodes_as_well() {
    println!("{}", story(1_000));
}
