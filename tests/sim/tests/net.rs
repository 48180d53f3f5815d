//! What the twin of the net promises, and how it breaks.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use quorate_env::{Life, LifeConfig, Listener, Net, Stream, spawn, timeout};
use quorate_sim::clock;
use quorate_sim::net::{SimNet, Weather};
use quorate_sim::trace::{Keep, Trace};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SECOND: Duration = Duration::from_secs(1);

fn calm() -> SimNet {
    SimNet::new(1, Weather::calm(), Trace::new(Keep::Nothing))
}

/// A connection between two hosts: the caller's end and the other.
async fn pair(net: &SimNet, from: &str, to: &str) -> (Stream, Stream) {
    let mut listener = net.host(to).listen(&format!("{to}:0")).await.unwrap();
    let (door, address) = (net.host(from), listener.address());
    let (called, accepted) = tokio::join!(door.connect(&address), listener.accept());
    let (accepted, caller) = accepted.unwrap();
    assert!(caller.starts_with(&format!("{from}:")), "{caller}");
    (called.unwrap(), accepted)
}

async fn silent(stream: &mut Stream, span: Duration) {
    let read = timeout(span, stream.reader.read_u8()).await;
    assert!(read.is_err(), "expected silence, not {read:?}");
}

/// Writes until the stream takes no more; tells how much it took.
async fn fill(stream: &mut Stream) -> usize {
    let mut taken = 0;
    while let Ok(count) = timeout(SECOND, stream.writer.write(&[7; 5000])).await {
        taken += count.unwrap();
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn bytes_arrive_in_order_in_any_weather() {
    let weather = Weather { resent_per_mille: 100, broken_per_million: 0, ..Weather::default() };
    let net = SimNet::new(5, weather, Trace::new(Keep::Nothing));
    let (mut a, mut b) = pair(&net, "n1", "n2").await;
    let sent: Vec<u8> = (0..1_000_000u32).map(|nth| (nth * 7 / 3) as u8).collect();
    let begun = clock::now();
    let (bytes, mut echo) = (sent.clone(), vec![]);
    let there = async {
        a.writer.write_all(&bytes).await.unwrap();
        a.writer.shutdown().await.unwrap();
        a.reader.read_to_end(&mut echo).await.unwrap();
    };
    let back = async {
        let mut got = vec![];
        b.reader.read_to_end(&mut got).await.unwrap();
        b.writer.write_all(&got).await.unwrap();
        drop(b);
    };
    tokio::join!(there, back);
    assert!(echo == sent);
    assert!(clock::now() - begun > Duration::from_millis(200), "nothing was sent again");
    drop(a);
    assert_eq!(net.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cut_holds_one_direction_and_a_heal_lets_it_flow() {
    let net = calm();
    let (mut a, mut b) = pair(&net, "n1", "n2").await;
    net.cut("n1", "n2");
    a.writer.write_all(b"held").await.unwrap();
    b.writer.write_all(b"x").await.unwrap();
    assert_eq!(a.reader.read_u8().await.unwrap(), b'x');
    silent(&mut b, 60 * SECOND).await;
    net.heal("n1", "n2");
    let mut bytes = [0; 4];
    timeout(2 * SECOND, b.reader.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(&bytes, b"held");
}

#[tokio::test(start_paused = true)]
async fn a_cut_holds_what_is_under_way_and_not_what_has_arrived() {
    let net = calm();
    let (mut a, mut b) = pair(&net, "n1", "n2").await;
    a.writer.write_all(b"1").await.unwrap();
    clock::pause(2 * SECOND).await;
    a.writer.write_all(b"2").await.unwrap();
    net.cut("n1", "n2");
    assert_eq!(b.reader.read_u8().await.unwrap(), b'1');
    silent(&mut b, SECOND).await;
    net.heal_all();
    assert_eq!(b.reader.read_u8().await.unwrap(), b'2');
    assert!(net.cuts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_through_a_cut_ends_in_a_timeout_or_with_the_heal() {
    let net = calm();
    let _listener = net.host("n2").listen("n2:80").await.unwrap();
    for (from, to) in [("n1", "n2"), ("n2", "n1")] {
        net.host(from);
        net.cut(from, to);
        let begun = clock::now();
        let error = net.host("n1").connect("n2:80").await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(clock::now() - begun >= 3 * SECOND);

        let heal = async {
            clock::pause(SECOND).await;
            net.heal(from, to);
        };
        let door = net.host("n1");
        let (called, ()) = tokio::join!(door.connect("n2:80"), heal);
        called.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_when_nobody_reads() {
    let net = calm();
    let (mut a, mut b) = pair(&net, "n1", "n2").await;
    let buffer = Weather::calm().buffer_bytes;
    assert_eq!(fill(&mut a).await, buffer);
    let mut some = vec![0; 1000];
    b.reader.read_exact(&mut some).await.unwrap();
    assert_eq!(fill(&mut a).await, 1000);
}

#[tokio::test(start_paused = true)]
async fn a_writer_stops_when_the_acknowledgements_are_cut_off() {
    let net = calm();
    let (mut a, mut b) = pair(&net, "n1", "n2").await;
    net.cut("n2", "n1");
    let buffer = Weather::calm().buffer_bytes;
    let mut all = vec![0; buffer];
    let (taken, read) = tokio::join!(fill(&mut a), b.reader.read_exact(&mut all));
    assert_eq!((taken, read.unwrap()), (buffer, buffer), "the bytes themselves do arrive");
    net.heal_all();
    assert_eq!(fill(&mut a).await, buffer);
}

#[tokio::test(start_paused = true)]
async fn a_reset_ends_both_ends_at_once() {
    let net = calm();
    let (mut a, mut b) = pair(&net, "n1", "n2").await;
    let (mut c, mut d) = pair(&net, "n1", "n3").await;
    let reset = async {
        clock::pause(SECOND).await;
        net.reset("n2", "n1");
    };
    let (one, other, ()) = tokio::join!(a.reader.read_u8(), b.reader.read_u8(), reset);
    assert_eq!(one.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(other.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(a.writer.write(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    c.writer.write_all(b"x").await.unwrap();
    assert_eq!(d.reader.read_u8().await.unwrap(), b'x');
}

#[tokio::test(start_paused = true)]
async fn a_dead_process_answers_with_resets_and_refuses_callers() {
    let net = calm();
    let _listener = net.host("n2").listen("n2:80").await.unwrap();
    let (mut a, b) = pair(&net, "n1", "n2").await;
    fill(&mut a).await;
    net.crash("n2");
    let begun = clock::now();
    let stuck = a.writer.write(b"x").await;
    assert_eq!(stuck.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(clock::now() > begun, "a reset takes as long as anything else");
    assert_eq!(a.reader.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let error = net.host("n1").connect("n2:80").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    // A next life listens on the same port; what the dead one dropped late does not concern it.
    let mut listener = net.host("n2").listen("n2:80").await.unwrap();
    drop((b, _listener));
    let door = net.host("n1");
    let (called, accepted) = tokio::join!(door.connect("n2:80"), listener.accept());
    let (mut called, (accepted, _)) = (called.unwrap(), accepted.unwrap());
    drop(accepted);
    assert_eq!(called.reader.read(&mut [0]).await.unwrap(), 0);
    drop((a, called));
    assert_eq!(net.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_words_of_a_dead_process_are_heard_or_lost() {
    let (mut heard, mut lost) = (0, 0);
    for seed in 0..40 {
        let net = SimNet::new(seed, Weather::calm(), Trace::new(Keep::Nothing));
        let (mut a, mut b) = pair(&net, "n1", "n2").await;
        b.writer.write_all(b"!").await.unwrap();
        net.crash("n2");
        match a.reader.read_u8().await {
            Ok(b'!') => heard += 1,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => lost += 1,
            other => panic!("{other:?}"),
        }
        assert!(a.reader.read_u8().await.is_err());
    }
    assert!(heard > 5 && lost > 5, "heard {heard}, lost {lost}");
}

#[tokio::test(start_paused = true)]
async fn a_host_without_power_says_nothing_until_it_is_back() {
    let net = calm();
    let _listener = net.host("n2").listen("n2:80").await.unwrap();
    let (mut a, _b) = pair(&net, "n1", "n2").await;
    let (mut idle, _d) = pair(&net, "n1", "n2").await;
    net.vanish("n2");
    a.writer.write_all(b"hello?").await.unwrap();
    silent(&mut a, 600 * SECOND).await;
    let error = net.host("n1").connect("n2:80").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::TimedOut);

    let _listener = net.host("n2").listen("n2:80").await.unwrap();
    let read = timeout(2 * SECOND, a.reader.read_u8()).await.unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    // Who says nothing learns nothing.
    silent(&mut idle, 600 * SECOND).await;
    idle.writer.write_all(b"hello?").await.unwrap();
    let read = timeout(2 * SECOND, idle.reader.read_u8()).await.unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    net.host("n1").connect("n2:80").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_end_is_an_end_of_file_or_a_reset_if_bytes_were_unread() {
    let net = calm();
    let (mut a, b) = pair(&net, "n1", "n2").await;
    drop(b.writer);
    assert_eq!(a.reader.read(&mut [0]).await.unwrap(), 0, "half-closed");
    let (mut c, d) = pair(&net, "n1", "n2").await;
    c.writer.write_all(b"unread").await.unwrap();
    clock::pause(SECOND).await;
    drop(d);
    clock::pause(SECOND).await;
    assert_eq!(c.writer.write(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    // Writing to an end that has left is answered with a reset as well.
    drop(b.reader);
    a.writer.write_all(b"x").await.unwrap();
    clock::pause(SECOND).await;
    assert_eq!(a.writer.write(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(a.writer.shutdown().await.ok(), Some(()));
    drop((a, c));
    assert_eq!(net.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn slowness_is_added_to_one_direction() {
    let net = calm();
    let (mut a, mut b) = pair(&net, "n1", "n2").await;
    net.slow("n1", "n2", 3 * SECOND);
    let begun = clock::now();
    a.writer.write_all(b"x").await.unwrap();
    b.writer.write_all(b"x").await.unwrap();
    a.reader.read_u8().await.unwrap();
    assert!(clock::now() - begun < SECOND);
    b.reader.read_u8().await.unwrap();
    assert!(clock::now() - begun >= 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn addresses_that_are_wrong_are_refused_and_ports_are_chosen() {
    let net = calm();
    let (n1, n2) = (net.host("n1"), net.host("n2"));
    let kind = |result: std::io::Result<Box<dyn Listener>>| result.err().map(|e| e.kind());
    let first = n1.listen("0.0.0.0:80").await.unwrap();
    assert_eq!(first.address(), "n1:80");
    assert_eq!(kind(n1.listen("n1:80").await), Some(ErrorKind::AddrInUse));
    assert_eq!(kind(n1.listen("n2:80").await), Some(ErrorKind::AddrNotAvailable));
    assert_eq!(kind(n1.listen("n1").await), Some(ErrorKind::InvalidInput));
    let chosen = [n1.listen("n1:0").await.unwrap(), n1.listen("n1:0").await.unwrap()];
    assert_ne!(chosen[0].address(), chosen[1].address());
    let failed = |result: std::io::Result<Stream>| result.err().unwrap().kind();
    assert_eq!(failed(n2.connect("n9:80").await), ErrorKind::NotFound);
    assert_eq!(failed(n2.connect("n1:81").await), ErrorKind::ConnectionRefused);
    n1.connect("localhost:80").await.unwrap();
    drop(first);
    assert_eq!(failed(n2.connect("n1:80").await), ErrorKind::ConnectionRefused);
    n1.listen("n1:80").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn connections_that_nobody_accepted_are_reset_with_the_listener() {
    let net = calm();
    let listener = net.host("n2").listen("n2:80").await.unwrap();
    let mut called = net.host("n1").connect("n2:80").await.unwrap();
    drop(listener);
    assert_eq!(called.reader.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    drop(called);
    assert_eq!(net.connections(), 0);
}

/// Sends numbered bytes for as long as the stream takes them.
async fn count(mut stream: Stream) {
    for nth in 0..20_000u32 {
        if stream.writer.write_all(&nth.to_le_bytes()).await.is_err() {
            return;
        }
        if nth % 50 == 0 {
            clock::pause(Duration::from_millis(30)).await;
        }
    }
}

/// Reads until the stream ends; tells how many bytes came.
async fn recount(mut stream: Stream) -> usize {
    let mut got = vec![];
    // A reset after the last byte is an end like any other.
    let _ = stream.reader.read_to_end(&mut got).await;
    for (nth, number) in got.chunks_exact(4).enumerate() {
        assert_eq!(number, (nth as u32).to_le_bytes(), "a byte was lost, doubled or moved");
    }
    got.len()
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_what_arrives_is_the_beginning_of_what_was_sent() {
    let (mut cut_short, mut whole) = (0, 0);
    for seed in 0..15 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let weather = Weather { broken_per_million: 10, ..Weather::default() };
        let net = SimNet::new(seed, weather, Trace::new(Keep::Nothing));
        let mut readers = vec![];
        for (from, to) in [("n1", "n2"), ("n2", "n3"), ("n3", "n1"), ("n2", "n1")] {
            let (a, b) = pair(&net, from, to).await;
            spawn(count(a));
            readers.push(spawn(recount(b)));
        }
        for _ in 0..40 {
            clock::pause(Duration::from_millis(rng.random_range(0..600))).await;
            let host = |rng: &mut SmallRng| ["n1", "n2", "n3"][rng.random_range(0..3)];
            let (a, b) = (host(&mut rng), host(&mut rng));
            match rng.random_range(0..60) {
                0 => net.crash(a),
                1 => net.vanish(a),
                2..4 => net.reset(a, b),
                4..20 => net.heal_all(),
                20..30 => net.slow(a, b, Duration::from_millis(rng.random_range(0..300))),
                _ if a != b => net.cut(a, b),
                _ => {}
            }
        }
        net.heal_all();
        for reader in readers {
            // Silence for ever is what a host without power leaves behind.
            let bytes = timeout(600 * SECOND, reader).await.map_or(0, Result::unwrap);
            *(if bytes == 80_000 { &mut whole } else { &mut cut_short }) += 1;
        }
        pair(&net, "n1", "n2").await;
    }
    assert!(whole > 10 && cut_short > 10, "{whole} whole, {cut_short} cut short");
}

/// One node of a chattering world: echoes to whoever calls, and calls the others again and again.
async fn chatter(door: Arc<dyn Net>, host: &'static str, trace: Trace) {
    let mut listener = door.listen(&format!("{host}:80")).await.unwrap();
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn(async move {
                let mut bytes = [0; 100];
                while let Ok(count @ 1..) = stream.reader.read(&mut bytes).await {
                    if stream.writer.write_all(&bytes[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    loop {
        for peer in ["n1", "n2", "n3"] {
            let call = async {
                let mut stream = door.connect(&format!("{peer}:80")).await?;
                for nth in 0..20 {
                    stream.writer.write_u8(nth).await?;
                    stream.reader.read_u8().await?;
                }
                std::io::Result::Ok(())
            };
            let result = timeout(SECOND, call).await;
            trace.note(format_args!("{host} called {peer}: {result:?}"));
        }
    }
}

fn hash_of_a_run(seed: u64) -> (u64, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()))
        .build()
        .unwrap();
    runtime.block_on(async {
        let trace = Trace::new(Keep::Nothing);
        let net = SimNet::new(seed, Weather::default(), trace.clone());
        let origin = clock::now();
        let live = |host, seed| {
            let config = LifeConfig {
                seed,
                clock_rate: 1.01,
                deferrals_per_mille: 100,
                origin,
                wall_skew_nanos: 0,
            };
            let life = Life::begin(config);
            tokio::task::spawn_local(life.scope(chatter(net.host(host), host, trace.clone())));
            life
        };
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let mut lives = [live("n1", 1), live("n2", 2), live("n3", 3)];
                for nth in 0..20 {
                    clock::pause(SECOND).await;
                    match nth % 4 {
                        0 => net.cut("n1", "n2"),
                        1 => net.heal_all(),
                        2 => net.reset("n1", "n3"),
                        _ => {
                            lives[1].end();
                            if nth % 8 == 3 {
                                net.crash("n2");
                            } else {
                                net.vanish("n2");
                            }
                            lives[1] = live("n2", nth);
                        }
                    }
                }
            })
            .await;
        (trace.hash(), trace.count())
    })
}

#[test]
fn a_seed_repeats_a_run_to_the_nanosecond() {
    for seed in 0..4 {
        let (hash, count) = hash_of_a_run(seed);
        assert!(count > 2000, "{count} events are too few to mean anything");
        assert_eq!((hash, count), hash_of_a_run(seed));
        assert_ne!(hash, hash_of_a_run(seed + 1).0);
    }
}
