//! Commands that are ended in time, with all that came of them.

use std::ffi::OsString;
use std::io::{PipeReader, Read, pipe};
use std::time::Duration;

use quorate_env::now;
use quorate_fencer::{Ending, Orders, SpawnError, Status, Streams, Until, Ward, Why};
use rustix::process::Signal;

use crate::common::{
    Actor, FENCER, block_on, children, eventually, is_alive, living, mark, role, send,
};

const LONG: Duration = Duration::from_secs(600);
/// Short enough to be waited for, and long enough to begin in.
const SHORT: Duration = Duration::from_millis(600);

fn orders(command: &[&str], lives: Duration) -> Orders {
    let at = now() + lives;
    Orders {
        fencer: FENCER.into(),
        command: command.iter().map(OsString::from).collect(),
        env: Vec::new(),
        directory: None,
        streams: Streams::default(),
        until: Until { term_at: at, kill_at: at + lives / 4 },
        wards: None,
        last_word: Vec::new(),
        is_heir: false,
    }
}

fn shell(script: &str, lives: Duration) -> Orders {
    orders(&["sh", "-c", script], lives)
}

/// Orders whose output is read here.
fn heard(mut orders: Orders) -> (Orders, PipeReader) {
    let (reader, writer) = pipe().unwrap();
    orders.streams.stdout = Some(writer.try_clone().unwrap().into());
    orders.streams.stderr = Some(writer.into());
    (orders, reader)
}

/// Runs to the end, which is told of what was said.
fn run(orders: Orders) -> (Ending, String) {
    let (orders, mut reader) = heard(orders);
    let ending = block_on(async { Ward::spawn(orders).await.unwrap().ended().await });
    assert!(ending.is_tree_empty);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    (ending, said)
}

/// Reads a line, and no more.
fn line(reader: &mut PipeReader) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while reader.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

#[test]
fn a_command_has_its_streams_its_place_and_its_environment_and_ends_with_its_own_code() {
    let dir = tempfile::tempdir().unwrap();
    let (input, mut feed) = pipe().unwrap();
    let mut wish = shell("read word; echo $word $MINE; pwd; exit 7", LONG);
    wish.env = vec![("MINE".into(), "yes".into())];
    wish.directory = Some(dir.path().to_owned());
    wish.streams.stdin = Some(input.into());
    std::io::Write::write_all(&mut feed, b"hello\n").unwrap();
    let (ending, said) = run(wish);
    assert_eq!((ending.status, ending.why), (Status::Exited(7), Why::Itself));
    let place = dir.path().canonicalize().unwrap();
    assert_eq!(said, format!("hello yes\n{}\n", place.display()));
    assert_eq!(run(shell("kill -9 $$", LONG)).0.status, Status::Signaled(9));
}

#[test]
fn what_cannot_begin_says_why_and_has_the_codes_that_shells_give() {
    let (ending, said) = run(orders(&["no-such-command", "x"], LONG));
    assert_eq!(ending.status, Status::Exited(127));
    assert!(said.starts_with("no-such-command: "), "{said}");
    assert_eq!(run(orders(&["/"], LONG)).0.status, Status::Exited(126));
    let mut nobody = orders(&["true"], LONG);
    nobody.fencer = "/no/such/fencer".into();
    let refused = block_on(Ward::spawn(nobody)).unwrap_err();
    assert!(matches!(refused, SpawnError::Program { .. }), "{refused}");
    let mut nowhere = orders(&["true"], LONG);
    nowhere.wards = Some("/no/such/file".into());
    let refused = block_on(Ward::spawn(nowhere)).unwrap_err();
    assert!(matches!(refused, SpawnError::GaveUp(_)), "{refused}");
}

/// Starts a script, and moves its deadlines once it has said `on`.
fn due(script: &str, grace: Duration) -> Ending {
    let (wish, mut reader) = heard(shell(script, LONG));
    block_on(async {
        let ward = Ward::spawn(wish).await.unwrap();
        assert_eq!(line(&mut reader), "on");
        ward.until(now(), now() + grace).await.unwrap();
        ward.ended().await
    })
}

#[test]
fn a_command_is_asked_at_its_first_deadline_and_killed_at_its_second_if_it_does_not_listen() {
    let ending = due("trap 'exit 3' TERM; echo on; while :; do sleep 0.01; done", LONG);
    assert_eq!((ending.status, ending.why), (Status::Exited(3), Why::Deadline));
    let ending = due("trap '' TERM; echo on; while :; do sleep 0.01; done", SHORT);
    assert_eq!((ending.status, ending.why), (Status::Signaled(9), Why::Deadline));
    // Whoever is stopped is asked as well.
    let stopped = "trap 'exit 3' TERM; echo on; kill -STOP $$; while :; do sleep 0.01; done";
    let ending = due(stopped, LONG);
    assert_eq!((ending.status, ending.why), (Status::Exited(3), Why::Deadline));
}

#[test]
fn a_renewal_is_taken_until_the_end_has_begun() {
    let (wish, mut reader) = heard(shell("trap '' TERM; echo on; sleep 1000", LONG));
    block_on(async {
        let ward = Ward::spawn(wish).await.unwrap();
        assert_eq!(line(&mut reader), "on");
        ward.until(now() + LONG, now() + LONG).await.unwrap();
        assert!(is_alive(ward.id().cast_signed()));
        ward.until(now(), now() + SHORT).await.unwrap();
        assert!(ward.until(now() + LONG, now() + LONG).await.is_err());
        let ending = ward.ended().await;
        assert_eq!((ending.status, ending.why), (Status::Signaled(9), Why::Deadline));
        assert!(ward.signal(1).await.is_err(), "nobody is there to pass it on");
    });
}

#[test]
fn signals_are_passed_on_and_a_ward_that_is_dropped_dies() {
    let script = "trap 'exit 4' USR1; echo on; while :; do sleep 0.01; done";
    let (wish, mut reader) = heard(shell(script, LONG));
    block_on(async {
        let ward = Ward::spawn(wish).await.unwrap();
        assert_eq!(line(&mut reader), "on");
        ward.signal(Signal::USR1.as_raw()).await.unwrap();
        assert_eq!(ward.ended().await.status, Status::Exited(4));
        // A program that knows nothing of signals hears them all the same.
        let ward = Ward::spawn(orders(&["sleep", "1000"], LONG)).await.unwrap();
        ward.signal(Signal::TERM.as_raw()).await.unwrap();
        let ending = ward.ended().await;
        assert_eq!((ending.status, ending.why), (Status::Signaled(15), Why::Itself));
        let ward = Ward::spawn(orders(&["sleep", "1000"], LONG)).await.unwrap();
        let pid = ward.id().cast_signed();
        assert!(is_alive(pid));
        drop(ward);
        // The task that held the line runs once.
        quorate_env::sleep(Duration::ZERO).await;
        eventually("what was dropped is dead", || !is_alive(pid));
    });
}

/// Leaves two behind: one in a session of its own, and one whose parent is gone as well.
fn leaves(mark: &str) -> String {
    format!("setsid sleep {mark} & (setsid sh -c 'setsid sleep {mark} & setsid sleep {mark} &') & ")
}

#[test]
fn who_left_the_group_the_session_and_the_parents_ends_with_the_command() {
    let mark = mark(1);
    let (wish, mut reader) = heard(shell(&(leaves(&mark) + "read go; exit 5"), LONG));
    let (input, feed) = pipe().unwrap();
    let wish = Orders { streams: Streams { stdin: Some(input.into()), ..wish.streams }, ..wish };
    let ending = block_on(async {
        let ward = Ward::spawn(wish).await.unwrap();
        eventually("all three run", || living(&mark) == 3);
        drop(feed);
        ward.ended().await
    });
    assert_eq!((ending.status, ending.why), (Status::Exited(5), Why::Itself));
    assert_eq!(living(&mark), 0, "the end was told before it was true");
    assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn a_command_that_forks_faster_than_it_is_killed_ends_all_the_same() {
    let mark = mark(2);
    let script = format!(
        "i=0; while [ $i -lt 400 ]; do i=$((i+1)); setsid sleep {mark} & done; echo done; wait"
    );
    let ending = block_on(async {
        let ward = Ward::spawn(shell(&script, LONG)).await.unwrap();
        eventually("some run", || living(&mark) > 20);
        ward.stop(Duration::ZERO).await.unwrap();
        ward.ended().await
    });
    assert_eq!(ending.why, Why::Asked);
    assert_eq!(living(&mark), 0);
}

#[test]
fn whoever_reads_a_command_sees_its_end_when_it_closes_its_output() {
    let (wish, mut reader) = heard(shell("exec >&- 2>&-; exec sleep 1000", LONG));
    block_on(async {
        let ward = Ward::spawn(wish).await.unwrap();
        assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 0, "the fencer keeps it open");
        assert!(is_alive(ward.id().cast_signed()));
    });
}

/// A role: runs a command for a while, says its process and how it ended. `ms` comes before the script. What
/// it is told by a line is that the time is soon over.
#[test]
fn a_runner() {
    let Some(text) = role() else { return };
    let (ms, script) = text.split_once(' ').unwrap();
    let mut wish = shell(script, Duration::from_millis(ms.parse().unwrap()));
    wish.is_heir = true;
    block_on(async {
        let ward = Ward::spawn(wish).await.unwrap();
        println!("runs {}", ward.id());
        let mut told = String::new();
        if std::io::stdin().read_line(&mut told).unwrap() > 0 {
            ward.until(now() + SHORT, now() + SHORT).await.unwrap();
            println!("is due");
        }
        println!("ended {:?}", ward.ended().await);
    });
}

fn runner(ms: u64, script: &str) -> (Actor, i32) {
    let mut runner = Actor::play("ward::a_runner", &format!("{ms} {script}"));
    let pid = runner.says("runs ").parse().unwrap();
    (runner, pid)
}

#[test]
fn the_deadline_comes_while_the_runner_is_stopped() {
    let mark = mark(3);
    let script = leaves(&mark) + "trap '' TERM; sleep 1000; sleep 1000";
    let (mut runner, pid) = runner(600_000, &script);
    eventually("all run", || living(&mark) == 3);
    runner.tell("soon");
    runner.says("is due");
    runner.signal(Signal::STOP);
    eventually("the tree is dead", || living(&mark) == 0 && !is_alive(pid));
    runner.signal(Signal::CONT);
    let told = runner.says("ended ");
    assert!(told.contains("Signaled(9)") && told.contains("Deadline"), "{told}");
}

#[test]
fn a_tree_dies_with_its_runner() {
    let mark = mark(4);
    let (runner, pid) = runner(600_000, &(leaves(&mark) + "trap '' TERM; sleep 1000; sleep 1000"));
    eventually("all run", || living(&mark) == 3);
    let [fencer] = children(runner.child.id())[..] else { panic!("one fencer") };
    runner.signal(Signal::KILL);
    eventually("the tree is dead", || living(&mark) == 0 && !is_alive(pid));
    eventually("and its fencer", || !is_alive(fencer));
}

#[test]
fn a_tree_dies_with_its_fencer_and_the_runner_is_told() {
    let mark = mark(5);
    let (mut runner, pid) = runner(600_000, &(leaves(&mark) + "sleep 1000; sleep 1000"));
    eventually("all run", || living(&mark) == 3);
    let [fencer] = children(runner.child.id())[..] else { panic!("one fencer") };
    runner.hush();
    send(fencer, Signal::KILL);
    let told = runner.says("ended ");
    assert!(told.contains("FencerDied") && told.contains("is_tree_empty: true"), "{told}");
    assert!(living(&mark) == 0 && !is_alive(pid), "the end was told before it was true");
}

#[test]
fn a_fencer_that_is_stopped_itself_holds_up_no_deadline() {
    let mark = mark(6);
    // Long enough for all of them to begin.
    let (mut runner, pid) = runner(10_000, &(leaves(&mark) + "sleep 1000; sleep 1000"));
    eventually("all run", || living(&mark) == 3);
    let [fencer] = children(runner.child.id())[..] else { panic!("one fencer") };
    send(fencer, Signal::STOP);
    runner.hush();
    let told = runner.says("ended ");
    assert!(told.contains("FencerDied") && told.contains("is_tree_empty: true"), "{told}");
    assert!(living(&mark) == 0 && !is_alive(pid));
}
