//! Watches: whole, in order, and resumed without a hole.

use crate::common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Rig, Told, Watcher};
use quorate::Claiming;
use quorate_env::{now, spawn};

async fn snapshot(watcher: &mut Watcher) -> (Vec<String>, u64) {
    let mut names = Vec::new();
    loop {
        let told = watcher.next().await.unwrap();
        match told.event.as_str() {
            "name" => {
                assert_eq!(told.id, None, "a snapshot that broke off must begin again");
                names.push(told.data["name"].as_str().unwrap().to_owned());
            }
            "synced" => {
                let index = told.data["index"].as_u64().unwrap();
                assert_eq!(told.id, Some(index.to_string()));
                return (names, index);
            }
            other => panic!("{other} before synced"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_what_is_then_what_changes_and_is_resumed_without_a_hole() {
    let rig = Rig::start().await;
    for name in ["w/a", "w/b", "other"] {
        assert_eq!(rig.ask("PUT", &format!("/v1/names/{name}"), "").await.status, 201);
    }
    let mut watcher = rig.watch("/v1/watch?prefix=w/", None).await;
    let (names, _) = snapshot(&mut watcher).await;
    assert_eq!(names, ["w/a", "w/b"]);
    rig.ask("PUT", "/v1/names/w/c", r#"{"value":"x"}"#).await;
    rig.ask("PUT", "/v1/names/other2", "").await;
    rig.ask("DELETE", "/v1/names/w/a", "").await;
    let came = watcher.next().await.unwrap();
    assert_eq!((came.event.as_str(), &came.data["name"]), ("registered", &"w/c".into()));
    assert_eq!(
        (&came.data["value"], &came.id),
        (&"x".into(), &Some(came.data["index"].to_string()))
    );
    let went = watcher.next().await.unwrap();
    assert_eq!((went.event.as_str(), &went.data["name"]), ("released", &"w/a".into()));
    assert_eq!(went.data["cause"], "asked");
    // The line breaks after the first change; what came meanwhile is told to who returns.
    let seen = came.id.unwrap();
    drop(watcher);
    rig.ask("DELETE", "/v1/names/w/b", "").await;
    let mut watcher = rig.watch("/v1/watch?prefix=w/", Some(&seen)).await;
    assert_eq!(watcher.next().await.unwrap(), went);
    assert_eq!(watcher.next().await.unwrap().data["name"], "w/b");
    let mut from = rig.watch(&format!("/v1/watch?prefix=w/&from={seen}"), None).await;
    assert_eq!(from.next().await.unwrap(), went);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_index_come_together_and_only_the_last_has_an_id() {
    let rig = Rig::start().await;
    let session =
        rig.ask("POST", "/v1/sessions", r#"{"ttl_ms":60000}"#).await.json()["session"].clone();
    for name in ["s/1", "s/2", "s/3"] {
        let wish = format!(r#"{{"session":{session}}}"#);
        assert_eq!(rig.ask("PUT", &format!("/v1/names/{name}"), &wish).await.status, 201);
    }
    let mut watcher = rig.watch("/v1/watch", None).await;
    assert_eq!(snapshot(&mut watcher).await.0.len(), 3);
    rig.ask("DELETE", &format!("/v1/sessions/{session}"), "").await;
    let mut told: Vec<Told> = Vec::new();
    for _ in 0..3 {
        told.push(watcher.next().await.unwrap());
    }
    assert!(told.iter().all(|one| one.data["cause"] == "session_ended"));
    assert!(told.iter().all(|one| one.data["session"] == session));
    assert!(told.iter().all(|one| one.data["index"] == told[0].data["index"]));
    assert_eq!(told.iter().filter(|one| one.id.is_some()).count(), 1);
    assert_eq!(told[2].id, Some(told[2].data["index"].to_string()));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_too_old_is_gone_and_a_quiet_watch_does_not_become_too_old() {
    let rig = Rig::start_quorate(None, |config| config.group.changes_kept = 8).await;
    let mut quiet = rig.watch("/v1/watch?prefix=quiet/", None).await;
    let (_, synced) = snapshot(&mut quiet).await;
    // Never more at a time than are kept, so that only a watch that does not move on could fall behind.
    for round in 0..2 {
        for n in 0..8 {
            let loud = rig.ask("PUT", &format!("/v1/names/loud/{round}/{n}"), "").await;
            assert_eq!(loud.status, 201);
        }
        // The next heartbeat moves the id past all that was not for this watcher.
        quiet.is_quiet_up_to(rig.node.status().index.0).await;
    }
    let old = rig.ask("GET", &format!("/v1/watch?from={synced}"), "").await;
    assert_eq!((old.status, old.code().as_str()), (410, "Q0306"));
    assert!(old.json()["floor"].as_u64().unwrap() > synced);
    rig.ask("PUT", "/v1/names/quiet/one", "").await;
    let told = quiet.next().await.unwrap();
    assert_eq!((told.event.as_str(), &told.data["name"]), ("registered", &"quiet/one".into()));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_read_while_names_change_ends_in_exactly_the_state_at_synced() {
    let rig = Rig::start().await;
    let names = rig.node.names();
    for n in 0..300 {
        let name = format!("m/{n:04}").as_str().try_into().unwrap();
        names.claim(&name, Claiming::default()).await.unwrap();
    }
    let busy = names.clone();
    let churn = spawn(async move {
        for round in 0..400_u32 {
            let name = format!("m/{:04}", (round * 37) % 300).as_str().try_into().unwrap();
            match busy.release(&name, None, None).await {
                Ok(_) => {}
                Err(_) => drop(busy.claim(&name, Claiming::default()).await.unwrap()),
            }
        }
        // Told last, as it is done last.
        busy.claim(&"m/end".try_into().unwrap(), Claiming::default()).await.unwrap();
    });
    // The first few go as soon as they are told that they are whole; the last one stays to the end.
    for last in [false, false, false, true] {
        let mut watcher = rig.watch("/v1/watch?prefix=m/", None).await;
        let mut state: BTreeMap<String, u64> = BTreeMap::new();
        let mut synced = false;
        loop {
            let told = watcher.next().await.unwrap();
            let name = || told.data["name"].as_str().unwrap().to_owned();
            let epoch = || told.data["epoch"].as_u64().unwrap();
            match told.event.as_str() {
                // A change that a page showed already, or one that was left out, would not fit.
                "name" | "registered" => {
                    assert_eq!(state.insert(name(), epoch()), None, "{told:?}");
                }
                "released" => assert_eq!(state.remove(&name()), Some(epoch()), "{told:?}"),
                "synced" => synced = true,
                other => panic!("{other}"),
            }
            if synced && (!last || state.contains_key("m/end")) {
                break;
            }
        }
        if last {
            let truth = names.list("m/", None, 1000).registrations;
            let truth = truth.iter().map(|held| (held.name.as_str().to_owned(), held.epoch.get()));
            assert_eq!(state, truth.collect());
        }
    }
    churn.await.unwrap();
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_the_face_sends_watchers_away_at_once() {
    let rig = Rig::start().await;
    let mut watcher = rig.watch("/v1/watch", None).await;
    snapshot(&mut watcher).await;
    let began = now();
    let Rig { node, face, .. } = rig;
    face.close().await;
    assert_eq!(watcher.next().await, None);
    // The watcher is not waited for, nor does it wait for anything; the rest is for a busy machine.
    assert!(now().since(began) < Duration::from_secs(30));
    node.shutdown().await;
}
