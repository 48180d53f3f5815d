//! The endpoints of a service, from an API server that answers in bytes written down here.

use crate::common;

use std::sync::{Arc, Mutex};

use common::web::{Web, answer, chunk, json, stream};
use common::{seen, source, trouble};
use tokio::sync::mpsc::UnboundedSender;

/// A watch that was opened: the head of its request, and where its events go in.
type Watch = (String, UnboundedSender<Vec<u8>>);

/// A slice as the API server shows it, shortened by what nobody here reads.
fn slice(name: &str, version: u32, endpoints: &[(&str, bool, bool)]) -> String {
    let endpoint = |(ip, ready, terminating): &(&str, bool, bool)| {
        let conditions =
            format!(r#"{{"ready":{ready},"serving":{ready},"terminating":{terminating}}}"#);
        let target = r#"{"kind":"Pod","namespace":"prod"}"#;
        format!(r#"{{"addresses":["{ip}"],"conditions":{conditions},"targetRef":{target}}}"#)
    };
    let endpoints = endpoints.iter().map(endpoint).collect::<Vec<_>>().join(",");
    let kind = r#""apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice""#;
    let about = format!(r#""namespace":"prod","name":"{name}","resourceVersion":"{version}""#);
    let http = r#"{"name":"http","port":80,"protocol":"TCP"}"#;
    let mesh = r#"{"name":"mesh","port":4747,"protocol":"TCP"}"#;
    let ports = format!(r#""addressType":"IPv4","ports":[{http},{mesh}]"#);
    format!(r#"{{{kind},"metadata":{{{about}}},"endpoints":[{endpoints}],{ports}}}"#)
}

fn list(version: u32, more: &str, slices: &[String]) -> String {
    let kind = r#""kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1""#;
    let about = format!(r#""resourceVersion":"{version}","continue":"{more}""#);
    format!(r#"{{{kind},"metadata":{{{about}}},"items":[{}]}}"#, slices.join(","))
}

fn event(kind: &str, object: &str) -> Vec<u8> {
    chunk(&format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n"))
}

#[tokio::test]
async fn a_pod_finds_all_endpoints_by_its_account_over_tls() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let noted = heads.clone();
    let web = Web::start_tls(move |head| {
        noted.lock().unwrap().push(head.to_owned());
        let first = slice("q-1", 5, &[("10.0.0.1", true, false), ("10.0.0.2", false, false)]);
        let second = slice("q-2", 6, &[("10.0.0.3", false, true)]);
        if head.contains("continue=next%2Fpage") {
            json(&list(7, "", &[second]))
        } else {
            json(&list(7, "next/page", &[first]))
        }
    })
    .await;
    let account = tempfile::tempdir().unwrap();
    for (file, text) in [("ca.crt", web.pem.as_str()), ("token", "tok.en\n"), ("namespace", "prod")]
    {
        std::fs::write(account.path().join(file), text).unwrap();
    }
    let at = account.path().display();
    let spec = format!("k8s:///quorate?port=mesh&api=https://{}&account={at}", web.address);
    let expected = ["10.0.0.1:4747", "10.0.0.2:4747", "10.0.0.3:4747!"];
    assert_eq!(seen(source(&spec).as_mut()).await, expected, "ready or not; who terminates drains");
    let head = heads.lock().unwrap()[0].clone();
    let path = "/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices\
                ?labelSelector=kubernetes.io%2Fservice-name%3Dquorate&limit=200";
    assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{head}");
    assert!(head.to_ascii_lowercase().contains("authorization: bearer tok.en\r\n"), "{head}");
    // Another certificate is not trusted, whatever it says.
    let stranger = Web::start_tls(|_| json(&list(1, "", &[]))).await;
    std::fs::write(account.path().join("ca.crt"), &stranger.pem).unwrap();
    let why = trouble(source(&spec).as_mut()).await;
    assert!(why.contains("certificate"), "{why}");
}

#[tokio::test]
async fn after_a_list_changes_are_watched_and_what_is_too_old_is_listed_anew() {
    let watches: Arc<Mutex<Vec<Watch>>> = Arc::default();
    let opened = watches.clone();
    let web = Web::start(move |head| {
        if !head.contains("watch=1") {
            return json(&list(10, "", &[slice("q-1", 9, &[("10.0.0.1", true, false)])]));
        }
        let (into, reply) = stream();
        opened.lock().unwrap().push((head.to_owned(), into));
        reply
    })
    .await;
    let spec = format!("k8s://prod/quorate?port=4747&api=http://{}", web.address);
    let mut slices = source(&spec);
    assert_eq!(seen(slices.as_mut()).await, ["10.0.0.1:4747"]);

    let events = async {
        common::eventually("it watches", || !watches.lock().unwrap().is_empty()).await;
        let (head, into) = watches.lock().unwrap()[0].clone();
        assert!(
            head.contains("resourceVersion=10&") && head.contains("allowWatchBookmarks=true"),
            "{head}"
        );
        into.send(event("BOOKMARK", r#"{"metadata":{"resourceVersion":"11"}}"#)).unwrap();
        let two = [("10.0.0.1", true, true), ("10.0.0.2", true, false)];
        into.send(event("MODIFIED", &slice("q-1", 12, &two))).unwrap();
    };
    let (found, ()) = tokio::join!(seen(slices.as_mut()), events);
    assert_eq!(found, ["10.0.0.1:4747!", "10.0.0.2:4747"], "the look waited for the change");

    let into = watches.lock().unwrap()[0].1.clone();
    into.send(event("ADDED", &slice("q-2", 13, &[("10.0.0.3", true, false)]))).unwrap();
    assert_eq!(seen(slices.as_mut()).await, ["10.0.0.1:4747!", "10.0.0.2:4747", "10.0.0.3:4747"]);
    into.send(event("DELETED", &slice("q-1", 14, &[]))).unwrap();
    assert_eq!(seen(slices.as_mut()).await, ["10.0.0.3:4747"]);

    let gone = r#"{"kind":"Status","code":410,"reason":"Expired"}"#;
    into.send(event("ERROR", gone)).unwrap();
    assert_eq!(seen(slices.as_mut()).await, ["10.0.0.1:4747"], "listed anew");
    assert_eq!(watches.lock().unwrap().len(), 1, "one watch served all of it");
}

#[tokio::test]
async fn who_may_not_watch_lists_again_and_who_may_not_list_is_told() {
    let lists = Arc::new(Mutex::new(0_u8));
    let listed = lists.clone();
    let web = Web::start(move |head| {
        if head.contains("watch=1") {
            return answer("403 Forbidden", "", r#"{"kind":"Status","message":"cannot watch"}"#);
        }
        let mut lists = listed.lock().unwrap();
        *lists += 1;
        let ip = format!("10.0.0.{lists}");
        json(&list(10, "", &[slice("q-1", 9, &[(&ip, true, false)])]))
    })
    .await;
    let mut slices = source(&format!("k8s://prod/quorate?port=4747&api=http://{}", web.address));
    for number in 1..=4 {
        assert_eq!(seen(slices.as_mut()).await, [format!("10.0.0.{number}:4747")]);
    }
    let no = r#"{"kind":"Status","message":"endpointslices is forbidden"}"#;
    let web = Web::start(move |_| answer("403 Forbidden", "", no)).await;
    let why =
        trouble(source(&format!("k8s://a/b?port=1&api=http://{}", web.address)).as_mut()).await;
    assert!(why.contains("403") && why.contains("is forbidden"), "{why}");
}

#[tokio::test]
async fn a_port_without_its_name_and_an_answer_that_is_none_are_errors() {
    let body = list(1, "", &[slice("q-1", 1, &[("10.0.0.1", true, false)])]);
    for (port, body, part) in [
        ("raft", body.as_str(), "no port with the name `raft`"),
        ("1", "{\"items\": 7}", "no items"),
        ("1", "<html>", "JSON"),
    ] {
        let body = body.to_owned();
        let web = Web::start(move |_| json(&body)).await;
        let spec = format!("k8s://prod/quorate?port={port}&api=http://{}", web.address);
        let why = trouble(source(&spec).as_mut()).await;
        assert!(why.contains(part), "{why}");
    }
}
