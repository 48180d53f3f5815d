//! Silence on the system's own TCP. That nothing came through is shown by something that was sent later,
//! another way, and has come.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use quorate_env::{BoxFuture, Listener, Net, Secured, Stream, Tcp};
use quorate_faults::{Fault, Faults, Way};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{LONG, in_time, waits};

/// Two nodes, of which the near one has dialled the far one.
struct Cable {
    near: Stream,
    far: Stream,
    near_faults: Faults,
    far_faults: Faults,
    door: Box<dyn Listener>,
    /// Where the far one listens.
    address: String,
}

impl Cable {
    async fn lay() -> Self {
        let (near_faults, far_faults) = (Faults::new(), Faults::new());
        let mut door = net(&far_faults).listen("127.0.0.1:0").await.unwrap();
        let address = door.address();
        let near = net(&near_faults);
        let (near, far) = tokio::join!(near.connect(&address), door.accept());
        let (near, far) = (near.unwrap(), far.unwrap().0);
        Self { near, far, near_faults, far_faults, door, address }
    }

    fn silence(&self, way: Way) -> Fault {
        Fault::Silence { peer: self.address.clone(), way }
    }
}

fn net(faults: &Faults) -> Arc<dyn Net> {
    faults.net(Arc::new(Tcp))
}

async fn send(from: &mut Stream, text: &str) {
    in_time(from.writer.write_all(text.as_bytes())).await.unwrap();
    in_time(from.writer.flush()).await.unwrap();
}

async fn comes(to: &mut Stream, text: &str) {
    let mut bytes = vec![0; text.len()];
    in_time(to.reader.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), text);
}

/// Nothing has come, not even an end.
fn is_silent(at: &mut Stream) -> bool {
    waits(at.reader.read(&mut [0; 8]))
}

#[tokio::test]
async fn what_is_sent_in_a_silence_is_held_while_the_other_way_is_open_and_comes_after_the_heal() {
    let mut cable = Cable::lay().await;
    send(&mut cable.near, "before ").await;
    comes(&mut cable.far, "before ").await;
    let id = cable.near_faults.inject(cable.silence(Way::Out), LONG).unwrap();
    send(&mut cable.near, "one ").await;
    send(&mut cable.near, "two ").await;
    send(&mut cable.far, "back").await;
    comes(&mut cable.near, "back").await;
    assert!(is_silent(&mut cable.far));
    assert!(cable.near_faults.heal(id) && !cable.near_faults.heal(id));
    send(&mut cable.near, "three").await;
    comes(&mut cable.far, "one two three").await;
}

#[tokio::test]
async fn what_comes_in_a_silence_is_not_heard_while_the_other_way_is_open() {
    let mut cable = Cable::lay().await;
    cable.near_faults.inject(cable.silence(Way::In), LONG).unwrap();
    send(&mut cable.far, "unheard").await;
    send(&mut cable.near, "there").await;
    comes(&mut cable.far, "there").await;
    assert!(is_silent(&mut cable.near));
    assert_eq!(cable.near_faults.heal_all(), 1);
    comes(&mut cable.near, "unheard").await;
}

#[tokio::test]
async fn a_silence_ends_by_itself_for_who_waits_to_hear_and_for_what_waits_to_be_sent() {
    let mut cable = Cable::lay().await;
    let lasts = Duration::from_millis(300);
    cable.near_faults.inject(cable.silence(Way::Both), lasts).unwrap();
    send(&mut cable.near, "there").await;
    send(&mut cable.far, "back").await;
    tokio::join!(comes(&mut cable.far, "there"), comes(&mut cable.near, "back"));
    assert_eq!(cable.near_faults.present(), []);
}

#[tokio::test]
async fn who_writes_on_into_a_silence_is_held_back_and_nothing_is_lost() {
    let mut cable = Cable::lay().await;
    cable.near_faults.inject(cable.silence(Way::Out), LONG).unwrap();
    let text: String = (0..100_000).map(|n| format!("{n} ")).collect();
    let mut writing = Box::pin(send(&mut cable.near, &text));
    assert!(waits(&mut writing), "so much is not held");
    cable.near_faults.heal_all();
    tokio::join!(writing, comes(&mut cable.far, &text));
}

#[tokio::test]
async fn who_dials_into_a_silence_hangs_until_it_is_over_and_others_do_not() {
    let mut cable = Cable::lay().await;
    let id = cable.near_faults.inject(cable.silence(Way::Out), LONG).unwrap();
    let near = net(&cable.near_faults);
    let mut dials = near.connect(&cable.address);
    assert!(waits(&mut dials));
    let mut other = Tcp.listen("127.0.0.1:0").await.unwrap();
    let at = other.address();
    let (dialled, accepted) = tokio::join!(in_time(near.connect(&at)), other.accept());
    let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap().0);
    send(&mut dialled, "hello").await;
    comes(&mut accepted, "hello").await;
    assert!(waits(&mut dials));
    cable.near_faults.heal(id);
    let (dialled, accepted) = tokio::join!(in_time(dials), cable.door.accept());
    send(&mut dialled.unwrap(), "late").await;
    comes(&mut accepted.unwrap().0, "late").await;
}

#[tokio::test]
async fn a_node_that_is_silent_to_all_hears_and_accepts_nobody_though_it_has_dialled_none_of_them()
{
    let mut cable = Cable::lay().await;
    let all = Fault::Silence { peer: "*".into(), way: Way::Both };
    cable.far_faults.inject(all, LONG).unwrap();
    send(&mut cable.near, "there").await;
    send(&mut cable.far, "back").await;
    let mut knocks = in_time(net(&cable.near_faults).connect(&cable.address)).await.unwrap();
    send(&mut knocks, "hello").await;
    assert!(waits(cable.door.accept()), "it is not let in");
    assert!(is_silent(&mut cable.far) && is_silent(&mut cable.near));
    cable.far_faults.heal_all();
    let mut accepted = in_time(cable.door.accept()).await.unwrap().0;
    comes(&mut accepted, "hello").await;
    comes(&mut cable.far, "there").await;
    comes(&mut cable.near, "back").await;
}

#[tokio::test]
async fn who_lets_go_in_a_silence_is_not_heard_to_do_so_before_it_is_over() {
    for says in ["", "last"] {
        let mut cable = Cable::lay().await;
        let id = cable.near_faults.inject(cable.silence(Way::Out), LONG).unwrap();
        send(&mut cable.near, says).await;
        drop(cable.near);
        // By now an end would have come.
        let (mut one, mut other) = {
            let (dialled, accepted) =
                tokio::join!(Tcp.connect(&cable.address), cable.door.accept());
            (dialled.unwrap(), accepted.unwrap().0)
        };
        send(&mut one, "later").await;
        comes(&mut other, "later").await;
        assert!(is_silent(&mut cable.far), "{says:?}");
        cable.near_faults.heal(id);
        let mut heard = String::new();
        in_time(cable.far.reader.read_to_string(&mut heard)).await.unwrap();
        assert_eq!(heard, says);
    }
}

/// TCP that claims to be secured by what was accepted.
struct Sealed;

impl Net for Sealed {
    fn listen<'a>(&'a self, at: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Tcp.listen(at)
    }

    fn connect<'a>(&'a self, to: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async { self.secure(Tcp.connect(to).await?).await })
    }

    fn secure(&self, stream: Stream) -> BoxFuture<'_, io::Result<Stream>> {
        let node = "n1".try_into().unwrap();
        let secured = Some(Secured { node, exporter: [7; 32] });
        Box::pin(async { Ok(Stream { secured, ..stream }) })
    }
}

#[tokio::test]
async fn connections_are_secured_by_the_net_below_and_are_silent_all_the_same() {
    let faults = Faults::new();
    let net = faults.net(Arc::new(Sealed));
    let mut door = net.listen("127.0.0.1:0").await.unwrap();
    let address = door.address();
    let (dialled, accepted) = tokio::join!(net.connect(&address), door.accept());
    let (mut dialled, accepted) = (dialled.unwrap(), accepted.unwrap().0);
    assert!(dialled.secured.is_some() && accepted.secured.is_none());
    let mut accepted = net.secure(accepted).await.unwrap();
    assert!(accepted.secured.is_some());
    faults.inject(Fault::Silence { peer: "*".into(), way: Way::In }, LONG).unwrap();
    send(&mut dialled, "there").await;
    assert!(is_silent(&mut accepted));
    faults.heal_all();
    comes(&mut accepted, "there").await;
}

#[tokio::test]
async fn weather_on_the_way_out_delays_what_is_sent_and_nothing_else() {
    let mut cable = Cable::lay().await;
    let weather = |delay_ms| Fault::Weather {
        peer: cable.address.clone(),
        way: Way::Out,
        delay_ms,
        jitter_ms: 5,
        loss: 0.1,
        bytes_per_second: Some(10_000_000),
    };
    let (soon, late) = (weather(5), weather(60_000));
    cable.near_faults.inject(soon, LONG).unwrap();
    let text: String = (0..100_000).map(|n| format!("{n} ")).collect();
    tokio::join!(send(&mut cable.near, &text), comes(&mut cable.far, &text));
    cable.near_faults.inject(late, LONG).unwrap();
    send(&mut cable.near, "late").await;
    send(&mut cable.far, "back").await;
    comes(&mut cable.near, "back").await;
    assert!(is_silent(&mut cable.far));
}

#[tokio::test]
async fn weather_comes_and_goes_with_its_fault() {
    let mut cable = Cable::lay().await;
    let weather = Fault::Weather {
        peer: cable.address.clone(),
        way: Way::In,
        delay_ms: 60_000,
        jitter_ms: 0,
        loss: 0.0,
        bytes_per_second: None,
    };
    let id = cable.near_faults.inject(weather, LONG).unwrap();
    let near = net(&cable.near_faults);
    assert!(waits(near.connect(&cable.address)), "it takes two minutes");
    cable.near_faults.heal(id);
    let (dialled, accepted) =
        tokio::join!(in_time(near.connect(&cable.address)), cable.door.accept());
    send(&mut accepted.unwrap().0, "soon").await;
    comes(&mut dialled.unwrap(), "soon").await;
}
