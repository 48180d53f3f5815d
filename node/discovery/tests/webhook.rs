//! Lists behind an URL, from a server that answers in bytes written down here.

use crate::common;

use std::sync::{Arc, Mutex};

use common::web::{Web, answer, json};
use common::{seen, source, trouble, written};

#[tokio::test]
async fn a_list_is_lines_or_json_and_settings_of_ours_are_not_sent() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let noted = heads.clone();
    let web = Web::start(move |head| {
        noted.lock().unwrap().push(head.to_owned());
        match head.starts_with("GET /json") {
            true => json(r#"["a:1", {"address": "b", "draining": true}]"#),
            false => answer("200 OK", "", "# nodes\nc:3\nd # no port\n"),
        }
    })
    .await;
    let at = &web.address;
    assert_eq!(
        seen(source(&format!("http://{at}/json?of=q#port=9")).as_mut()).await,
        ["a:1", "b:9!"]
    );
    assert_eq!(seen(source(&format!("http://{at}/lines#port=9")).as_mut()).await, ["c:3", "d:9"]);
    let head = heads.lock().unwrap()[0].clone();
    assert!(head.starts_with("GET /json?of=q HTTP/1.1\r\n"), "{head}");
    assert!(
        trouble(source(&format!("http://{at}/lines")).as_mut())
            .await
            .contains("`d` is not HOST:PORT")
    );
}

#[tokio::test]
async fn over_tls_a_token_goes_along_and_the_certificate_must_be_known() {
    let web = Web::start_tls(|head| {
        let knows = head.to_ascii_lowercase().contains("authorization: bearer t0ken\r\n");
        if knows { json(r#"["a:1"]"#) } else { answer("401 Unauthorized", "", "") }
    })
    .await;
    let (_dir, token) = written("token", "t0ken");
    let (_other, ca) = written("ca.pem", &web.pem);
    let url = format!("https://{}/nodes", web.address);
    let known = source(&format!("{url}#token-file={token}&ca-file={ca}"));
    assert_eq!(seen({ known }.as_mut()).await, ["a:1"]);
    assert!(trouble(source(&format!("{url}#ca-file={ca}")).as_mut()).await.contains("401"));
    // Whom this system trusts, or that it has no list of them.
    assert!(trouble(source(&url).as_mut()).await.contains("certificate"));
    let open = source(&format!("{url}#token-file={token}&ca-file={ca}"));
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let why = trouble({ open }.as_mut()).await;
    assert!(why.contains("chmod 600"), "{why}");
}

#[tokio::test]
async fn failures_endless_answers_and_wrong_roads_are_errors() {
    let web = Web::start(|head| match head.split(' ').nth(1) {
        Some("/round") => answer("302 Found", "Location: /round\r\n", ""),
        Some("/long") => answer("200 OK", "", &"n1:1 ".repeat(1024 * 1024)),
        Some("/torn") => answer("200 OK", "Content-Length: 10\r\n", "[\"a:1\""),
        Some("/down") => answer("503 Service Unavailable", "", "try\x1b[31m later"),
        _ => answer("200 OK", "", "[1, 2]"),
    })
    .await;
    let at = &web.address;
    for path in ["round", "long", "torn", "numbers"] {
        trouble(source(&format!("http://{at}/{path}")).as_mut()).await;
    }
    let why = trouble(source(&format!("http://{at}/down")).as_mut()).await;
    assert!(why.contains("503") && why.contains("try\u{fffd}[31m later"), "{why}");
}
