//! Nets with weather in front of them, in virtual time.

use crate::common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Lab, PATIENCE, config, keep, start};
use quorate_env::{Life, LifeConfig, Net, Stream, now, sleep, spawn, timeout};
use quorate_mesh::{Climate, Conditions, Limits, MeshConfig, Weather};
use quorate_vocab::{Lane, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ROUND_TRIP: Duration = Duration::from_millis(40);

/// The lab counts in whole milliseconds, and so do tokio's timers; each byte meets a few of them.
const GRAIN: Duration = Duration::from_millis(8);

/// Tells a story in a life of its own, in which the clock of the doors is the virtual one.
async fn in_a_life(story: impl Future<Output = ()>) {
    #[expect(clippy::disallowed_methods, reason = "a life has to begin at some time")]
    let origin = tokio::time::Instant::now();
    let life =
        LifeConfig { seed: 7, clock_rate: 1.0, deferrals_per_mille: 0, origin, wall_skew_nanos: 0 };
    Life::begin(life).scope(story).await;
}

/// Both ends of a connection from `near` to a listener called `far`, each with its own weather.
async fn connected(near: &Climate, far: &Climate) -> (Stream, Stream) {
    let lab: Arc<dyn Net> = Arc::new(Lab::new(Duration::ZERO));
    let mut door = Weather::over(lab.clone(), far.clone()).listen("far").await.unwrap();
    let accepted = spawn(async move { door.accept().await.unwrap().0 });
    let near = Weather::over(lab, near.clone()).connect("far").await.unwrap();
    (near, accepted.await.unwrap())
}

fn slow() -> Conditions {
    Conditions::half_of(ROUND_TRIP)
}

fn assert_took(took: Duration, due: Duration) {
    assert!((due..due + GRAIN).contains(&took), "it took {took:?}, due was {due:?}");
}

/// Writes bytes that say where they stand, and ends.
fn write(mut stream: Stream, count: usize) {
    spawn(async move {
        let bytes: Vec<u8> = (0..count).map(|at| at as u8).collect();
        stream.writer.write_all(&bytes).await.unwrap();
        stream.writer.shutdown().await.unwrap();
        // The reader's half stays, as it does in a link.
        let _ = stream.reader.read(&mut [0]).await;
    });
}

/// Reads to the end, and checks that every byte is where it was.
async fn read_all(stream: &mut Stream, count: usize) {
    let mut bytes = Vec::new();
    stream.reader.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes.len(), count);
    assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == at as u8), "in order");
}

#[tokio::test(start_paused = true)]
async fn a_question_and_its_answer_take_a_round_trip_together() {
    in_a_life(async {
        let climate = Climate::new(slow());
        let began = now();
        let (mut near, mut far) = connected(&climate, &climate).await;
        assert_took(now().since(began), ROUND_TRIP);
        let began = now();
        near.writer.write_all(b"?").await.unwrap();
        assert_eq!(far.reader.read_u8().await.unwrap(), b'?');
        assert_took(now().since(began), ROUND_TRIP / 2);
        far.writer.write_all(b"!").await.unwrap();
        assert_eq!(near.reader.read_u8().await.unwrap(), b'!');
        assert_took(now().since(began), ROUND_TRIP);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn many_bytes_are_under_way_at_once() {
    in_a_life(async {
        let climate = Climate::new(Conditions { jitter: Duration::from_millis(5), ..slow() });
        let (near, mut far) = connected(&climate, &climate).await;
        let began = now();
        write(near, 1 << 20);
        read_all(&mut far, 1 << 20).await;
        // The lab lets 64 KiB through in each of its milliseconds.
        let took = now().since(began);
        assert!(took < ROUND_TRIP * 3, "a megabyte took {took:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_rate_lets_so_much_through_and_no_more() {
    in_a_life(async {
        let narrow = Conditions { bytes_per_second: Some(100_000), ..slow() };
        let (near, mut far) = connected(&Climate::new(slow()), &Climate::new(narrow)).await;
        let began = now();
        write(near, 200_000);
        read_all(&mut far, 200_000).await;
        assert_took(now().since(began), Duration::from_secs(2) + ROUND_TRIP / 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn loss_slows_a_stream_down_to_what_a_careful_sender_reaches() {
    in_a_life(async {
        let lossy = Conditions { loss: 0.01, ..slow() };
        let (near, mut far) = connected(&Climate::new(slow()), &Climate::new(lossy)).await;
        let began = now();
        let count = 8 << 20;
        write(near, count);
        read_all(&mut far, count).await;
        let rate = count as f64 / now().since(began).as_secs_f64();
        assert!((150e3..1.5e6).contains(&rate), "{rate} bytes a second at 40 ms and 1 %");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_weather_changes_under_open_connections_and_differs_by_address() {
    in_a_life(async {
        let climate = Climate::new(Conditions::CALM);
        let (mut near, mut far) = connected(&climate, &Climate::new(Conditions::CALM)).await;
        let mut ask = async || {
            let began = now();
            near.writer.write_all(b"?").await.unwrap();
            far.reader.read_u8().await.unwrap();
            far.writer.write_all(b"!").await.unwrap();
            near.reader.read_u8().await.unwrap();
            now().since(began)
        };
        assert_took(ask().await, Duration::ZERO);
        climate.everywhere(slow());
        assert_took(ask().await, ROUND_TRIP / 2);
        climate.at("far", Conditions { delay: Duration::from_secs(3), ..Conditions::CALM });
        assert_took(ask().await, Duration::from_secs(3));
        climate.as_elsewhere("far");
        assert_took(ask().await, ROUND_TRIP / 2);
        climate.everywhere(Conditions::CALM);
        assert_took(ask().await, Duration::ZERO);
    })
    .await;
}

#[test]
fn an_address_without_a_port_stands_for_all_of_its_ports() {
    let climate = Climate::new(Conditions::CALM);
    climate.at("10.0.0.1", slow());
    climate.at("10.0.0.1:9", Conditions { loss: 0.5, ..slow() });
    assert_eq!(climate.of("10.0.0.1:4747"), slow());
    assert_eq!(climate.of("10.0.0.1:9").loss, 0.5);
    assert_eq!(climate.of("10.0.0.2:9"), Conditions::CALM);
}

#[tokio::test(start_paused = true)]
async fn who_sends_more_than_may_be_under_way_has_to_wait() {
    in_a_life(async {
        let hour = Duration::from_secs(3600);
        let far = Climate::new(Conditions { delay: hour, ..Conditions::CALM });
        let (mut near, mut far) = connected(&Climate::new(Conditions::CALM), &far).await;
        let reading = spawn(async move { far.reader.read_u8().await });
        let mut written = 0;
        let block = vec![0; 64 * 1024];
        let writes = async {
            loop {
                written += near.writer.write(&block).await.unwrap();
            }
        };
        assert!(timeout(hour / 2, writes).await.is_err());
        let under_way = 4 << 20;
        assert!((under_way..under_way * 2).contains(&written), "{written} bytes were taken");
        assert!(!reading.is_finished());
        reading.await.unwrap().unwrap();
    })
    .await;
}

/// How long it takes to send 32 MiB to a node that is 40 ms away, where a window may grow so far.
async fn far_stream(window_max: u32) -> Duration {
    let lab: Arc<dyn Net> = Arc::new(Lab::new(Duration::ZERO));
    let climate = Climate::new(slow());
    let at = |id: u64| {
        let mut limits = Limits::wan();
        (limits.windows, limits.window_max) = ([256 * 1024; 3], window_max);
        MeshConfig { listen: format!("node-{id}"), limits, ..config(id, 1) }
    };
    let weather = || Arc::new(Weather::over(lab.clone(), climate.clone()));
    let ((one, one_tap), (two, two_tap)) =
        (start(at(1), weather()).await, start(at(2), weather()).await);
    keep(&one, &[&two]);
    one_tap.met(2, 1).await;
    let began = now();
    for number in 1..=16 {
        one.room(NodeId(2)).await;
        one.send(NodeId(2), Lane::Bulk, 1, &mut vec![number; 2 << 20]).unwrap();
        two_tap.mails(usize::from(number).saturating_sub(2)).await;
    }
    two_tap.mails(16).await;
    now().since(began)
}

#[tokio::test(start_paused = true)]
async fn what_may_be_under_way_grows_with_the_way_so_a_far_stream_is_not_a_window_a_round_trip() {
    in_a_life(async {
        // 256 KiB in each 40 ms.
        let narrow = far_stream(256 * 1024).await;
        assert!(narrow > Duration::from_secs(5), "{narrow:?}");
        let wide = far_stream(64 << 20).await;
        assert!(wide < Duration::from_secs(2), "{wide:?} where it was {narrow:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn meshes_meet_and_talk_across_an_ocean() {
    in_a_life(async {
        let ocean = Climate::new(Conditions {
            jitter: Duration::from_millis(30),
            loss: 0.02,
            ..Conditions::half_of(Duration::from_millis(300))
        });
        let lab: Arc<dyn Net> = Arc::new(Lab::new(Duration::ZERO));
        let weather = || Arc::new(Weather::over(lab.clone(), ocean.clone()));
        let at = |id: u64| MeshConfig {
            listen: format!("node-{id}"),
            limits: Limits::wan(),
            ..config(id, 1)
        };
        let (one, one_tap) = start(at(1), weather()).await;
        let (two, two_tap) = start(at(2), weather()).await;
        keep(&one, &[&two]);
        keep(&two, &[&one]);
        one_tap.met(2, 1).await;
        two_tap.met(1, 1).await;
        let began = now();
        let asked = one.call(NodeId(2), Lane::Normal, 1, Bytes::from_static(b"x"), PATIENCE).await;
        assert_eq!(asked.unwrap(), "echo x");
        assert!(now().since(began) >= Duration::from_millis(300));
        sleep(Duration::from_secs(600)).await;
        assert_eq!((one_tap.times_parted(), two_tap.times_parted()), (0, 0), "heartbeats suffice");
    })
    .await;
}
