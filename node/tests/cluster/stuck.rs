//! A singleton that never awaits: nothing but the end of its process ends it, and that comes before another
//! node's turn begins.

use std::fs::{OpenOptions, read_to_string};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use quorate::{Climate, Conditions, Evidence, Ground, Singleton, Tenure, Weather};

use super::*;

/// Says to this program that it is the node whose turn is stuck: its directory, and whom it joins.
const DIR: &str = "QUORATE_TEST_STUCK_DIR";
const JOIN: &str = "QUORATE_TEST_STUCK_JOIN";
/// Long enough for a busy machine, and short enough to be waited for.
const STUCK_LEASE: Duration = Duration::from_secs(5);
const BEAT: Duration = Duration::from_millis(2);

/// Writes down that it lives, by the one clock of the machine.
struct Beats {
    file: PathBuf,
    awaits: bool,
}

impl Singleton for Beats {
    type Message = ();

    async fn run(&self, tenure: Tenure<()>) -> Exit {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.file).unwrap();
        let until = quorate_env::now() + SOON * 4;
        while quorate_env::now() < until && !(self.awaits && tenure.is_stopping()) {
            let at = quorate_env::now().0;
            file.write_all(format!("{} {at}\n", tenure.epoch().get()).as_bytes()).unwrap();
            match self.awaits {
                true => quorate_env::sleep(BEAT).await,
                false => std::thread::sleep(BEAT),
            }
        }
        Exit::Normal
    }
}

/// A role: whoever has none passes by. When its input ends, it hears of the cluster no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[expect(clippy::disallowed_methods, reason = "a role is given by the environment")]
async fn a_stuck_node() {
    let (Ok(dir), Ok(join)) = (std::env::var(DIR), std::env::var(JOIN)) else { return };
    let dir = Path::new(&dir);
    let config = Config { lease: STUCK_LEASE, ..config("n3", dir, &[join], 3) };
    let climate = Climate::new(Conditions::CALM);
    let mut ground = Ground::real(&config).unwrap();
    ground.net = Arc::new(Weather::over(ground.net, climate.clone()));
    let node = Node::start_on(config, ground).await.unwrap();
    assert!(node.quorate_within(SOON).await);
    let beats = Beats { file: dir.join("beats"), awaits: false };
    node.singletons().within(SOON).define(&name("stuck"), beats).await.unwrap();
    let ends = || std::io::stdin().read_to_end(&mut Vec::new()).is_ok();
    assert!(quorate_env::blocking("stdin", ends).unwrap().await.unwrap().unwrap());
    climate.everywhere(Conditions { delay: SOON * 60, ..Conditions::CALM });
    quorate_env::sleep(SOON * 4).await;
}

/// Dropped, it is killed.
struct Stuck(Child);

impl Drop for Stuck {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The epochs so far, each with its first beat and its last.
fn lives(dir: &Path) -> Vec<(u64, u64, u64)> {
    let text = read_to_string(dir.join("beats")).unwrap_or_default();
    let mut lives: Vec<(u64, u64, u64)> = Vec::new();
    // What is written last may have no end yet.
    for line in text[..text.rfind('\n').map_or(0, |end| end + 1)].lines() {
        let (epoch, at) = line.split_once(' ').unwrap();
        let (epoch, at) = (epoch.parse().unwrap(), at.parse().unwrap());
        match lives.last_mut().filter(|last| last.0 == epoch) {
            Some(last) => last.2 = at,
            None => lives.push((epoch, at, at)),
        }
    }
    lives
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_awaits_ends_with_its_process_before_another_begins() {
    talk();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let called = name("stuck");
    let start = |name: &str, join: &[String]| {
        Node::start(Config { lease: STUCK_LEASE, ..config(name, dir, join, 3) })
    };
    let first = start("n1", &[]).await.unwrap();
    let join = first.address().to_owned();
    let nodes = [first, start("n2", std::slice::from_ref(&join)).await.unwrap()];
    let mut role = Command::new(std::env::current_exe().unwrap());
    role.args(["--exact", "stuck::a_stuck_node", "--nocapture"]);
    role.env(DIR, dir).env(JOIN, &join).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut stuck = Stuck(role.spawn().unwrap());
    eventually("it runs", async || !lives(dir).is_empty()).await;

    for node in &nodes {
        let beats = Beats { file: dir.join("beats"), awaits: true };
        node.singletons().within(SOON).define(&called, beats).await.unwrap();
    }
    // From here on it hears nothing.
    drop(stuck.0.stdin.take());
    let mut ended = None;
    let until = quorate_env::now() + SOON;
    while ended.is_none() {
        assert!(quorate_env::now() < until, "its process goes on");
        ended = stuck.0.try_wait().unwrap();
        quorate_env::sleep(BEAT).await;
    }
    assert_eq!(ended.unwrap().signal(), Some(6), "it was not ended by its own deadline");

    eventually("another begins", async || lives(dir).len() > 1).await;
    let lives = lives(dir);
    assert!(lives.windows(2).all(|pair| pair[0].0 < pair[1].0), "{lives:?}");
    assert!(lives.windows(2).all(|pair| pair[0].2 < pair[1].1), "two at once: {lives:?}");
    let past = nodes[0].singletons().find(&called).await.unwrap().unwrap().row.past;
    assert!(matches!(past[0].evidence, Evidence::Expired { .. }), "{past:?}");
    for node in &nodes {
        node.shutdown().await;
    }
}
