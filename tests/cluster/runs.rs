//! `quorate singleton run` as a command among commands: what CMD is given, what comes of its end, signals.

use std::io::{Read, Write, pipe};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::host::{self, Agent, eventually, start_all};
use crate::stage::{Stage, heard};

/// Long enough that no story waits for it.
const LONG: &[&str] = &["--lease", "30m"];

fn one_agent(dir: &Path) -> Vec<Agent> {
    let mut agents = host::agents(1, dir);
    start_all(&mut agents, &host::cookie(dir));
    agents
}

fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_command_is_given_what_its_runner_has_and_knows_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let agents = one_agent(dir.path());
    let stage = Stage::new(&agents, dir.path(), "a/given");
    let output = |script: &str| texts(&stage.run(0, LONG, script).output().unwrap());

    let tell =
        "echo $QUORATE_SINGLETON $QUORATE_EPOCH $QUORATE_NODE $QUORATE_LEASE_MS $QUORATE_SESSION";
    let (code, out, err) = output(tell);
    let words: Vec<&str> = out.split_whitespace().collect();
    let [name, epoch, node, lease, session] = words[..] else { panic!("{code:?} {out}{err}") };
    assert_eq!((name, node, lease), ("a/given", "n1", "1800000"));
    assert!(session.parse::<u64>().is_ok(), "{session:?}");
    let (_, out, _) = output("echo $QUORATE_EPOCH");
    let (first, second): (u64, u64) = (epoch.parse().unwrap(), out.trim().parse().unwrap());
    assert!(first < second, "{first} {second}");

    let (_, out, err) = output("pwd; echo to whom it may concern >&2");
    assert_eq!(Path::new(out.trim()), stage.file("").canonicalize().unwrap());
    assert!(err.contains("to whom it may concern\n"), "{err}");
    // The fifth field is the group.
    let (_, out, _) = output("set -- $(cat /proc/$$/stat); echo $1 $5");
    let (pid, group) = out.trim().split_once(' ').unwrap();
    assert_eq!(pid, group);

    let mut reads = stage.run(0, LONG, "read word; echo $word; cat");
    let mut reads = reads.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    reads.stdin.take().unwrap().write_all(b"one\ntwo\n").unwrap();
    assert_eq!(texts(&reads.wait_with_output().unwrap()).1, "one\ntwo\n");
}

#[test]
fn a_command_has_the_terminal_that_its_runner_had() {
    let dir = tempfile::tempdir().unwrap();
    let agents = one_agent(dir.path());
    let stage = Stage::new(&agents, dir.path(), "a/terminal");
    let script = "test -t 0 && test -t 1 && read word && echo typed $word; exit 7";
    let line = format!(
        "{} singleton run a/terminal --lease 30m -- sh -c '{script}'",
        env!("CARGO_BIN_EXE_quorate")
    );
    let mut on_terminal = Command::new("script");
    on_terminal.args(["-qec", &line, "/dev/null"]).env("QUORATE_AGENT", agents[0].http());
    let child =
        on_terminal.current_dir(stage.file("")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"hello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    let (code, out, _) = texts(&output);
    assert!(out.contains("typed hello"), "{out}");
    assert_eq!(code, Some(7), "{out}");
}

#[test]
fn the_code_of_a_command_is_its_runners_and_what_else_may_be_has_a_code_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let agents = one_agent(dir.path());
    let stage = Stage::new(&agents, dir.path(), "a/code");
    for code in [0, 1, 2, 75, 124, 125, 126, 127, 128, 200, 255] {
        let ended = stage.run(0, LONG, &format!("exit {code}")).output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{:?}", texts(&ended));
    }
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("SEGV", 139)] {
        let ended = stage.run(0, LONG, &format!("kill -{signal} $$")).output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{:?}", texts(&ended));
    }
    let run = |args: &[&str]| {
        let args = [&["singleton", "run", "a/code"], args].concat();
        texts(&stage.quorate(0, &args).output().unwrap())
    };
    for (program, code) in [("no-such-command", 127), ("/", 126), ("/etc/passwd", 126), ("", 127)] {
        let (ended, _, err) = run(&["--lease", "30m", "--timeout", "60s", "--", program]);
        assert_eq!(ended, Some(code), "{program}: {err}");
        assert!(err.contains(program), "{err}");
    }
    // Whoever writes to nobody is told so as everywhere.
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let ended = stage.run(0, LONG, "exec yes").stdout(writer).output().unwrap();
    assert_eq!(ended.status.code(), Some(141), "{:?}", texts(&ended));
    let closed = "exec \"$0\" singleton run a/code --lease 30m -- sh -c 'exit 9' <&- >&- 2>&-";
    let mut closing = Command::new("sh");
    closing.args(["-c", closed, env!("CARGO_BIN_EXE_quorate")]);
    let ended = closing.env("QUORATE_AGENT", agents[0].http()).status().unwrap();
    assert_eq!(ended.code(), Some(9));

    // What does not fit is refused with the sum.
    let (code, _, err) = run(&["--lease", "2s", "--grace", "1s", "--", "true"]);
    assert_eq!(code, Some(125), "{err}");
    assert!(err.contains("--grace 1s + 100ms") && err.contains("are 2.3s, more than"), "{err}");
    for wrong in
        [&["--max-restarts", "5", "--", "true"][..], &["--apart", "--", "true"], &["true"], &[]]
    {
        assert_eq!(run(wrong).0, Some(2), "{wrong:?}");
    }
    for name in ["", "no name", "//"] {
        let args = ["singleton", "run", name, "--", "touch", "started"];
        let (code, _, err) = texts(&stage.quorate(0, &args).output().unwrap());
        assert_eq!(code, Some(125), "{name}: {err}");
        assert!(err.contains("error[Q"), "{err}");
    }
    let nobody = ["--agent", "127.0.0.1:1", "--timeout", "300ms", "--", "touch", "started"];
    let (code, _, err) = run(&nobody);
    assert_eq!(code, Some(125), "{err}");
    assert!(err.contains("error[Q0101]") && err.contains("\n  next:  "), "{err}");

    let mut owner = stage.start(0, LONG, "exec $WITNESS");
    stage.begins(1, 0);
    for late in [&["--try"][..], &["--wait", "300ms"]] {
        let (code, _, err) =
            run(&[late, LONG, &["--timeout", "60s", "--", "touch", "started"]].concat());
        assert_eq!(code, Some(124), "{err}");
        assert!(err.contains("n1 has it under epoch"), "{err}");
    }
    assert!(!stage.file("started").exists());
    owner.signal("-TERM");
    assert_eq!(owner.code(), 143);
    stage.nothing_is_left();
}

#[test]
fn signals_are_the_commands_and_after_one_that_ends_none_is_started() {
    let dir = tempfile::tempdir().unwrap();
    let agents = one_agent(dir.path());
    let stage = Stage::new(&agents, dir.path(), "a/signal");
    for signal in ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "ALRM", "WINCH"] {
        let script =
            format!("trap 'echo got it; exit 9' {signal}; echo on; while :; do sleep 0.01; done");
        let (mut runner, on, mut rest) = heard(stage.run(0, LONG, &script));
        assert_eq!(on, "on");
        runner.signal(&format!("-{signal}"));
        assert_eq!(runner.code(), 9, "{signal}");
        let mut said = String::new();
        rest.read_to_string(&mut said).unwrap();
        assert_eq!(said, "got it\n", "{signal}");
    }
    let mut owner = stage.start(0, LONG, "exec $WITNESS");
    let first = stage.begins(1, 0);
    let started = "touch started; exec $WITNESS";
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129), ("-QUIT", 131)] {
        let mut waits = stage.stand_by(0, LONG, started);
        waits.signal(signal);
        assert_eq!(waits.code(), code, "{}", waits.said());
    }
    // It is the one while it is stopped, and hears of that and of the signal at once.
    let mut stopped = stage.stand_by(0, LONG, started);
    stopped.signal("-STOP");
    owner.signal("-TERM");
    assert_eq!(owner.code(), 143);
    eventually("it is granted", || {
        stage.seen("").is_some_and(|seen| seen["epoch"].as_u64() > Some(first))
    });
    stopped.signal("-TERM");
    stopped.signal("-CONT");
    assert_eq!(stopped.code(), 143, "{}", stopped.said());
    assert!(!stage.file("started").exists(), "a command was started after a signal");

    // A word to one that waits is none to the command that it may run some day.
    let mut owner = stage.start(0, LONG, "exec $WITNESS");
    let second = stage.begins(1, first);
    let mut waits = stage.stand_by(0, LONG, started);
    waits.signal("-USR1");
    waits.signal("-WINCH");
    owner.signal("-TERM");
    assert_eq!(owner.code(), 143);
    stage.begins(1, second);
    stage.never_two();
    waits.signal("-TERM");
    assert_eq!(waits.code(), 143, "{}", waits.said());

    // One that is restarted is not after a signal.
    let script = "trap 'exit 3' TERM; touch restarts; while :; do sleep 0.01; done";
    let mut restarts = stage.start(0, &["--lease", "30m", "--restart", "always"], script);
    eventually("it runs", || stage.file("restarts").exists());
    restarts.signal("-TERM");
    assert_eq!(restarts.code(), 3, "{}", restarts.said());
}

#[test]
fn a_throw_away_cluster_runs_a_command_and_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let dev = |script: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(["dev", "-n", "1", "--", "sh", "-c", script]).stdin(Stdio::null());
        for key in ["HOME", "TMPDIR", "XDG_RUNTIME_DIR"] {
            command.env(key, dir.path());
        }
        command.current_dir(dir.path()).env_remove("QUORATE_AGENT");
        command
    };
    let (code, out, err) =
        texts(&dev("echo $QUORATE_SINGLETON $QUORATE_NODE; exit 7").output().unwrap());
    assert_eq!((code, out.as_str()), (Some(7), "dev n1\n"), "{err}");
    assert!(err.contains("a throw-away cluster"), "{err}");
    let stays = "trap 'echo asked; exit 5' TERM; echo on; while :; do sleep 0.01; done";
    let (mut stays, on, mut rest) = heard(dev(stays));
    assert_eq!(on, "on");
    stays.signal("-TERM");
    assert_eq!(stays.code(), 5);
    let mut said = String::new();
    rest.read_to_string(&mut said).unwrap();
    assert_eq!(said, "asked\n");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "something is left");
}
