//! Names with a life of their own, reservations, amendments, pages, locks, properties and counters, as a
//! client sees them.

use crate::common;

use common::Rig;

async fn session(rig: &Rig) -> u64 {
    let opened = rig.ask("POST", "/v1/sessions", r#"{"ttl_ms":600000}"#).await;
    opened.json()["session"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_a_ttl_is_renewed_by_its_own_session_and_ends_with_it() {
    let rig = Rig::start().await;
    let taken = rig.ask("PUT", "/v1/names/till", r#"{"ttl_ms":600000}"#).await;
    assert_eq!(taken.status, 201, "{}", taken.text);
    let own = taken.json()["session"].as_u64().expect("it has a session");
    assert_eq!(taken.json()["ttl_ms"], 600_000);
    let renewed = rig.ask("POST", &format!("/v1/sessions/{own}/renew"), "").await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    assert_eq!(rig.ask("DELETE", &format!("/v1/sessions/{own}"), "").await.status, 204);
    assert_eq!(rig.ask("GET", "/v1/names/till", "").await.status, 404);

    for wrong in [r#"{"ttl_ms":1}"#, r#"{"ttl_ms":1000,"session":7}"#] {
        let refused = rig.ask("PUT", "/v1/names/till", wrong).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "Q0203"), "{wrong}");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_is_shown_as_one_and_confirmed_under_its_epoch() {
    let rig = Rig::start().await;
    let reserved = rig.ask("PUT", "/v1/names/till", r#"{"reserve":true,"ttl_ms":600000}"#).await;
    let epoch = reserved.json()["epoch"].as_u64().expect("it is reserved");
    let shown = rig.ask("GET", "/v1/names/till", "").await.json();
    assert_eq!((&shown["reserved"], shown["epoch"].as_u64()), (&true.into(), Some(epoch)));

    let body = format!(r#"{{"confirm_epoch":{epoch},"value":"here"}}"#);
    let confirmed = rig.ask("PUT", "/v1/names/till", &body).await;
    assert_eq!((confirmed.status, confirmed.json()["epoch"].as_u64()), (201, Some(epoch)));
    let shown = rig.ask("GET", "/v1/names/till", "").await.json();
    assert_eq!((&shown["reserved"], &shown["value"]), (&false.into(), &"here".into()));
    let again = rig.ask("PUT", "/v1/names/till", &body).await;
    assert_eq!((again.status, again.code().as_str()), (409, "Q0307"));

    let unbound = rig.ask("PUT", "/v1/names/other", r#"{"reserve":true}"#).await;
    assert_eq!((unbound.status, unbound.code().as_str()), (409, "Q0307"));
    for wrong in [
        r#"{"reserve":true,"ttl_ms":1000,"value":"x"}"#,
        r#"{"reserve":true,"confirm_epoch":3}"#,
        r#"{"replace_epoch":3,"confirm_epoch":3}"#,
    ] {
        let refused = rig.ask("PUT", "/v1/names/other", wrong).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "Q0203"), "{wrong}");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amendment_names_the_version_that_was_seen() {
    let rig = Rig::start().await;
    let body = r#"{"value":"one","meta":{"zone":"a"}}"#;
    let epoch = rig.ask("PUT", "/v1/names/till", body).await.json()["epoch"].as_u64().unwrap();
    let version = rig.ask("GET", "/v1/names/till", "").await.json()["version"].as_u64().unwrap();
    let change =
        |value: &str| format!(r#"{{"epoch":{epoch},"version":{version},"value":"{value}"}}"#);
    let amended = rig.ask("PATCH", "/v1/names/till", &change("two")).await;
    assert_eq!(amended.status, 200, "{}", amended.text);
    let late = rig.ask("PATCH", "/v1/names/till", &change("three")).await;
    assert_eq!((late.status, late.code().as_str()), (409, "Q0310"));
    assert_eq!(late.json()["version"], amended.json()["version"]);

    let found = rig.ask("GET", "/v1/names/till?max_stale_ms=600000", "").await;
    let shown = found.json();
    assert_eq!((&shown["value"], &shown["meta"]["zone"]), (&"two".into(), &"a".into()));
    let both = "/v1/names/till?max_stale_ms=1&consistency=linearizable";
    assert_eq!(rig.ask("GET", both, "").await.code(), "Q0205");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_of_one_index_and_labels_choose_what_is_in_them() {
    let rig = Rig::start().await;
    for (name, zone) in [("m/a", "x"), ("m/b", "y"), ("m/c", "x"), ("m/d", "x")] {
        let body = format!(r#"{{"meta":{{"zone":"{zone}"}}}}"#);
        assert_eq!(rig.ask("PUT", &format!("/v1/names/{name}"), &body).await.status, 201);
    }
    let path = "/v1/names?prefix=m/&labels=zone%3Dx,!new&limit=2";
    let first = rig.ask("GET", path, "").await.json();
    let next = first["next"].as_str().expect("there is more").to_owned();
    assert_eq!(rig.ask("DELETE", "/v1/names/m/d", "").await.status, 204);
    let second = rig.ask("GET", &format!("{path}&page={next}"), "").await.json();
    assert_eq!(second["index"], first["index"]);
    assert_eq!((&second["names"][0]["name"], &second["next"]), (&"m/d".into(), &().into()));

    let gone = rig.ask("GET", "/v1/names?page=1.m/a", "").await;
    assert_eq!((gone.status, gone.code().as_str()), (410, "Q0311"));
    for wrong in ["page=nonsense", "page=1.a&after=b", "labels=!"] {
        let refused = rig.ask("GET", &format!("/v1/names?{wrong}"), "").await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "Q0205"), "{wrong}");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_waited_for_and_asked_for_twice_it_is_the_same() {
    let rig = Rig::start().await;
    let (one, two) = (session(&rig).await, session(&rig).await);
    let ask = |session: u64, wait: u64| format!(r#"{{"session":{session},"wait_ms":{wait}}}"#);
    let first = rig.ask("POST", "/v1/locks/l", &ask(one, 0)).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let again = rig.ask("POST", "/v1/locks/l", &ask(one, 0)).await;
    assert_eq!(again.json()["epoch"], first.json()["epoch"]);
    let refused = rig.ask("POST", "/v1/locks/l", &ask(two, 1)).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "Q0301"));

    let (body, end) = (ask(two, 60_000), format!("/v1/sessions/{one}"));
    let waits = rig.ask("POST", "/v1/locks/l", &body);
    let ends = rig.ask("DELETE", &end, "");
    let (waited, ended) = tokio::join!(waits, ends);
    assert_eq!((waited.status, ended.status), (201, 204), "{}", waited.text);
    assert!(waited.json()["epoch"].as_u64() > first.json()["epoch"].as_u64());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_are_found_by_key_and_labels_and_go_with_their_session() {
    let rig = Rig::start().await;
    let (one, two) = (session(&rig).await, session(&rig).await);
    for (session, zone) in [(one, "a"), (two, "b")] {
        let body = format!(r#"{{"session":{session},"value":"v","meta":{{"zone":"{zone}"}}}}"#);
        let set = rig.ask("PUT", "/v1/properties/worker", &body).await;
        assert_eq!(set.status, 200, "{}", set.text);
    }
    let count = async |query: &str| {
        let found = rig.ask("GET", &format!("/v1/properties?{query}"), "").await;
        found.json()["properties"].as_array().expect("a list").len()
    };
    assert_eq!((count("key=worker").await, count("labels=zone%3Da").await), (2, 1));
    let first = rig.ask("GET", "/v1/properties?key=worker&limit=1", "").await.json();
    let next = first["next"].as_str().expect("there is more").to_owned();
    let path = format!("/v1/properties?key=worker&limit=1&page={next}");
    let second = rig.ask("GET", &path, "").await.json();
    let shown = |page: &serde_json::Value| page["properties"][0]["session"].as_u64();
    assert_eq!((shown(&first), shown(&second)), (Some(one), Some(two)));
    assert_eq!((&second["index"], &second["next"]), (&first["index"], &().into()));
    for (page, status, code) in [("nonsense", 400, "Q0205"), ("1.2.a", 410, "Q0311")] {
        let refused = rig.ask("GET", &format!("/v1/properties?page={page}"), "").await;
        assert_eq!((refused.status, refused.code().as_str()), (status, code));
    }

    let late = format!(r#"{{"session":{one},"version":1}}"#);
    let late = rig.ask("PUT", "/v1/properties/worker", &late).await;
    assert_eq!((late.status, late.code().as_str()), (409, "Q0310"));
    let gone = format!("/v1/properties/worker?session={one}");
    assert_eq!(rig.ask("DELETE", &gone, "").await.status, 204);
    assert_eq!(rig.ask("DELETE", &format!("/v1/sessions/{two}"), "").await.status, 204);
    assert_eq!(count("prefix=").await, 0);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_counts_and_says_where_it_stands() {
    let rig = Rig::start().await;
    let ask = async |body: &str| rig.ask("POST", "/v1/counters/hits", body).await;
    assert_eq!(rig.ask("GET", "/v1/counters/hits", "").await.code(), "Q0312");
    assert_eq!(ask("").await.json()["value"], 1);
    assert_eq!(ask(r#"{"add":-5,"expected":1}"#).await.json()["value"], -4);
    for wrong in [r#"{"expected":1}"#, r#"{"add":-9223372036854775808}"#] {
        let refused = ask(wrong).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "Q0313"), "{wrong}");
        assert_eq!(refused.json()["value"], -4);
    }
    assert_eq!(rig.ask("GET", "/v1/counters/hits", "").await.json()["value"], -4);
    assert_eq!(rig.ask("DELETE", "/v1/counters/hits?expected=-4", "").await.status, 204);
    assert_eq!(rig.ask("DELETE", "/v1/counters/hits", "").await.code(), "Q0312");
    rig.stop().await;
}
