//! The daemon and its settings, and commands that reach nobody.

use crate::common;

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use common::{Place, eventually, failed, json, send, texts};
use rustix::process::Signal;

/// A daemon, and where its face is.
pub(crate) struct Agent(Child, pub(crate) String);

impl Agent {
    pub(crate) fn start(place: &Place, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let announce = place.path().join("where");
        let _ = std::fs::remove_file(&announce);
        let mut all = vec![
            "agent",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--announce",
            "where",
        ];
        all.extend(args);
        let mut command = place.command(&all);
        command.envs(variables.iter().copied()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let mut http = String::new();
        eventually("the agent starts", || {
            let written = std::fs::read_to_string(&announce).unwrap_or_default();
            let found = serde_json::from_str::<serde_json::Value>(&written).ok();
            http = found
                .and_then(|found| Some(found["http"].as_str()?.to_owned()))
                .unwrap_or_default();
            !http.is_empty()
        });
        Self(child, http)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    pub(crate) fn stop(mut self) {
        send(self.0.id() as i32, Signal::TERM);
        assert!(self.0.wait().unwrap().success(), "SIGTERM is a clean end");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn flag_goes_over_environment_over_file_over_default_and_a_restart_remembers() {
    let place = Place::new();
    let file = place.path().join("q.toml");
    std::fs::write(
        &file,
        "name = \"of-file\"\nexpect = 1\ndata = \"d\"\nlease = \"10s\"\nlabel = { zone = \"a\" }\n",
    )
    .unwrap();
    let config = ["--config", "q.toml"];
    let agent = Agent::start(&place, &config, &[]);
    let status = |agent: &Agent| json(&place.good(&["status", "-o", "json", "--agent", &agent.1]));
    assert_eq!(status(&agent)["node"], "of-file");
    eventually("it is quorate", || status(&agent)["quorate"] == true);
    place.sure(&["name", "register", "kept", "--agent", &agent.1]);
    // The cookie that was drawn for this user, and the data, are for this user alone.
    let mode = |path: &str| {
        std::fs::metadata(place.path().join(path)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode(".quorate/cookie"), mode("d")), (0o600, 0o700));
    // A second agent on the same data is refused by name.
    let err = place.bad(
        &["agent", "--config", "q.toml", "--listen", "127.0.0.1:0", "--log", "error"],
        1,
        "Q0505",
    );
    assert!(err.contains("another agent is using"), "{err}");
    agent.stop();

    let environment = [("QUORATE_NAME", "of-env")];
    let agent = Agent::start(&place, &config, &environment);
    assert_eq!(status(&agent)["node"], "of-env");
    eventually("it remembers", || {
        place.run(&["name", "lookup", "kept", "--agent", &agent.1]).status.success()
    });
    agent.stop();
    let agent = Agent::start(&place, &["--config", "q.toml", "--name", "of-flag"], &environment);
    assert_eq!(status(&agent)["node"], "of-flag");
    agent.stop();
}

#[test]
fn settings_that_do_not_fit_are_refused_before_anything_starts() {
    let place = Place::new();
    std::fs::write(place.path().join("q.toml"), "vorters = 3\n").unwrap();
    let err = place.bad(&["agent", "--config", "q.toml"], 2, "Q0502");
    assert!(err.contains("`vorters`") && err.contains("`voters`"), "{err}");
    let open = place.path().join("open");
    std::fs::write(&open, "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    for (args, exit, code) in [
        (["agent", "--voters", "2"], 2, "Q0501"),
        (["agent", "--lease", "100ms"], 2, "Q0501"),
        (["agent", "--join", "ftp://x"], 2, "Q0501"),
        (["agent", "--listen", "nowhere"], 2, "Q0501"),
        (["agent", "--listen", "0.0.0.0:0"], 1, "Q0504"),
        (["agent", "--http", "0.0.0.0:0"], 1, "Q0504"),
        (["agent", "--cookie-file", "open"], 1, "Q0503"),
        (["agent", "--api-token-file", "open"], 1, "Q0503"),
        (["agent", "--name", "a b"], 2, "Q0501"),
    ] {
        place.bad(&args, exit, code);
    }
    let usage = place.run(&["agent", "--lease", "2"]);
    assert_eq!(usage.status.code(), Some(2));
    assert!(texts(&usage).1.contains("write 300ms, 2s, 5m or 1h"));
    assert!(!place.path().join("quorate-data").exists(), "nothing was started");
}

#[test]
fn a_token_that_the_agent_wants_is_sent_from_a_file() {
    let place = Place::new();
    for (file, token) in [("token", "0123456789abcdef"), ("other", "0123456789abcdeg")] {
        std::fs::write(place.path().join(file), token).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(place.path().join(file), mode).unwrap();
    }
    let args = ["--expect", "1", "--lease", "10s", "--api-token-file", "token"];
    let agent = Agent::start(&place, &args, &[]);
    let register = |name: &str, token: &[&str]| {
        let mut args = vec!["name", "register", name, "--agent", &agent.1];
        args.extend(token);
        place.run(&args)
    };
    eventually("it takes writes", || {
        register("a", &["--api-token-file", "token"]).status.success()
    });
    assert!(texts(&register("b", &[])).1.contains("error[Q0401]"));
    assert!(texts(&register("b", &["--api-token-file", "other"])).1.contains("error[Q0402]"));
    place.sure(&["name", "lookup", "a", "--agent", &agent.1]);
    agent.stop();
}

#[test]
fn without_a_quorum_commands_end_in_time_and_say_so() {
    let place = Place::new();
    let agent = Agent::start(&place, &["--expect", "3", "--lease", "1s"], &[]);
    for command in ["register", "lookup"] {
        let args = ["name", command, "a", "--agent", &agent.1, "--timeout", "60s"];
        // A machine that stands still may spoil one answer, but not five in a row.
        assert!((0..5).any(|_| is_refused_in_time(&place, &args)), "{command} takes too long");
    }
    place.bad(&["name", "lookup", "a", "--local", "--agent", &agent.1], 1, "Q0303");
    place.bad(&["leader", "--agent", &agent.1], 1, "Q0107");
    let check = place.run(&["check", "--agent", &agent.1]);
    assert_eq!(check.status.code(), Some(2));
    assert!(texts(&check).0.starts_with("NO QUORUM"));
    let status = place.good(&["status", "--agent", &agent.1]);
    assert!(status.starts_with("NO QUORUM") && status.contains("PROBLEMS"), "{status}");
    agent.stop();
}

/// Whether an agent without a quorum refuses within its lease and a second; the rest is for the processes.
fn is_refused_in_time(place: &Place, args: &[&str]) -> bool {
    let began = quorate_env::now();
    let output = place.run(args);
    let took = quorate_env::now().since(began);
    // A write whose last attempt was cut off by its bound is in doubt, and says so.
    if texts(&output).1.contains("error[Q0106]: ") {
        return false;
    }
    failed(args, &output, 1, "Q0107");
    took < Duration::from_secs(4)
}

/// Where nobody listens, and nobody can begin to: the near end of a connection has that address.
#[expect(clippy::disallowed_types, reason = "a client stands outside of every node")]
fn nowhere() -> (String, impl Sized) {
    let far = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let near = std::net::TcpStream::connect(far.local_addr().unwrap()).unwrap();
    (format!("http://{}", near.local_addr().unwrap()), (near, far))
}

#[test]
fn a_command_that_reaches_nobody_says_whom_it_asked() {
    let place = Place::new();
    let (nobody, _held) = nowhere();
    let err = place.bad(&["status", "--agent", &nobody], 1, "Q0101");
    assert!(err.contains(&nobody) && err.contains("quorate dev"), "{err}");
    assert_eq!(place.run(&["check", "--agent", &nobody]).status.code(), Some(3));
    place.bad(&["status", "--agent", "https://n1"], 2, "Q0501");
    // One that takes the connection and says nothing: a read is given up, a write is in doubt.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("http://{}", mute.local_addr().map(|at| at.to_string()).unwrap());
    place.bad(&["status", "--agent", &mute, "--timeout", "2s"], 1, "Q0101");
    let write = ["name", "register", "a", "--agent", &mute, "--timeout", "2s"];
    let err = place.bad(&write, 1, "Q0102");
    assert!(err.contains("--idempotency-key "), "{err}");
}

#[test]
fn codes_are_explained_and_shells_get_completions() {
    let place = Place::new();
    let text = place.good(&["explain", "Q0107"]);
    assert!(text.starts_with("Q0107: ") && text.contains("HTTP 503"), "{text}");
    assert_eq!(json(&place.good(&["explain", "q301", "-o", "json"]))["outcome"], "refused");
    assert!(place.good(&["explain", "-o", "name"]).lines().all(|line| line.starts_with('Q')));
    place.bad(&["explain", "Q9999"], 1, "Q0509");
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.good(&["completions", shell]).contains("quorate"));
    }
    // A reader that has enough is no error.
    let mut child = place.command(&["completions", "zsh"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
