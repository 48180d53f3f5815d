//! `quorate singleton run` when something is stopped, killed, moved or fails: never two at once, and then the
//! next one. The stories of one cluster are told side by side, since most of them wait for a lease.

use std::path::Path;

use crate::host::{self, Agent, eventually, get, start_again, start_all};
use crate::stage::{Stage, is_alive, send};

/// Nobody waits for this one.
const LONG: &[&str] = &["--lease", "30m"];
/// What has to be waited for. It is not the least that works, for this machine may have much else to do.
const SHORT: &[&str] = &["--lease", "5s"];
/// A command with a family: one that ignores what is asked of it, one in a session of its own, and a daemon.
const FAMILY: &str = "trap '' TERM; setsid $WITNESS & (setsid $WITNESS &); $WITNESS";
const FAMILY_SIZE: usize = 3;
const ALONE: &str = "exec $WITNESS";

type Story = fn(&Stage<'_>);

const STORIES: &[(&str, Story)] = &[
    ("s/killed", a_killed_runner_leaves_nothing_and_nobody_waits_for_its_lease),
    ("s/stopped", a_stopped_runner_loses_its_command_in_time_and_begins_nothing_later),
    ("s/fencer", a_runner_without_its_fencer_has_no_command),
    ("s/moved", a_command_that_is_moved_finishes_what_it_does),
    ("s/halted", one_that_is_to_stop_is_nobodys_until_it_may_start),
    ("s/failed", one_that_fails_too_often_is_anothers_turn),
    ("s/robbed", a_command_whose_session_somebody_ended_is_killed_at_once),
    ("s/standing", one_that_waits_stands_again_when_its_session_was_ended),
];

#[test]
fn whatever_becomes_of_runners_and_their_commands_there_are_never_two() {
    let dir = tempfile::tempdir().unwrap();
    let mut agents = host::agents(3, dir.path());
    start_all(&mut agents, &host::cookie(dir.path()));
    let told = |(name, story): &(&str, Story)| {
        let stage = Stage::new(&agents, dir.path(), name);
        story(&stage);
        stage.never_two();
    };
    std::thread::scope(|scope| {
        for one in STORIES {
            scope.spawn(|| told(one));
        }
    });
}

fn a_killed_runner_leaves_nothing_and_nobody_waits_for_its_lease(stage: &Stage<'_>) {
    let mut owner = stage.start(0, LONG, FAMILY);
    let first = stage.begins(FAMILY_SIZE, 0);
    let _next = stage.stand_by(1, LONG, ALONE);
    let why = stage.seen("/why").unwrap();
    let nodes: Vec<&str> =
        why["nodes"].as_array().unwrap().iter().filter_map(|one| one["node"].as_str()).collect();
    assert_eq!(nodes, ["n1", "n2", "n3"], "{why}");
    assert_eq!(why["owner"], "n1");
    owner.signal("-KILL");
    owner.code();
    stage.begins(1, first);
    assert_eq!(stage.last().0, "proven dead");
}

fn a_stopped_runner_loses_its_command_in_time_and_begins_nothing_later(stage: &Stage<'_>) {
    let mut owner = stage.start(0, &[SHORT, &["--restart", "always"]].concat(), FAMILY);
    let first = stage.begins(FAMILY_SIZE, 0);
    let _next = stage.stand_by(1, LONG, ALONE);
    owner.signal("-STOP");
    let second = stage.begins(1, first);
    assert!(stage.last().0.starts_with("expired"), "{:?}", stage.last());
    stage.never_two();
    owner.signal("-CONT");
    assert_eq!(owner.code(), 75, "{}", owner.said());
    let lives = stage.lives();
    assert!(lives.iter().all(|life| life.epoch == first || life.epoch == second), "{lives:?}");
    assert_eq!(lives.len(), FAMILY_SIZE + 1, "it began something");
}

fn a_runner_without_its_fencer_has_no_command(stage: &Stage<'_>) {
    let mut owner = stage.start(0, LONG, FAMILY);
    let first = stage.begins(FAMILY_SIZE, 0);
    send(owner.fencer(), "-KILL");
    assert_eq!(owner.code(), 75, "{}", owner.said());
    stage.nothing_is_left();
    let _next = stage.start(1, LONG, ALONE);
    stage.begins(1, first);
}

/// It is asked, and given longer than a lease for it.
fn a_command_that_is_moved_finishes_what_it_does(stage: &Stage<'_>) {
    let finishes =
        "trap 'sleep 6; touch finished; exit 0' TERM; $WITNESS & while :; do sleep 0.01; done";
    let flags = [SHORT, &["--stop-within", "5m"]].concat();
    let mut owner = stage.start(0, &flags, finishes);
    let first = stage.begins(1, 0);
    let _next = stage.stand_by(1, LONG, ALONE);
    let moved =
        stage.quorate(2, &["singleton", "move", &stage.name, "n2", "--timeout", "60s"]).output();
    let moved = moved.unwrap();
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
    assert_eq!(owner.code(), 75, "{}", owner.said());
    assert!(stage.file("finished").exists(), "{}", owner.said());
    stage.begins(1, first);
    assert_eq!(stage.last(), ("stopped".to_owned(), "it was moved".to_owned()));
    assert_eq!(stage.seen("").unwrap()["owner"], "n2");
}

fn one_that_is_to_stop_is_nobodys_until_it_may_start(stage: &Stage<'_>) {
    let mut owner = stage.start(0, LONG, ALONE);
    let first = stage.begins(1, 0);
    let next = stage.stand_by(1, LONG, ALONE);
    let say = |what| {
        let said = stage.quorate(2, &["singleton", what, &stage.name, "--timeout", "60s"]).output();
        let said = said.unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    };
    say("stop");
    assert_eq!(owner.code(), 75, "{}", owner.said());
    eventually("it waits for the start", || next.said().contains("stopped"));
    assert_eq!(stage.lives().len(), 1);
    say("start");
    stage.begins(1, first);
}

fn one_that_fails_too_often_is_anothers_turn(stage: &Stage<'_>) {
    let fails = "echo once >> count; test -e go || exec $WITNESS; exit 3";
    let flags = [LONG, &["--restart", "on-failure", "--max-restarts", "2/10m"]].concat();
    let mut owner = stage.start(0, &flags, fails);
    let first = stage.begins(1, 0);
    let _next = stage.stand_by(1, LONG, ALONE);
    std::fs::write(stage.file("go"), "").unwrap();
    send(stage.lives()[0].pid, "-KILL");
    assert_eq!(owner.code(), 3, "{}", owner.said());
    assert_eq!(std::fs::read_to_string(stage.file("count")).unwrap(), "once\n".repeat(3));
    stage.begins(1, first);
    let (evidence, why) = stage.last();
    assert_eq!(evidence, "stopped");
    assert!(why.contains("it ended with 3"), "{why}");
}

fn a_command_whose_session_somebody_ended_is_killed_at_once(stage: &Stage<'_>) {
    let mut owner = stage.start(0, &[LONG, &["--stop-within", "1h"]].concat(), FAMILY);
    stage.begins(FAMILY_SIZE, 0);
    end_session(stage, 0);
    // Whoever ends what is not its own is believed; what can be done then is to be quick.
    assert_eq!(owner.code(), 75, "{}", owner.said());
    stage.nothing_is_left();
}

fn one_that_waits_stands_again_when_its_session_was_ended(stage: &Stage<'_>) {
    let mut owner = stage.start(0, LONG, ALONE);
    let first = stage.begins(1, 0);
    let next = stage.stand_by(1, LONG, ALONE);
    end_session(stage, 1);
    eventually("it stands again", || {
        let seen = stage.seen("").unwrap_or_default();
        next.said().contains("stands again")
            && seen["candidates"].as_array().is_some_and(|all| all.len() == 2)
    });
    owner.signal("-TERM");
    assert_eq!(owner.code(), 143);
    stage.begins(1, first);
}

/// Ends the session of a candidate, which is not nice.
fn end_session(stage: &Stage<'_>, nth: usize) {
    let seen = stage.seen("").unwrap();
    let node = format!("n{}", nth + 1);
    let candidates = seen["candidates"].as_array().unwrap();
    let one = candidates.iter().find(|one| one["node"] == node.as_str()).unwrap();
    stage.delete(&format!("/v1/sessions/{}", one["session"]));
}

#[test]
fn a_command_whose_agent_is_stopped_or_killed_ends_in_time_and_another_begins() {
    let dir = tempfile::tempdir().unwrap();
    let cookie = host::cookie(dir.path());
    let mut agents = host::agents(3, dir.path());
    start_all(&mut agents, &cookie);
    let third = agents[2].pid();
    loses_its_agent(&agents, dir.path(), "s/agent-stopped", || send(third, "-STOP"));
    // It may have been ended by what guards it.
    if is_alive(third) {
        send(third, "-CONT");
    }
    agents[2].kill();
    start_again(&mut agents, 2, &cookie);
    let third = agents[2].pid();
    loses_its_agent(&agents, dir.path(), "s/agent-killed", || send(third, "-KILL"));
}

fn loses_its_agent(agents: &[Agent], dir: &Path, name: &str, how: impl FnOnce()) {
    let stage = Stage::new(agents, dir, name);
    let mut owner = stage.start(2, SHORT, FAMILY);
    let first = stage.begins(FAMILY_SIZE, 0);
    let _next = stage.stand_by(1, LONG, ALONE);
    how();
    assert_eq!(owner.code(), 75, "{}", owner.said());
    let second = stage.begins(1, first);
    stage.never_two();
    assert!(stage.last().0.starts_with("expired"), "{:?}", stage.last());
    let seen = get(&format!("{}/v1/singletons/{}", agents[0].http(), name.replace('/', "%2F")));
    assert_eq!(seen.unwrap()["epoch"].as_u64(), Some(second));
}
