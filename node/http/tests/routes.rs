//! Every route, as a client sees it.

use crate::common;

use std::time::Duration;

use common::{PATIENCE, Rig};
use quorate::{Claiming, Config};
use quorate_env::{now, sleep};

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_taken_looked_up_replaced_and_given_back() {
    let rig = Rig::start().await;
    let taken =
        rig.ask("PUT", "/v1/names/web/primary", r#"{"value":"http://a","meta":{"k":"v"}}"#).await;
    assert_eq!(taken.status, 201, "{}", taken.text);
    let first = taken.json();
    assert_eq!(first["name"], "web/primary");
    let epoch = first["epoch"].as_u64().unwrap();
    assert_eq!(taken.headers["quorate-epoch"], epoch.to_string());
    assert_eq!(taken.headers["quorate-index"], first["index"].to_string());
    assert_eq!(taken.headers["quorate-node"], "n1");

    let again = rig.ask("PUT", "/v1/names/web/primary", "{}").await;
    assert_eq!((again.status, again.code().as_str()), (409, "Q0301"));
    assert_eq!(again.json()["holder"]["epoch"], epoch);
    assert_eq!(again.json()["outcome"], "refused");

    for path in ["/v1/names/web/primary", "/v1/names/web%2Fprimary?consistency=local"] {
        let found = rig.ask("GET", path, "").await;
        assert_eq!(found.status, 200);
        let held = found.json();
        assert_eq!((&held["value"], &held["meta"]["k"]), (&"http://a".into(), &"v".into()));
        assert_eq!((held["epoch"].as_u64(), held["session"].as_u64()), (Some(epoch), None));
        assert!(found.headers.contains_key("quorate-stale-ms"));
        assert!(found.headers["quorate-index"].parse::<u64>().unwrap() >= epoch);
    }

    let stale = r#"{"value":"b","replace_epoch":1}"#;
    let stale = rig.ask("PUT", "/v1/names/web/primary", stale).await;
    assert_eq!((stale.status, stale.code().as_str()), (409, "Q0302"));
    assert_eq!(stale.json()["holder"]["epoch"], epoch);
    let next = format!(r#"{{"value":"b","replace_epoch":{epoch}}}"#);
    let next = rig.ask("PUT", "/v1/names/web/primary", &next).await;
    assert_eq!(next.status, 201);
    let newer = next.json()["epoch"].as_u64().unwrap();
    assert!(newer > epoch);

    let late = rig.ask("DELETE", &format!("/v1/names/web/primary?epoch={epoch}"), "").await;
    assert_eq!((late.status, late.code().as_str()), (409, "Q0302"));
    assert_eq!(late.json()["epoch"], newer);
    let freed = rig.ask("DELETE", &format!("/v1/names/web/primary?epoch={newer}"), "").await;
    assert_eq!((freed.status, freed.text.as_str()), (204, ""));
    for method in ["GET", "DELETE"] {
        let gone = rig.ask(method, "/v1/names/web/primary", "").await;
        assert_eq!((gone.status, gone.code().as_str()), (404, "Q0303"));
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_listed_by_prefix_and_page() {
    let rig = Rig::start().await;
    for name in ["a/1", "a/2", "a/3", "b/1"] {
        assert_eq!(rig.ask("PUT", &format!("/v1/names/{name}"), "").await.status, 201);
    }
    let all = rig.ask("GET", "/v1/names", "").await.json();
    assert_eq!((all["names"].as_array().unwrap().len(), &all["more"]), (4, &false.into()));
    let page = rig.ask("GET", "/v1/names?prefix=a/&limit=2", "").await;
    assert!(page.headers.contains_key("quorate-index"));
    let page = page.json();
    assert_eq!((&page["names"][1]["name"], &page["more"]), (&"a/2".into(), &true.into()));
    let rest =
        rig.ask("GET", "/v1/names?prefix=a/&limit=2&after=a/2&consistency=local", "").await.json();
    assert_eq!(rest["names"].as_array().unwrap().len(), 1);
    assert_eq!((&rest["names"][0]["name"], &rest["more"]), (&"a/3".into(), &false.into()));
    // What is no text is shown as what it is.
    let claiming = Claiming { value: vec![0xff, 0x00], ..Claiming::default() };
    rig.node.names().claim(&"bytes".try_into().unwrap(), claiming).await.unwrap();
    let bytes = rig.ask("GET", "/v1/names/bytes", "").await.json();
    assert_eq!((&bytes["value_hex"], bytes.get("value")), (&"ff00".into(), None));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_by_code_and_changes_nothing() {
    let rig = Rig::start().await;
    let before = rig.node.names().list("", None, 10).registrations;
    let long = "x".repeat(513);
    let huge = format!(r#"{{"value":"{}"}}"#, "x".repeat(300 * 1024));
    let heavy = format!(r#"{{"value":"{}"}}"#, "x".repeat(64 * 1024 + 1));
    for (method, path, body, status, code) in [
        ("PUT", "/v1/names/a%20b", "", 400, "Q0201"),
        ("PUT", "/v1/names/a//b", "", 400, "Q0201"),
        ("PUT", &format!("/v1/names/{long}"), "", 400, "Q0201"),
        ("GET", "/v1/names/%ff", "", 400, "Q0201"),
        ("PUT", "/v1/names/a", heavy.as_str(), 400, "Q0202"),
        ("PUT", "/v1/names/a", "not json", 400, "Q0203"),
        ("PUT", "/v1/names/a", r#"{"valu":"x"}"#, 400, "Q0203"),
        ("PUT", "/v1/names/a", r#"{"value":7}"#, 400, "Q0203"),
        ("PUT", "/v1/names/a", huge.as_str(), 400, "Q0204"),
        ("PUT", "/v1/names/a", r#"{"replace_epoch":9007199254740992}"#, 400, "Q0205"),
        ("DELETE", "/v1/names/a?epoch=x", "", 400, "Q0205"),
        ("GET", "/v1/names/a?consistency=maybe", "", 400, "Q0205"),
        ("GET", "/v1/names?limit=0", "", 400, "Q0205"),
        ("GET", "/v1/names?limit=1001", "", 400, "Q0205"),
        ("GET", "/v1/names?perfix=a", "", 400, "Q0205"),
        ("POST", "/v1/sessions/x/renew", "", 400, "Q0205"),
        ("POST", "/v1/sessions", "", 400, "Q0203"),
        ("POST", "/v1/sessions", r#"{"ttl_ms":0}"#, 400, "Q0203"),
        ("POST", "/v1/sessions", r#"{"ttl_ms":-1}"#, 400, "Q0203"),
        ("GET", "/v1/watch?from=soon", "", 400, "Q0205"),
        ("GET", "/v1/nothing", "", 404, "Q0206"),
        ("GET", "/v1/names/", "", 404, "Q0206"),
        ("POST", "/v1/names/a", "", 405, "Q0207"),
        ("POST", "/v1/status", "", 405, "Q0207"),
        ("PUT", "/v1/names/a", r#"{"session":999999}"#, 410, "Q0304"),
    ] {
        let answer = rig.ask(method, path, body).await;
        let shown: String = path.chars().take(60).collect();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {shown}");
        assert_eq!(answer.headers["quorate-node"], "n1");
    }
    let key = "k".repeat(256);
    let keyed = rig.ask_with("PUT", "/v1/names/a", &[("Idempotency-Key", &key)], "").await;
    assert_eq!(keyed.code(), "Q0205");
    let resumed = rig.ask_with("GET", "/v1/watch", &[("Last-Event-ID", "x")], "").await;
    assert_eq!(resumed.code(), "Q0205");
    assert_eq!(rig.node.names().list("", None, 10).registrations, before);
    // The most that fits, fits.
    let full = format!(r#"{{"value":"{}","meta":{{"k":"v"}}}}"#, "x".repeat(64 * 1024 - 2));
    assert_eq!(rig.ask("PUT", "/v1/names/a", &full).await.status, 201);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_holds_its_names_until_it_ends_or_falls_silent() {
    let rig = Rig::start().await;
    let opened = rig.ask("POST", "/v1/sessions", r#"{"ttl_ms":60000}"#).await;
    assert_eq!(opened.status, 201);
    assert_eq!(opened.json()["ttl_ms"], 60_000);
    let session = opened.json()["session"].as_u64().unwrap();
    let wish = format!(r#"{{"session":{session}}}"#);
    assert_eq!(rig.ask("PUT", "/v1/names/held", &wish).await.status, 201);
    assert_eq!(rig.ask("GET", "/v1/names/held", "").await.json()["session"], session);
    let taken = rig.ask("PUT", "/v1/names/held", "").await.json();
    assert_eq!(taken["holder"]["session"], session);
    let renewed = rig.ask("POST", &format!("/v1/sessions/{session}/renew"), "").await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    assert_eq!(renewed.json()["valid_ms"], 60_000);
    assert_eq!(rig.ask("DELETE", &format!("/v1/sessions/{session}"), "").await.status, 204);
    assert_eq!(rig.ask("GET", "/v1/names/held", "").await.status, 404);
    let late = rig.ask("POST", &format!("/v1/sessions/{session}/renew"), "").await;
    assert_eq!((late.status, late.code().as_str()), (410, "Q0304"));

    // Long enough for a busy machine to take the name before it is over.
    let ttl = Duration::from_secs(5);
    let since = now();
    let short = rig.ask("POST", "/v1/sessions", r#"{"ttl_ms":5000}"#).await.json();
    let wish = format!(r#"{{"session":{}}}"#, short["session"]);
    assert_eq!(rig.ask("PUT", "/v1/names/brief", &wish).await.status, 201);
    let gone = loop {
        match rig.ask("GET", "/v1/names/brief", "").await.status {
            200 => sleep(Duration::from_millis(20)).await,
            status => break status,
        }
        assert!(now().since(since) < ttl + PATIENCE, "it never expires");
    };
    assert_eq!(gone, 404);
    assert!(now().since(since) >= ttl, "it had its time");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lets_a_request_be_repeated_and_done_once() {
    let rig = Rig::start().await;
    let key = [("Idempotency-Key", "6a7c2f0e-9d57-4b6a")];
    let first = rig.ask_with("PUT", "/v1/names/once", &key, r#"{"value":"a"}"#).await;
    let second = rig.ask_with("PUT", "/v1/names/once", &key, r#"{"value":"a"}"#).await;
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.json()["epoch"], second.json()["epoch"]);
    // The key of another request is another key: it must not be answered with what the first came to.
    let other = rig.ask_with("PUT", "/v1/names/twice", &key, r#"{"value":"a"}"#).await;
    assert_eq!(other.status, 201);
    assert_ne!(first.json()["epoch"], other.json()["epoch"]);
    assert_eq!(rig.ask("PUT", "/v1/names/once", r#"{"value":"a"}"#).await.status, 409);
    let one = rig.ask_with("POST", "/v1/sessions", &key, r#"{"ttl_ms":9000}"#).await.json();
    let two = rig.ask_with("POST", "/v1/sessions", &key, r#"{"ttl_ms":9000}"#).await.json();
    assert_eq!(one["session"], two["session"]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_probes_and_metrics_say_what_the_node_is() {
    let rig = Rig::start().await;
    assert_eq!(rig.ask("PUT", "/v1/names/counted", "").await.status, 201);
    let status = rig.ask("GET", "/v1/status", "").await;
    let body = status.json();
    assert_eq!((&body["node"], &body["leader"]), (&"n1".into(), &"n1".into()));
    assert_eq!((&body["quorate"], &body["names"]), (&true.into(), &1.into()));
    assert_eq!(body["voters"], serde_json::json!(["n1"]));
    assert_eq!(
        (&body["clock"]["ahead_ms"], &body["clock"]["opinion"]),
        (&0.0.into(), &"unsure".into())
    );
    let member = &body["members"][0];
    assert_eq!((&member["role"], &member["state"]), (&"leader".into(), &"up".into()));
    assert!(body["term"].as_u64().unwrap() >= 1 && body["index"].as_u64().unwrap() >= 1);
    for probe in ["/livez", "/readyz"] {
        assert_eq!(rig.ask("GET", probe, "").await.status, 200);
    }
    let text = rig.ask("GET", "/metrics", "").await.text;
    for line in [
        "quorate_quorate 1\n",
        "quorate_raft_leader 1\n",
        "quorate_names 1\n",
        "# TYPE quorate_mesh_bytes counter\n",
        "quorate_mesh_frames_total{lane=\"control\",direction=\"in\"} ",
        "quorate_mesh_lane_bytes_total{road=\"data\",lane=\"bulk\",direction=\"out\"} 0\n",
        "# TYPE quorate_mesh_round_trip_seconds gauge\n",
        "quorate_clock_ahead_seconds 0",
        "quorate_clocks_off 0\n",
        "quorate_http_requests_total{method=\"PUT\",route=\"/v1/names/{*name}\",status=\"201\"} 1\n",
        "quorate_http_request_duration_seconds_bucket{",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert!(text.contains("quorate_stale_seconds ") && text.ends_with("# EOF\n"));
    assert_eq!(text.matches("# EOF").count(), 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_everything_answers_in_bounded_time() {
    // It expects two others, who never come.
    let lease = Duration::from_secs(1);
    let change = |config: &mut Config| (config.expect, config.lease) = (3, lease);
    let rig = Rig::start_with(None, change).await;
    for (method, path) in [("PUT", "/v1/names/a"), ("GET", "/v1/names/a"), ("GET", "/v1/names")] {
        let mut tries = 0;
        while !refuses_in_time(&rig, method, path, lease).await {
            tries += 1;
            // A machine that stands still may spoil an answer, but not five in a row.
            assert!(tries < 5, "{method} {path} is not answered in time");
        }
    }
    assert_eq!(rig.ask("GET", "/livez", "").await.status, 200);
    let ready = rig.ask("GET", "/readyz", "").await;
    assert_eq!((ready.status, ready.code().as_str()), (503, "Q0110"));
    let local = rig.ask("GET", "/v1/names/a?consistency=local", "").await;
    assert_eq!((local.status, local.code().as_str()), (404, "Q0303"));
    assert!(!local.headers.contains_key("quorate-stale-ms"), "nobody can say how old that is");
    let recent = rig.ask("GET", "/v1/names/a?max_stale_ms=600000", "").await;
    assert_eq!((recent.status, &recent.json()["stale_ms"]), (503, &serde_json::Value::Null));
    let status = rig.ask("GET", "/v1/status", "").await.json();
    assert_eq!((&status["quorate"], &status["leader"]), (&false.into(), &serde_json::Value::Null));
    rig.stop().await;
}

/// Whether a node without a quorum says within a lease and a second that it did nothing; one second more is
/// for what a machine adds.
async fn refuses_in_time(rig: &Rig, method: &str, path: &str, lease: Duration) -> bool {
    let began = now();
    let answer = rig.ask(method, path, "").await;
    let took = now().since(began);
    // A write whose last attempt was cut off by its bound is in doubt, and says so.
    if method == "PUT" && answer.code() == "Q0106" {
        assert_eq!(answer.json()["outcome"], "unknown");
        return false;
    }
    assert_eq!((answer.status, answer.code().as_str()), (503, "Q0107"));
    assert_eq!(answer.json()["outcome"], "not_done");
    assert_eq!(answer.headers["retry-after"], "1");
    took < lease + Duration::from_secs(2)
}
