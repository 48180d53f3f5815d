//! Available names, as a client sees them.

use crate::common;

use common::Rig;
use quorate::{Exit, Mailbox, Message, Name, Resolve};

struct Never;
impl Message for Never {}

async fn idle(mut mail: Mailbox<Never>) -> Exit {
    loop {
        let Never = mail.receive().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_available_name_is_shown_with_its_holder_and_says_whether_the_node_is_quorate() {
    let rig = Rig::start().await;
    let available = rig.node.available();
    let mut claims = Vec::new();
    for text in ["a/one", "a/two", "b"] {
        let addr = rig.node.spawn(idle);
        let name = Name::new(text).unwrap();
        claims.push((addr.pid(), available.register(&name, &addr, Resolve::Keep).unwrap()));
    }
    let shown = rig.ask("GET", "/v1/available/a/one", "").await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    assert_eq!(shown.json()["holder"], claims[0].0.to_string());
    assert_eq!(shown.json()["ordinal"], claims[0].1.ordinal().0);
    assert_eq!(shown.json()["quorate"], true);

    let listed = rig.ask("GET", "/v1/available?prefix=a/&limit=1", "").await.json();
    assert_eq!((&listed["names"][0]["name"], &listed["more"]), (&"a/one".into(), &true.into()));
    let listed = rig.ask("GET", "/v1/available?prefix=a/&after=a/one", "").await.json();
    assert_eq!((&listed["names"][0]["name"], &listed["more"]), (&"a/two".into(), &false.into()));

    let free = rig.ask("GET", "/v1/available/c", "").await;
    assert_eq!((free.status, free.code().as_str()), (404, "Q0303"));
    let wrong = rig.ask("GET", "/v1/available/not%20a%20name", "").await;
    assert_eq!((wrong.status, wrong.code().as_str()), (400, "Q0201"));
    assert_eq!(rig.ask("PUT", "/v1/available/c", "{}").await.status, 405);
    rig.stop().await;
}
