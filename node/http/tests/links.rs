//! Links and topology rules, as a client sees them.

use crate::common;

use common::Rig;
use serde_json::{Value, json};

async fn labelled() -> Rig {
    let labels = [("zone".to_owned(), "a".to_owned()), ("group".to_owned(), "shop".to_owned())];
    Rig::start_quorate(None, |config| config.labels = labels.into()).await
}

fn rules() -> Value {
    json!([
        { "from": "role:edge", "to": "any", "verdict": "deny" },
        { "from": "any", "to": "label:zone=b", "verdict": "deny", "lanes": ["bulk"] },
        { "from": "group:shop", "to": "node:n1", "verdict": "allow", "lanes": ["high", "bulk"],
          "rate": { "bulk": "10MiB/s", "high": "1kB/s burst 1MiB" } },
        { "from": "any", "to": "any", "verdict": "allow", "rate": "1GiB/s" },
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_set_shown_replaced_by_version_and_taken_back() {
    let rig = labelled().await;
    let none = rig.ask("GET", "/v1/links/rules", "").await;
    assert_eq!(
        (none.status, &none.json()["version"], &none.json()["rules"]),
        (200, &json!(0), &json!([]))
    );

    let wish = json!({ "rules": rules(), "replace_version": 0 }).to_string();
    let set = rig.ask("PUT", "/v1/links/rules", &wish).await;
    assert_eq!((set.status, &set.json()["rules"]), (200, &json!(4)), "{}", set.text);
    let version = set.json()["version"].as_u64().unwrap();
    assert_eq!(set.headers["quorate-index"], version.to_string());

    let shown = rig.ask("GET", "/v1/links/rules", "").await;
    assert_eq!(
        (shown.json()["version"].as_u64(), shown.headers["quorate-node"].as_str()),
        (Some(version), "n1")
    );
    let all = json!(["high", "normal", "bulk"]);
    let every = json!({ "high": "1GiB/s", "normal": "1GiB/s", "bulk": "1GiB/s" });
    let listed = shown.json()["rules"].clone();
    assert_eq!(
        listed[0],
        json!({ "from": "role:edge", "to": "any", "verdict": "deny", "lanes": all })
    );
    assert_eq!(listed[1]["lanes"], json!(["bulk"]));
    assert_eq!(listed[2], rules()[2]);
    assert_eq!((&listed[3]["lanes"], &listed[3]["rate"]), (&all, &every));

    let late = rig.ask("PUT", "/v1/links/rules", &wish).await;
    assert_eq!((late.status, late.code().as_str()), (409, "Q0308"));
    assert_eq!(
        (late.json()["version"].as_u64(), late.json()["outcome"].as_str()),
        (Some(version), Some("refused"))
    );
    // What was shown can be sent back, and a repetition of it is done once.
    let back = json!({ "rules": listed, "replace_version": version }).to_string();
    let key = [("Idempotency-Key", "the same")];
    let once = rig.ask_with("PUT", "/v1/links/rules", &key, &back).await;
    let twice = rig.ask_with("PUT", "/v1/links/rules", &key, &back).await;
    assert_eq!((once.status, once.text == twice.text), (200, true), "{}", twice.text);
    assert_eq!(rig.ask("GET", "/v1/links/rules", "").await.json()["rules"], listed);

    assert_eq!(rig.ask("PUT", "/v1/links/rules", r#"{"rules":[]}"#).await.status, 200);
    let none = rig.ask("GET", "/v1/links/rules?consistency=local", "").await;
    assert!(none.headers.contains_key("quorate-stale-ms"));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_is_explained_rule_by_rule_also_under_rules_that_are_not_in_force() {
    let rig = labelled().await;
    let open = rig.ask("GET", "/v1/links/explain?from=n1&to=n1", "").await;
    assert_eq!(open.status, 200, "{}", open.text);
    let open = open.json();
    assert_eq!((&open["version"], &open["ways"][1]["rule"]), (&json!(0), &Value::Null));
    assert_eq!(open["nodes"][0]["role"], "voter");
    assert_eq!(
        (&open["nodes"][0]["groups"], &open["nodes"][0]["labels"]["zone"]),
        (&json!(["shop"]), &json!("a"))
    );
    assert_eq!(
        (&open["ways"][0]["name"], &open["ways"][0]["allowed"]),
        (&json!("n1->n1"), &json!(true))
    );

    let dry = json!({ "from": "n1", "to": "n1", "rules": rules() }).to_string();
    let dry = rig.ask("POST", "/v1/links/explain", &dry).await;
    assert_eq!(dry.status, 200, "{}", dry.text);
    let told = dry.json();
    assert_eq!(told["version"], Value::Null, "they are not in force");
    let way = &told["ways"][0];
    assert_eq!((&way["rule"]["number"], &way["lanes"]), (&json!(3), &json!(["high", "bulk"])));
    assert_eq!(way["rates"], json!({ "bulk": "10MiB/s", "high": "1kB/s burst 1MiB" }));
    assert_eq!(
        way["passed"],
        json!([
            { "number": 1, "text": "deny role:edge -> any", "why": "from: n1 is a voter" },
            { "number": 2, "text": "deny any -> label:zone=b on bulk", "why": "to: n1 has zone=a" },
        ])
    );
    assert_eq!(rig.ask("GET", "/v1/links/rules", "").await.json()["version"], 0, "nothing changed");

    let denied = json!({ "rules": [{ "from": "node:n1", "to": "any", "verdict": "deny" }] });
    assert_eq!(rig.ask("PUT", "/v1/links/rules", &denied.to_string()).await.status, 200);
    let told = rig.ask("GET", "/v1/links/explain?from=n1&to=n1", "").await.json();
    assert_eq!(
        (&told["ways"][0]["allowed"], &told["ways"][0]["lanes"]),
        (&json!(false), &json!([]))
    );
    // Of itself no node has a link.
    let links = rig.ask("GET", "/v1/links", "").await;
    assert_eq!((&links.json()["node"], &links.json()["links"]), (&json!("n1"), &json!([])));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_do_not_fit_are_refused_by_code_and_number_and_change_nothing() {
    let rig = labelled().await;
    let fine = json!({ "from": "any", "to": "any", "verdict": "deny" });
    let with = |member: &str, value: Value| {
        let mut wrong = fine.clone();
        wrong[member] = value;
        json!({ "rules": [fine, wrong] }).to_string()
    };
    for (body, code, said) in [
        (with("from", json!("role:king")), "Q0208", "rule 2: `king`"),
        (with("to", json!("zone=a")), "Q0208", "rule 2: `zone=a`"),
        (with("verdict", json!("relay")), "Q0208", "allow or deny"),
        (with("lanes", json!([])), "Q0208", "rule 2 names no lane"),
        (with("lanes", json!(["urgent"])), "Q0208", "high, normal or bulk"),
        (with("rate", json!("fast")), "Q0208", "rule 2: `fast`"),
        (with("rate", json!("0B/s")), "Q0208", "deny it"),
        (with("rate", json!({ "urgent": "1B/s" })), "Q0208", "`urgent`"),
        (with("rate", json!(7)), "Q0203", ""),
        (with("rates", json!("1B/s")), "Q0203", "rates"),
        (json!({ "rules": vec![fine.clone(); 257] }).to_string(), "Q0208", "257"),
        (json!({ "rules": [{ "from": "any" }] }).to_string(), "Q0203", ""),
        ("{}".to_owned(), "Q0203", "rules"),
    ] {
        let answer = rig.ask("PUT", "/v1/links/rules", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{body}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(said), "{}", answer.text);
    }
    for (method, path, body, status, code) in [
        ("GET", "/v1/links/explain?from=n1&to=n9", "", 404, "Q0309"),
        ("GET", "/v1/links/explain?from=a%20b&to=n1", "", 400, "Q0205"),
        ("GET", "/v1/links/explain?from=n1", "", 400, "Q0205"),
        ("POST", "/v1/links/explain", r#"{"from":"n1","to":"n9","rules":[]}"#, 404, "Q0309"),
        ("POST", "/v1/links/explain", r#"{"from":"n1","to":"n1"}"#, 400, "Q0203"),
        ("DELETE", "/v1/links/rules", "", 405, "Q0207"),
        ("GET", "/v1/links/n1", "", 404, "Q0206"),
    ] {
        let answer = rig.ask(method, path, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
    }
    assert_eq!(rig.ask("GET", "/v1/links/rules", "").await.json()["version"], 0);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_set_only_by_whoever_may_write() {
    let token = "0123456789abcdef";
    let rig = Rig::start_quorate(Some(token), |_| ()).await;
    let bearer = format!("Bearer {token}");
    let shown = [("Authorization", bearer.as_str())];
    for (method, path, body) in [
        ("PUT", "/v1/links/rules", r#"{"rules":[]}"#),
        ("POST", "/v1/links/explain", r#"{"from":"n1","to":"n1","rules":[]}"#),
    ] {
        assert_eq!(rig.ask(method, path, body).await.code(), "Q0401", "{method} {path}");
        assert_eq!(rig.ask_with(method, path, &shown, body).await.status, 200, "{method} {path}");
    }
    assert_eq!(rig.ask("GET", "/v1/links/rules", "").await.status, 200);
    rig.stop().await;
}
