//! Nodes that are killed at their deadline, and what is said when they have died.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use quorate_env::now;
use quorate_fencer::{Guard, GuardOrders};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::process::Signal;

use crate::common::{
    Actor, FENCER, PATIENCE, block_on, children, eventually, is_alive, is_there, role, send,
};

/// A role: a node with its directory, under guard. It renews often or seldom, or ends in order, as it is
/// told.
#[test]
fn a_node() {
    let Some(text) = role() else { return };
    let (conduct, dir) = text.split_once(' ').unwrap();
    let orders = GuardOrders {
        fencer: FENCER.into(),
        wards: Some(Path::new(dir).join("wards")),
        patience: PATIENCE,
        last_word: ["touch".into(), Path::new(dir).join("said").into()].into(),
    };
    block_on(async {
        let mut guard = Guard::spawn(orders.clone()).await.unwrap();
        if conduct == "leaves" {
            guard.until(Some(now() + PATIENCE)).await.unwrap();
            println!("guarded");
            return guard.release().await.unwrap();
        }
        let lives = Duration::from_millis(if conduct == "renews" { 5_000 } else { 600_000 });
        guard.until(Some(now() + lives)).await.unwrap();
        guard.until(None).await.unwrap();
        guard.until(Some(now() + lives)).await.unwrap();
        println!("guarded");
        loop {
            let lasts = guard.until(Some(now() + lives)).await;
            if lasts.is_err() {
                guard = Guard::spawn(orders.clone()).await.unwrap();
                guard.until(Some(now() + lives)).await.unwrap();
                println!("guarded anew");
            }
            quorate_env::sleep(Duration::from_millis(20)).await;
        }
    });
}

fn node(conduct: &str, dir: &Path) -> (Actor, i32) {
    let mut node = Actor::play("guard::a_node", &format!("{conduct} {}", dir.display()));
    node.says("guarded");
    let [guard] = children(node.child.id())[..] else { panic!("one guard") };
    (node, guard)
}

/// Holds what the wards of a node hold.
fn ward(dir: &Path) -> OwnedFd {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = open(dir.join("wards"), flags, Mode::RUSR | Mode::WUSR).unwrap();
    flock(&file, FlockOperation::LockShared).unwrap();
    file
}

#[test]
fn a_node_that_is_stopped_past_its_deadline_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut node, guard) = node("renews", dir.path());
    node.signal(Signal::STOP);
    let status = node.child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    eventually("the last word was said", || is_there(&dir.path().join("said")));
    eventually("the guard is gone", || !is_alive(guard));
}

#[test]
fn the_last_word_waits_for_all_wards_and_the_reader_of_a_node_does_not_wait_for_its_guard() {
    let dir = tempfile::tempdir().unwrap();
    let ward = ward(dir.path());
    let (mut node, guard) = node("rests", dir.path());
    node.signal(Signal::KILL);
    node.lines.read_to_end(&mut Vec::new()).unwrap();
    assert!(is_alive(guard), "a ward is left");
    assert!(!is_there(&dir.path().join("said")), "it was said too early");
    drop(ward);
    eventually("the last word was said", || is_there(&dir.path().join("said")));
    eventually("the guard is gone", || !is_alive(guard));
}

#[test]
fn a_node_that_ends_in_order_has_no_last_word_and_no_guard() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Actor::play("guard::a_node", &format!("leaves {}", dir.path().display()));
    node.says("guarded");
    assert!(node.child.wait().unwrap().success());
    let _ward_would_wait = ward(dir.path());
    assert!(!is_there(&dir.path().join("said")));
}

#[test]
fn a_node_takes_a_new_guard_when_its_guard_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut node, guard) = node("renews", dir.path());
    send(guard, Signal::KILL);
    node.says("guarded anew");
    node.signal(Signal::STOP);
    node.child.wait().unwrap();
    eventually("the last word was said", || is_there(&dir.path().join("said")));
}
