//! What runs under a lock ends in time, whoever is stopped or killed.

use crate::agent::Agent;
use crate::common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use common::{Place, eventually, lives, send, texts};
use rustix::process::Signal;

/// A lock whose command does not listen, and has another one in a session of its own.
struct Locker {
    child: Child,
    /// The command and the other one.
    inner: [i32; 2],
}

impl Locker {
    fn new(place: &Place, name: &str, ttl: &str, grace: &str) -> Self {
        let script = "setsid sh -c 'echo $$; exec sleep 1000' & trap '' TERM; echo $$; \
                      while :; do sleep 1; done";
        let args = ["lock", name, "--ttl", ttl, "--grace", grace, "--timeout", "60s"];
        let args = [&args[..], &["--", "sh", "-c", script]].concat();
        let mut child =
            place.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let inner = [(); 2].map(|()| lines.next().unwrap().unwrap().trim().parse().unwrap());
        Self { child, inner }
    }

    fn is_over(&self) -> bool {
        !self.inner.into_iter().any(lives)
    }

    fn signal(&self, signal: Signal) {
        send(self.child.id().cast_signed(), signal);
    }

    fn fencer(&self) -> i32 {
        let parent = self.child.id().to_string();
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_child = |pid: &i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
            fields.split(' ').nth(1) == Some(&parent)
        };
        pids.find(is_child).expect("a runner has a fencer")
    }
}

impl Drop for Locker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_command_and_all_that_came_of_it_end_with_their_runner_and_with_their_fencer() {
    let place = Place::new();
    let _dev = place.dev(&["-n", "1"]);
    let killed = Locker::new(&place, "w/one", "60s", "1s");
    killed.signal(Signal::KILL);
    eventually("nothing outlives its runner", || killed.is_over());

    let mut alone = Locker::new(&place, "w/two", "60s", "1s");
    send(alone.fencer(), Signal::KILL);
    assert_eq!(alone.child.wait().unwrap().code(), Some(125));
    assert!(alone.is_over(), "it was told to be over");

    // One that ends by itself takes the other along.
    let script = "setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.2; exit 5";
    let ended = place.settled(&["lock", "w/three", "--", "sh", "-c", script]);
    assert_eq!(ended.status.code(), Some(5));
    assert!(!lives(texts(&ended).0.trim().parse().unwrap()));
}

/// An agent that runs a command which says when it was begun beside what was left of itself.
struct Runs<'a> {
    place: &'a Place,
    agent: Agent,
}

impl<'a> Runs<'a> {
    const ARGS: [&'static str; 5] = ["--expect", "1", "--lease", "60s", "--allow-exec"];

    fn new(place: &'a Place) -> Self {
        let agent = Agent::start(place, &Self::ARGS, &[]);
        let path = |name: &str| place.path().join(name).display().to_string();
        // What it leaves to itself ignores all that can be ignored.
        let (fencers, left, alive) = (path("fencers"), path("left"), path("alive"));
        let script = format!(
            "for pid in $(cat {left}); do kill -0 $pid && echo $pid >> {alive}; done; \
         setsid sh -c 'trap \"\" TERM HUP; echo $$ >> {left}; while :; do sleep 1; done' & \
         while ! test -e {left}; do sleep 0.01; done; echo $PPID >> {fencers}; wait"
        );
        let words = ["singleton", "run", "w/four", "--detach", "--restart", "always"];
        let words = [&words[..], &["--agent", &agent.1, "--", "sh", "-c", &script]].concat();
        eventually("it is taken", || place.run(&words).status.success());
        Self { place, agent }
    }

    fn pids(&self, file: &str) -> Vec<i32> {
        let text = std::fs::read_to_string(self.place.path().join(file)).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Once it has been begun so many times, and never beside itself: its fencer now.
    fn fencer(&self, times: usize) -> i32 {
        eventually("it runs", || self.pids("fencers").len() == times);
        assert_eq!(self.pids("alive"), [0; 0], "it was begun beside what was left");
        self.pids("fencers")[times - 1]
    }
}

#[test]
fn what_an_agent_runs_begins_again_only_when_all_of_it_is_dead_though_its_fencer_was_killed() {
    let place = Place::new();
    let runs = Runs::new(&place);
    send(runs.fencer(1), Signal::KILL);
    send(runs.fencer(2), Signal::KILL);
    runs.fencer(3);
    runs.agent.stop();
}

#[test]
#[expect(clippy::disallowed_types, reason = "a test stands outside of every node")]
fn an_agent_that_is_back_at_once_takes_over_nothing_before_what_it_ran_is_dead() {
    let place = Place::new();
    let mut runs = Runs::new(&place);
    runs.fencer(1);
    // As one that is slow to die does. The lease lasts longer.
    let wards = std::fs::File::open(place.path().join("quorate-data/wards")).unwrap();
    wards.lock_shared().unwrap();
    send(runs.agent.pid(), Signal::KILL);
    runs.agent = Agent::start(&place, &Runs::ARGS, &[]);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(runs.pids("fencers").len(), 1);
    drop(wards);
    runs.fencer(2);
    runs.agent.stop();
}

#[test]
fn a_lock_of_a_runner_that_is_stopped_is_another_s_only_when_the_command_is_dead() {
    let place = Place::new();
    let _dev = place.dev(&["-n", "1"]);
    let mut stopped = Locker::new(&place, "w/stop", "8s", "2s");
    stopped.signal(Signal::STOP);
    let script = format!(
        "kill -0 {} || kill -0 {} || echo both are dead",
        stopped.inner[0], stopped.inner[1]
    );
    let next = place.settled(&["lock", "w/stop", "--timeout", "60s", "--", "sh", "-c", &script]);
    assert!(texts(&next).0.contains("both are dead"), "{:?}", texts(&next));
    stopped.signal(Signal::CONT);
    assert_eq!(stopped.child.wait().unwrap().code(), Some(75));
}

#[test]
fn a_command_that_does_not_listen_is_dead_before_its_lock_is_over() {
    let place = Place::new();
    let dev = place.dev(&["-n", "1"]);
    let mut stubborn = Locker::new(&place, "w/cut", "8s", "2s");
    // Nobody answers a renewal any more.
    send(dev.pid("n1"), Signal::STOP);
    assert_eq!(stubborn.child.wait().unwrap().code(), Some(75));
    assert!(stubborn.is_over());
    send(dev.pid("n1"), Signal::CONT);
}

#[test]
fn a_command_reads_from_the_terminal_of_its_runner_which_has_it_back_afterwards() {
    let place = Place::new();
    let _dev = place.dev(&["-n", "1"]);
    let quorate = env!("CARGO_BIN_EXE_quorate");
    let inner = "read word; echo inner heard $word";
    let outer =
        format!("{quorate} lock w/tty -- sh -c '{inner}'; read word; echo outer heard $word");
    let command = place.command(&[]);
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &outer, "/dev/null"]).current_dir(place.path());
    script.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    if let Some(path) = std::env::var_os("PATH") {
        script.env("PATH", path);
    }
    let Ok(mut terminal) = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        println!("there is no `script` here, so nothing was shown");
        return;
    };
    let mut keys = terminal.stdin.take().unwrap();
    keys.write_all(b"one\n").unwrap();
    let mut screen = BufReader::new(terminal.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("inner heard one") {
        assert!(screen.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    keys.write_all(b"two\n").unwrap();
    while !seen.contains("outer heard two") {
        assert!(screen.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    drop(keys);
    let _ = screen.read_to_string(&mut seen);
    terminal.wait().unwrap();
}
