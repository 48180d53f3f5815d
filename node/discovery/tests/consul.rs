//! A service in Consul, from a server that answers in bytes written down here.

use crate::common;

use std::sync::{Arc, Mutex};

use common::web::{Reply, Web, answer};
use common::{eventually, seen, source, trouble, written};

/// An instance as `/v1/health/service` shows it, shortened by what nobody here reads.
fn instance(node: &str, service: &str, port: u16, check: &str, status: &str) -> String {
    let node = format!(r#"{{"Node":"x","Address":"{node}"}}"#);
    let service =
        format!(r#"{{"ID":"q","Service":"quorate","Address":"{service}","Port":{port}}}"#);
    let alive = r#"{"CheckID":"serfHealth","Status":"passing"}"#;
    let own = format!(r#"{{"CheckID":"{check}","Status":"{status}"}}"#);
    format!(r#"{{"Node":{node},"Service":{service},"Checks":[{alive},{own}]}}"#)
}

fn instances(index: u64, all: &[String]) -> Reply {
    let headers = format!("Content-Type: application/json\r\nX-Consul-Index: {index}\r\n");
    answer("200 OK", &headers, &format!("[{}]", all.join(",")))
}

#[tokio::test]
async fn instances_are_candidates_healthy_or_not_and_maintenance_is_draining() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let noted = heads.clone();
    let web = Web::start(move |head| {
        noted.lock().unwrap().push(head.to_owned());
        instances(
            7,
            &[
                instance("10.0.0.1", "", 4747, "service:q", "passing"),
                instance("10.0.0.9", "n2.example", 4748, "service:q", "critical"),
                instance("10.0.0.3", "", 4747, "_service_maintenance:q", "critical"),
            ],
        )
    })
    .await;
    let (_dir, token) = written("token", "s3cret\n");
    let at = &web.address;
    let spec = format!("consul://{at}/quorate?tag=a%20b&dc=east&token-file={token}");
    assert_eq!(
        seen(source(&spec).as_mut()).await,
        ["10.0.0.1:4747", "10.0.0.3:4747!", "n2.example:4748"]
    );
    let head = heads.lock().unwrap()[0].clone();
    let line = "GET /v1/health/service/quorate?stale&dc=east&tag=a%20b HTTP/1.1\r\n";
    assert!(head.starts_with(line), "{head}");
    assert!(head.to_ascii_lowercase().contains("x-consul-token: s3cret\r\n"), "{head}");
    let mut own = source(&format!("consul://{at}/quorate?port=9"));
    assert_eq!(seen(own.as_mut()).await, ["10.0.0.1:9", "10.0.0.3:9!", "n2.example:9"]);
}

#[tokio::test]
async fn later_looks_wait_for_a_newer_index_and_an_older_one_begins_afresh() {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let held: Arc<Mutex<Vec<tokio::sync::mpsc::UnboundedSender<Vec<u8>>>>> = Arc::default();
    let (noted, hold) = (asked.clone(), held.clone());
    let web = Web::start(move |head| {
        let first = head.lines().next().unwrap_or_default().to_owned();
        let mut noted = noted.lock().unwrap();
        noted.push(first);
        let one = [instance("10.0.0.1", "", 1, "c", "passing")];
        match noted.len() {
            1 => instances(40, &one),
            // Held back, as a blocking query is.
            2 => {
                let (into, reply) = common::web::stream();
                hold.lock().unwrap().push(into);
                reply
            }
            3 => instances(5, &one),
            _ => instances(6, &one),
        }
    })
    .await;
    let mut service = source(&format!("consul://{}/quorate?wait=5m", web.address));
    assert_eq!(seen(service.as_mut()).await, ["10.0.0.1:1"]);
    let release = async {
        eventually("it asks again", || !held.lock().unwrap().is_empty()).await;
        let both = [
            instance("10.0.0.1", "", 1, "c", "passing"),
            instance("10.0.0.2", "", 1, "c", "passing"),
        ];
        let into = held.lock().unwrap().pop().unwrap();
        into.send(common::web::chunk(&format!("[{}]", both.join(",")))).unwrap();
        into.send(b"0\r\n\r\n".to_vec()).unwrap();
    };
    let (found, ()) = tokio::join!(seen(service.as_mut()), release);
    assert_eq!(found, ["10.0.0.1:1", "10.0.0.2:1"], "the look waited for the change");
    // That answer had no index, so nothing is held back; then one that goes on from what is seen.
    seen(service.as_mut()).await;
    seen(service.as_mut()).await;
    let asked = asked.lock().unwrap().clone();
    assert!(
        !asked[0].contains("index=") && asked[1].contains("&index=40&wait=300000ms"),
        "{asked:?}"
    );
    assert!(!asked[2].contains("index=") && asked[3].contains("&index=5&"), "{asked:?}");
}

#[tokio::test]
async fn an_answer_without_addresses_or_without_sense_is_an_error() {
    for (status, body, part) in [
        ("200 OK", "{}", "no list"),
        ("200 OK", "[{}]", "no address or no port"),
        ("200 OK", "[", "JSON"),
        (
            "500 Internal Server Error",
            "No cluster leader",
            "500 Internal Server Error: No cluster leader",
        ),
    ] {
        let web = Web::start(move |_| answer(status, "", body)).await;
        let why = trouble(source(&format!("consul://{}/q", web.address)).as_mut()).await;
        assert!(why.contains(part), "{why}");
    }
    let web = Web::start(|_| instances(1, &[])).await;
    assert!(seen(source(&format!("consul://{}/q", web.address)).as_mut()).await.is_empty());
}
