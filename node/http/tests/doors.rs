//! Who may ask.

use crate::common;

use common::Rig;
use quorate_http::{Face, FaceConfig, FaceError};

const TOKEN: &str = "a-token-for-tests-only";

#[tokio::test(flavor = "multi_thread")]
async fn writers_show_the_token_and_readers_need_none() {
    let rig = Rig::start_quorate(Some(TOKEN), |_| ()).await;
    let right = format!("Bearer {TOKEN}");
    let wrong = format!("Bearer {TOKEN}x");
    for (method, path) in [
        ("PUT", "/v1/names/a"),
        ("DELETE", "/v1/names/a"),
        ("POST", "/v1/sessions"),
        ("POST", "/v1/sessions/1/renew"),
        ("DELETE", "/v1/sessions/1"),
    ] {
        let bare = rig.ask(method, path, "").await;
        assert_eq!((bare.status, bare.code().as_str()), (401, "Q0401"), "{method} {path}");
        assert_eq!(bare.headers["www-authenticate"], "Bearer");
        for wrong in [wrong.as_str(), "Bearer ", "Basic abc", TOKEN] {
            let answer = rig.ask_with(method, path, &[("Authorization", wrong)], "").await;
            assert_eq!(answer.status, 401, "{wrong}");
        }
    }
    let written = rig.ask_with("PUT", "/v1/names/a", &[("Authorization", &right)], "").await;
    assert_eq!(written.status, 201);
    for path in ["/v1/names/a", "/v1/status", "/livez", "/readyz", "/metrics", "/v1/names"] {
        assert_eq!(rig.ask("GET", path, "").await.status, 200, "{path}");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_face_that_others_reach_needs_a_token_that_cannot_be_guessed() {
    let rig = Rig::start().await;
    let start = |listen: &str, token: Option<&str>| {
        let (listen, token) = (listen.to_owned(), token.map(str::to_owned));
        Face::start(rig.node.clone(), FaceConfig { listen, token, allow_exec: false, faults: None })
    };
    let open = start("0.0.0.0:0", None).await.unwrap_err();
    assert!(matches!(&open, FaceError::Open { listen } if listen == "0.0.0.0:0"), "{open}");
    let short = start("127.0.0.1:0", Some("short")).await.unwrap_err();
    assert!(matches!(short, FaceError::Token { bytes: 5 }), "{short}");
    let taken = start(&rig.face.address().to_string(), None).await.unwrap_err();
    assert!(matches!(taken, FaceError::Listen { .. }), "{taken}");
    let guarded = start("0.0.0.0:0", Some(TOKEN)).await.unwrap();
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], guarded.address().port()));
    // There it may be called by any name, since the token is what counts.
    let named = common::ask(to, "GET", "/readyz", &[("Host", "node.example")], "").await;
    assert_eq!(named.status, 200);
    assert_eq!(common::ask(to, "PUT", "/v1/names/a", &[], "").await.status, 401);
    guarded.close().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_on_this_machine_gets_nothing_done_and_reads_nothing() {
    let rig = Rig::start().await;
    for origin in ["http://evil.example", "null", "http://127.0.0.1"] {
        let answer = rig.ask_with("PUT", "/v1/names/a", &[("Origin", origin)], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "Q0403"), "{origin}");
    }
    // A page whose own name came to mean 127.0.0.1 is known by that name.
    for method in ["GET", "PUT"] {
        let rebound = [("Host", "evil.example:4748")];
        let answer = rig.ask_with(method, "/v1/names/a", &rebound, "").await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "Q0404"));
    }
    let read = rig.ask_with("GET", "/v1/names", &[("Origin", "http://evil.example")], "").await;
    assert!(!read.headers.contains_key("access-control-allow-origin"));
    assert_eq!(rig.node.names().list("", None, 1).registrations, []);
    rig.stop().await;
}
