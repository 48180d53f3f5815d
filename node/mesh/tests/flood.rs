//! A flood at a peer that does not read, and at one whose inside stands still: what both sides hold is
//! bounded, others do not notice, and who floods is told in words.

use crate::common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{Lab, MeshConfig, PATIENCE, config, eventually, keep, patient, start, world};
use quorate_env::{BoxFuture, Tcp, now, sleep};
use quorate_mesh::pulse::Verdict;
use quorate_mesh::{CallError, Inbound, Mesh, Peer, Reason, Road, SendError};
use quorate_vocab::{Lane, NodeId};

const BODY_BYTES: usize = 1_000;

/// Sends bodies until there is no room; gives how many were taken.
fn flood(mesh: &Mesh, to: NodeId, lane: Lane) -> usize {
    for count in 0.. {
        match mesh.send(to, lane, count as u64 % 50, &mut vec![0; BODY_BYTES]) {
            Ok(()) => {}
            Err(SendError::Full) => return count,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("there is an end to the room")
}

#[test]
fn who_does_not_read_holds_up_nobody_else_and_costs_a_bounded_amount() {
    world(1, || async {
        let lab = Lab::new(Duration::from_millis(1));
        let node = |id| {
            let mut config = MeshConfig { listen: format!("node-{id}"), ..config(id, 1) };
            config.limits.queue_bytes_max = 1 << 20;
            // It stands still for longer than this story takes.
            config.limits.suspect = PATIENCE * 10;
            (config.limits.silence, config.limits.write_stall) = (PATIENCE * 30, PATIENCE * 10);
            config
        };
        let (one, _) = start(node(1), Arc::new(lab.clone())).await;
        let (two, two_tap) = start(node(2), Arc::new(lab.clone())).await;
        let (three, three_tap) = start(node(3), Arc::new(lab.clone())).await;
        keep(&one, &[&two, &three]);
        two_tap.met(1, 1).await;
        three_tap.met(1, 1).await;
        for (to, tap) in [(2, &two_tap), (3, &three_tap)] {
            one.send(NodeId(to), Lane::Normal, 1, &mut b"first".to_vec()).unwrap();
            tap.mails(1).await;
        }
        lab.cut_door("node-2", true);
        let mut taken = 0;
        for _ in 0..100 {
            taken += flood(&one, NodeId(2), Lane::Normal);
            sleep(Duration::from_millis(10)).await;
        }
        // What waits, the peer's window, and a turn; whatever the buffers on the way hold is part of the
        // window.
        let limits = node(1).limits;
        let bytes_max = limits.queue_bytes_max + limits.windows[1] as usize + 128 * 1024;
        assert!(taken * BODY_BYTES < bytes_max, "{taken} bodies were taken");
        // Whoever calls it is told that it was not done, or that nobody knows.
        let body = || Bytes::from(vec![0; 100_000]);
        let mut ends = Vec::new();
        for _ in 0..30 {
            let call = one.call(NodeId(2), Lane::Normal, 1, body(), Duration::from_millis(50));
            ends.push(call.await.unwrap_err());
        }
        assert!(ends.contains(&CallError::Unknown) && ends.contains(&SendError::Full.into()));
        // To another peer all is as before.
        let began = now();
        for number in 0..100 {
            one.send(NodeId(3), Lane::Bulk, number, &mut b"beside".to_vec()).unwrap();
            let call = one.call(NodeId(3), Lane::High, 1, Bytes::from_static(b"x"), PATIENCE);
            assert_eq!(call.await.unwrap(), "echo x");
        }
        three_tap.mails(101).await;
        let took = now().since(began);
        assert!(
            took < Duration::from_millis(100 * 3),
            "{took:?} for a hundred round trips of 2 ms"
        );
        assert_eq!(one.counters().closed_for(Reason::Silent), 0);
        lab.cut_door("node-2", false);
        two_tap.mails(1 + taken).await;
        assert_eq!(one.counters().unsent, 0, "all that was taken came");
    });
}

/// An inside that takes no mail of one node while it is shut.
#[derive(Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opens: Condvar,
    mails: [AtomicUsize; 4],
}

impl Gate {
    fn set(&self, is_shut: bool) {
        *self.is_shut.lock().unwrap() = is_shut;
        self.opens.notify_all();
    }

    fn count(&self, from: usize) -> usize {
        self.mails[from].load(Ordering::SeqCst)
    }
}

impl Inbound for Gate {
    fn mail(&self, from: NodeId, _: &[u8]) {
        if from == NodeId(1) {
            // Who blocks a worker while it was the one that watches the sockets stops all others, too; that
            // is why an inside must not block, and this one gives the worker's place away first.
            tokio::task::block_in_place(|| {
                let shut = self.is_shut.lock().unwrap();
                drop(self.opens.wait_while(shut, |is_shut| *is_shut).unwrap());
            });
        }
        self.mails[from.0 as usize].fetch_add(1, Ordering::SeqCst);
    }

    fn call(&self, _: &Peer, body: Bytes) -> BoxFuture<'static, Bytes> {
        Box::pin(async move { body })
    }

    fn up(&self, _: &Peer, _: Road) {}

    fn down(&self, _: NodeId, _: Road, _: Reason) {}

    fn pulse(&self, _: NodeId, _: Verdict) {}

    fn needs(&self, _: NodeId) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_inside_that_stands_still_holds_up_only_who_floods_it() {
    let mut narrow = patient(1, 1);
    narrow.limits.queue_bytes_max = 1 << 20;
    let limits = narrow.limits.clone();
    let (one, _) = start(narrow, Arc::new(Tcp)).await;
    let (three, _) = start(patient(3, 1), Arc::new(Tcp)).await;
    let gate = Arc::new(Gate::default());
    let two = Mesh::start(patient(2, 1), Arc::new(Tcp), gate.clone()).await.unwrap();
    for mesh in [&one, &three] {
        keep(mesh, &[&two]);
        eventually("a link", || mesh.peers().first().is_some_and(|peer| peer.control_up)).await;
        mesh.send(NodeId(2), Lane::Normal, 1, &mut vec![0; BODY_BYTES]).unwrap();
    }
    eventually("the first mails", || gate.count(1) == 1 && gate.count(3) == 1).await;
    gate.set(true);
    let mut taken = 1;
    for _ in 0..200 {
        taken += flood(&one, NodeId(2), Lane::Bulk);
        sleep(Duration::from_millis(1)).await;
    }
    // However much the sockets hold: what was not read is not granted again.
    let bytes_max = limits.queue_bytes_max + limits.windows[2] as usize + 128 * 1024;
    assert!(taken * BODY_BYTES < bytes_max, "{taken} bodies were taken");
    assert_eq!(gate.count(1), 1);
    for _ in 0..50 {
        for mesh in [&one, &three] {
            let call = mesh.call(NodeId(2), Lane::Normal, 1, Bytes::from_static(b"x"), PATIENCE);
            assert_eq!(call.await.unwrap(), "x", "the control road goes on");
        }
        three.send(NodeId(2), Lane::Normal, 1, &mut vec![0; BODY_BYTES]).unwrap();
    }
    eventually("mail of another", || gate.count(3) == 51).await;
    assert_eq!(gate.count(1), 1);
    gate.set(false);
    eventually("all that was taken", || gate.count(1) == taken).await;
    assert_eq!(one.counters().unsent, 0);
}
