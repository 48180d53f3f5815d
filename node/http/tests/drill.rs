//! Faults over HTTP. The node here has no majority, and needs none for this.

use crate::common;

use common::{Answer, PATIENCE, Rig};
use quorate_faults::{Faults, PRESENT_MAX};
use serde_json::json;

const FAULTS: &str = "/v1/drill/faults";
const MAIL: &str = "/v1/drill/mail";
const TOKEN: &str = "a-token-for-tests-only";

async fn inject(rig: &Rig, body: &str) -> Answer {
    rig.ask("POST", FAULTS, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lets_nobody_drill_it_says_how_it_would() {
    let rig = Rig::start_with(None, |_| ()).await;
    let one = format!("{FAULTS}/1");
    let silence = r#"{"fault":"silence","peer":"*","lasts_ms":1000}"#;
    for (method, path, body) in [
        ("GET", FAULTS, ""),
        ("POST", FAULTS, silence),
        ("POST", FAULTS, "not even JSON"),
        ("DELETE", FAULTS, ""),
        ("DELETE", &one, ""),
        ("POST", MAIL, ""),
    ] {
        let answer = rig.ask(method, path, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "Q0324"), "{method} {path}");
        assert!(answer.json()["hint"].as_str().unwrap().contains("--allow-drill"));
    }
    assert_eq!(rig.ask("GET", "/v1/status", "").await.json()["drill"], false);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_injected_shown_and_healed_without_any_leader() {
    let rig = Rig::start_drilled(None, Faults::new()).await;
    let status = rig.ask("GET", "/v1/status", "").await.json();
    assert_eq!((&status["drill"], &status["quorate"]), (&json!(true), &json!(false)));
    let silence = r#"{"lasts_ms":600000,"fault":"silence","peer":"127.0.0.1:1","way":"in"}"#;
    let made = inject(&rig, silence).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let shown = json!({
        "id": 1, "left_ms": 600_000, "fault": "silence", "peer": "127.0.0.1:1", "way": "in",
    });
    assert_eq!(made.json(), shown);
    let stall = inject(&rig, r#"{"fault":"disk-stall","lasts_ms":600000}"#).await.json();
    let list = rig.ask("GET", FAULTS, "").await.json();
    assert_eq!(list["node"], "n1");
    let ids: Vec<_> = list["faults"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, [&shown["id"], &stall["id"]]);
    assert!(list["faults"][0]["left_ms"].as_u64().unwrap() <= 600_000);

    let one = format!("{FAULTS}/{}", stall["id"]);
    assert_eq!(rig.ask("DELETE", &one, "").await.status, 204);
    let again = rig.ask("DELETE", &one, "").await;
    assert_eq!((again.status, again.code().as_str()), (404, "Q0325"));
    let nonsense = rig.ask("DELETE", &format!("{FAULTS}/first"), "").await;
    assert_eq!((nonsense.status, nonsense.code().as_str()), (400, "Q0205"));
    let stopped = rig.ask("DELETE", FAULTS, "").await;
    assert_eq!((stopped.status, stopped.json()), (200, json!({ "healed": 1 })));
    assert_eq!(rig.ask("GET", FAULTS, "").await.json()["faults"], json!([]));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_ends_though_nobody_heals_it_and_there_are_so_many_at_most() {
    let rig = Rig::start_drilled(None, Faults::new()).await;
    let stall = |lasts_ms: u64| format!(r#"{{"fault":"disk-stall","lasts_ms":{lasts_ms}}}"#);
    assert_eq!(inject(&rig, &stall(50)).await.status, 201);
    let is_over = async { while rig.ask("GET", FAULTS, "").await.json()["faults"] != json!([]) {} };
    quorate_env::timeout(PATIENCE, is_over).await.unwrap();
    for _ in 0..PRESENT_MAX {
        assert_eq!(inject(&rig, &stall(600_000)).await.status, 201);
    }
    let more = inject(&rig, &stall(600_000)).await;
    assert_eq!((more.status, more.code().as_str()), (409, "Q0326"));
    assert_eq!(rig.ask("DELETE", FAULTS, "").await.json()["healed"], PRESENT_MAX);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_is_said_wrongly_is_refused_with_what_is_wrong() {
    let rig = Rig::start_drilled(None, Faults::new()).await;
    for (body, says) in [
        (r#"{"lasts_ms":1}"#, "clock-rate"),
        (r#"{"fault":"silense","peer":"*","lasts_ms":1}"#, "the nearest is `silence`"),
        (r#"{"fault":"silence","pear":"*","lasts_ms":1}"#, "the nearest is `peer`"),
        (r#"{"fault":"silence","peer":"*","last_ms":1}"#, "the nearest is `lasts_ms`"),
        (r#"{"fault":"silence","peer":"*","way":"up","lasts_ms":1}"#, "`both`"),
        (r#"{"fault":"silence","lasts_ms":1}"#, "`peer`"),
        (r#"{"fault":"silence","peer":"*"}"#, "1 to 600000"),
        (r#"{"fault":"silence","peer":"*","lasts_ms":"1s"}"#, "1 to 600000"),
        (r#"{"fault":"silence","peer":"*","lasts_ms":0}"#, "600 s"),
        (r#"{"fault":"silence","peer":"*","lasts_ms":600001}"#, "600 s"),
        (r#"{"fault":"disk-stall","room":1,"lasts_ms":1}"#, "has no `room`"),
        (r#"{"fault":"clock-rate","ppm":300001,"lasts_ms":1}"#, "-300000 to 300000"),
        (r#"{"fault":"weather","peer":"*","loss":2,"lasts_ms":1}"#, "`loss` may be 0 to 0.9"),
        ("[]", "invalid type"),
    ] {
        let answer = inject(&rig, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "Q0203"), "{body}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(says), "{body}: {detail}");
    }
    assert_eq!(rig.ask("GET", FAULTS, "").await.json()["faults"], json!([]));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_has_one_process_for_letters_whoever_asks() {
    let rig = Rig::start_drilled(None, Faults::new()).await;
    assert_eq!(rig.ask("POST", MAIL, r#"{"since":1}"#).await.code(), "Q0203");
    let first = rig.ask("POST", MAIL, "").await;
    assert_eq!(first.status, 200, "{}", first.text);
    let process = first.json()["process"].clone();
    // It is alone in its group, once it is in it, so it has nobody to write to.
    let is_member = async {
        loop {
            let told = rig.ask("POST", MAIL, "{}").await.json();
            assert_eq!(told["process"], process, "it is the same for all who ask");
            if told["members"] == json!([process]) {
                return told;
            }
        }
    };
    let told = quorate_env::timeout(PATIENCE, is_member).await.unwrap();
    assert_eq!((&told["letters"], &told["next"]), (&json!([]), &json!(0)));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_drills_shows_the_token() {
    let rig = Rig::start_drilled(Some(TOKEN), Faults::new()).await;
    let body = r#"{"fault":"disk-stall","lasts_ms":600000}"#;
    let bare = inject(&rig, body).await;
    assert_eq!((bare.status, bare.code().as_str()), (401, "Q0401"));
    assert_eq!(rig.ask("DELETE", FAULTS, "").await.status, 401);
    let right = format!("Bearer {TOKEN}");
    let shown = [("Authorization", right.as_str())];
    assert_eq!(rig.ask_with("POST", FAULTS, &shown, body).await.status, 201);
    assert_eq!(rig.ask("GET", FAULTS, "").await.status, 200);
    assert_eq!(rig.ask_with("DELETE", FAULTS, &shown, "").await.status, 200);
    rig.stop().await;
}
