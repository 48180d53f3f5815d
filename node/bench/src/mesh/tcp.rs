//! The other side: plain sockets of tokio, with the care that a good program takes. Frames have a length in
//! front, small ones are batched into one write, and nothing waits for Nagle.
//!
//! ```text
//! u32 length of the rest | u8 kind | payload       (little endian)
//! ```
//!
//! Not here: names, processes, sessions, heartbeats, credits; this is what the road itself can carry.

mod outbox;
mod station;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use quorate_env::{now, sleep, spawn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc};

use super::far::Far;
use super::game::{Game, Match, PAUSE, Terms, lost};
use super::latencies::{Latencies, micros};
use crate::error::BenchError;
use crate::probe::{BATCH, millis, rate};
use outbox::Outbox;

pub(crate) use station::serve;

/// Comes back as it was.
pub(crate) const PING: u8 = 1;
/// Is counted.
pub(crate) const ITEM: u8 = 2;
/// Is answered with how many items have come.
pub(crate) const COUNT: u8 = 3;

/// Length and kind.
pub(crate) const HEAD_BYTES: usize = 5;

/// Over how many connections the urgent and the rest go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Roads {
    One,
    Two,
}

#[expect(clippy::disallowed_types, reason = "it is what is measured")]
type Socket = tokio::net::TcpStream;

pub(crate) async fn play(terms: Terms, far: Command, roads: Roads) -> Result<Vec<f64>, BenchError> {
    let listening = || BenchError::system("listening on loopback");
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(listening())?;
    let address = listener.local_addr().map_err(listening())?;
    let far = Far::start(far, &format!("tcp {address}")).await?;
    let mut sockets = Vec::new();
    // The far side dials both before it says that it is ready.
    for _ in 0..2 {
        let (socket, _) = listener.accept().await.map_err(listening())?;
        socket.set_nodelay(true).map_err(listening())?;
        sockets.push(socket);
    }
    let (Some(urgent), Some(data)) = (sockets.pop(), sockets.pop()) else {
        return Err(BenchError::NoFigure);
    };
    let figures = play_on(data, urgent, &terms, roads).await;
    far.end().await;
    figures
}

async fn play_on(
    data: Socket,
    urgent: Socket,
    terms: &Terms,
    roads: Roads,
) -> Result<Vec<f64>, BenchError> {
    let span = terms.span;
    match terms.game {
        Game::PingPong => {
            let waits = in_task(pings(data, Match::begin(span), Duration::ZERO)).await?;
            let count = waits.count();
            let [p50, ..] = waits.spread()?;
            Ok(vec![rate(count, span), micros(p50)])
        }
        Game::PingIdle => {
            let [p50, ..] = in_task(pings(data, Match::begin(span), PAUSE)).await?.spread()?;
            Ok(vec![micros(p50)])
        }
        Game::Call(clients) => {
            let calls = in_task(calls(data, clients, Match::begin(span))).await?;
            Ok(vec![rate(calls, span)])
        }
        Game::OneWay { senders, bytes } => {
            Ok(vec![in_task(pour(data, senders, bytes, span)).await?])
        }
        Game::Stream => {
            let body = vec![7; terms.large];
            let (reader, writer) = data.into_split();
            let writer = Arc::new(Mutex::new(writer));
            Ok(vec![in_task(stream(reader, writer, body, span)).await?])
        }
        Game::PingUnderStream => ping_under_stream(data, urgent, terms, roads).await,
        Game::ControlUnderStream | Game::Idle => Err(BenchError::NoFigure),
    }
}

/// As a task of a worker, as tokio's users would have it; the thread that waits is none.
async fn in_task<T: Send + 'static>(
    future: impl Future<Output = Result<T, BenchError>> + Send + 'static,
) -> Result<T, BenchError> {
    spawn(future).await.unwrap_or(Err(lost("a task that has panicked")))
}

/// A frame, ready to be written.
pub(crate) fn put(kind: u8, payload: &[u8], into: &mut Vec<u8>) {
    into.extend((payload.len() as u32 + 1).to_le_bytes());
    into.push(kind);
    into.extend_from_slice(payload);
}

fn broken(_: std::io::Error) -> BenchError {
    lost("the connection to the far process")
}

async fn pings(mut socket: Socket, game: Match, pause: Duration) -> Result<Latencies, BenchError> {
    let (mut waits, mut frame) = (Latencies::default(), Vec::new());
    for number in 0_u64.. {
        let sent = now();
        if game.is_over(sent, &waits) {
            break;
        }
        frame.clear();
        put(PING, &number.to_le_bytes(), &mut frame);
        socket.write_all(&frame).await.map_err(broken)?;
        socket.read_exact(&mut frame).await.map_err(broken)?;
        if frame[HEAD_BYTES..] != number.to_le_bytes() {
            return Err(lost("the ball that was sent"));
        }
        if sent >= game.counted {
            waits.add(now().since(sent));
        }
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
    Ok(waits)
}

/// Clients that share the connection; a call is a ping whose number says whose it is.
async fn calls(socket: Socket, clients: u64, game: Match) -> Result<u64, BenchError> {
    let (reader, writer) = socket.into_split();
    let outbox = Outbox::begin(writer);
    let (mut mailboxes, mut playing) = (Vec::new(), Vec::new());
    for client in 0..clients {
        let (answers, mut answered) = mpsc::channel::<u64>(1);
        mailboxes.push(answers);
        let outbox = outbox.clone();
        playing.push(spawn(async move {
            let mut calls = 0;
            for number in 0_u64.. {
                let began = now();
                if began >= game.until {
                    break;
                }
                let call = [client.to_le_bytes(), number.to_le_bytes()].concat();
                outbox.push(PING, &call).await;
                let answer = quorate_env::timeout(super::game::PATIENCE, answered.recv()).await;
                assert_eq!(answer.expect("the far side answers"), Some(number));
                calls += u64::from(began >= game.counted);
            }
            calls
        }));
    }
    let answering = spawn(answers(reader, mailboxes));
    let mut calls = 0;
    for client in playing {
        calls += client.await.map_err(|_| lost("an answer"))?;
    }
    answering.abort();
    Ok(calls)
}

async fn answers(mut reader: OwnedReadHalf, mailboxes: Vec<mpsc::Sender<u64>>) {
    let mut bytes = Vec::with_capacity(64 * 1024);
    const FRAME_BYTES: usize = HEAD_BYTES + 16;
    while let Ok(1..) = reader.read_buf(&mut bytes).await {
        let whole = bytes.len() / FRAME_BYTES * FRAME_BYTES;
        for frame in bytes[..whole].chunks_exact(FRAME_BYTES) {
            let number = |at: usize| {
                let number = frame[HEAD_BYTES + at..][..8].try_into();
                u64::from_le_bytes(number.expect("it has eight bytes"))
            };
            if let Some(mailbox) = mailboxes.get(number(0) as usize) {
                // Its client waits for exactly one.
                let _ = mailbox.try_send(number(8));
            }
        }
        bytes.drain(..whole);
    }
}

/// Items from several senders into one outbox, for a span; how many a second.
async fn pour(socket: Socket, senders: u8, size: usize, span: Duration) -> Result<f64, BenchError> {
    let (mut reader, writer) = socket.into_split();
    let outbox = Outbox::begin(writer);
    let mut per_second = 0.0;
    // The first is the warm-up.
    for span in [span / 5, span] {
        let began = now();
        let until = began + span;
        let pouring: Vec<_> = (0..senders)
            .map(|_| {
                let (outbox, body) = (outbox.clone(), vec![7; size]);
                spawn(async move {
                    let mut sent = 0_u64;
                    while !sent.is_multiple_of(BATCH) || now() < until {
                        outbox.push(ITEM, &body).await;
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        let mut sent = 0;
        for sender in pouring {
            sent += sender.await.map_err(|_| lost("a sender"))?;
        }
        outbox.push(COUNT, &[]).await;
        if count(&mut reader).await? != sent {
            return Err(lost("what was poured"));
        }
        per_second = rate(sent, now().since(began));
    }
    Ok(per_second)
}

/// How many items have come since it was last asked, as the far side says.
async fn count(reader: &mut OwnedReadHalf) -> Result<u64, BenchError> {
    let mut frame = [0; HEAD_BYTES + 8];
    reader.read_exact(&mut frame).await.map_err(broken)?;
    Ok(u64::from_le_bytes(frame[HEAD_BYTES..].try_into().expect("it has eight bytes")))
}

/// Large items, one after the other, for a span; GiB a second.
async fn stream(
    mut reader: OwnedReadHalf,
    writer: Arc<Mutex<OwnedWriteHalf>>,
    body: Vec<u8>,
    span: Duration,
) -> Result<f64, BenchError> {
    let (mut figure, mut head) = (0.0, Vec::new());
    head.extend((body.len() as u32 + 1).to_le_bytes());
    head.push(ITEM);
    for span in [span / 5, span] {
        let (began, mut sent) = (now(), 0);
        while now() < began + span {
            let mut writer = writer.lock().await;
            writer.write_all(&head).await.map_err(broken)?;
            writer.write_all(&body).await.map_err(broken)?;
            sent += 1;
        }
        let mut ask = Vec::new();
        put(COUNT, &[], &mut ask);
        writer.lock().await.write_all(&ask).await.map_err(broken)?;
        if count(&mut reader).await? != sent {
            return Err(lost("what was streamed"));
        }
        let bytes = (sent as usize * body.len()) as f64;
        figure = bytes / f64::from(1 << 30) / now().since(began).as_secs_f64();
    }
    Ok(figure)
}

/// Over one road, whoever pings waits its turn behind a large item, there and at the far side.
async fn ping_under_stream(
    data: Socket,
    urgent: Socket,
    terms: &Terms,
    roads: Roads,
) -> Result<Vec<f64>, BenchError> {
    let span = terms.span;
    let game = Match::begin(span);
    let (mut reader, writer) = data.into_split();
    let writer = Arc::new(Mutex::new(writer));
    let (body, began) = (vec![7; terms.large], now());
    let mut head = Vec::new();
    head.extend((body.len() as u32 + 1).to_le_bytes());
    head.push(ITEM);
    let road = writer.clone();
    let streaming = spawn(async move {
        let mut sent = 0_usize;
        while now() < game.until {
            let mut writer = road.lock().await;
            writer.write_all(&head).await.map_err(broken)?;
            writer.write_all(&body).await.map_err(broken)?;
            sent += body.len();
        }
        Ok::<_, BenchError>(sent)
    });
    let waits = match roads {
        Roads::Two => in_task(pings(urgent, game, Duration::ZERO)).await?,
        Roads::One => {
            let mut waits = Latencies::default();
            let mut frame = Vec::new();
            for number in 0_u64.. {
                let sent = now();
                if game.is_over(sent, &waits) {
                    break;
                }
                frame.clear();
                put(PING, &number.to_le_bytes(), &mut frame);
                writer.lock().await.write_all(&frame).await.map_err(broken)?;
                reader.read_exact(&mut frame).await.map_err(broken)?;
                if sent >= game.counted {
                    waits.add(now().since(sent));
                }
            }
            waits
        }
    };
    let sent = streaming.await.map_err(|_| lost("the stream"))??;
    let mut ask = Vec::new();
    put(COUNT, &[], &mut ask);
    writer.lock().await.write_all(&ask).await.map_err(broken)?;
    count(&mut reader).await?;
    let gib = sent as f64 / f64::from(1 << 30) / now().since(began).as_secs_f64();
    let [p50, p99, max] = waits.spread()?.map(millis);
    Ok(vec![p50, p99, max, gib])
}
