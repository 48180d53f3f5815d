//! Guards as their users run them: a file, and a proxy in front of a thing that takes whatever it is sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::Value;

use crate::common::{PATIENCE, Place, eventually, json, send, texts};

/// A body whose effect takes until the test lets it go.
const HELD: &str = "held";

/// A thing that does what it is told: each body that arrives whole has its effect.
struct Thing {
    address: String,
    log: Arc<Mutex<Vec<String>>>,
    release: SyncSender<()>,
}

impl Thing {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (release, released) = sync_channel(1);
        let released = Arc::new(Mutex::new(released));
        let into = Arc::clone(&log);
        let accept = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, released) = (Arc::clone(&into), Arc::clone(&released));
                let serve = move || serve(stream, &log, &released);
                drop(std::thread::Builder::new().spawn(serve).unwrap());
            }
        };
        drop(std::thread::Builder::new().spawn(accept).unwrap());
        Self { address, log, release }
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn has(&self, what: &str) -> bool {
        self.log().iter().any(|line| line == what)
    }
}

fn serve(mut stream: impl Read + Write, log: &Mutex<Vec<String>>, released: &Mutex<Receiver<()>>) {
    let say = |line: String| log.lock().unwrap().push(line);
    say("connected".to_owned());
    let mut reader = BufReader::new(&mut stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        let lower = line.to_ascii_lowercase();
        length = lower
            .strip_prefix("content-length: ")
            .map_or(length, |value| value.trim_end().parse().unwrap());
        line.clear();
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let body = String::from_utf8(body).unwrap();
    say(if body.len() < 100 { body.clone() } else { format!("{} bytes", body.len()) });
    if body == HELD {
        let end = released.lock().unwrap().recv_timeout(PATIENCE);
        say(if end == Err(RecvTimeoutError::Timeout) { "forgotten" } else { "let go" }.to_owned());
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-thing: yes\r\n\r\ndone");
}

/// A proxy under test. Dropped, it is killed.
struct Proxy {
    child: Child,
    address: String,
}

impl Proxy {
    fn start(place: &Place, to: &str, more: &[&str]) -> Self {
        let to = format!("http://{to}");
        let mut args = vec!["guard", "proxy", "--listen", "127.0.0.1:0", "--to", &to];
        args.extend(more);
        let mut command = place.command(&args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.split_once(" guards ").expect("it says where it listens").0;
        Self { child, address: address.strip_prefix("http://").unwrap().to_owned() }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Posts a body, and gives the status and what was answered.
fn post(to: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let agent = config.timeout_global(Some(PATIENCE)).build().new_agent();
    let mut request = agent.post(format!("http://{to}/orders?x=1"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.send(body).unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

fn post_as(to: &str, epoch: &str, body: &str) -> (u16, String) {
    post(to, &[("Quorate-Singleton", "billing"), ("Quorate-Epoch", epoch)], body)
}

fn code(answer: &str) -> Value {
    json(answer)["code"].clone()
}

/// The old owner, the new one, and the old one again, awake too late.
fn woken_too_late(thing: &Thing, through: &str) -> Vec<(u16, String)> {
    let answers = [("17", "old"), ("18", "new"), ("17", "stale")]
        .map(|(epoch, body)| post_as(through, epoch, body));
    assert_eq!((answers[0].0, answers[1].0), (200, 200), "{answers:?}");
    assert!(thing.has("old") && thing.has("new"));
    answers.to_vec()
}

#[test]
fn a_stale_request_reaches_what_nobody_guards_and_not_a_byte_of_it_what_a_proxy_does() {
    let place = Place::new();
    let thing = Thing::start();
    woken_too_late(&thing, &thing.address);
    assert!(thing.has("stale"), "this is what the guard is for");

    let thing = Thing::start();
    let state = ["--state", "epochs"];
    let proxy = Proxy::start(&place, &thing.address, &state);
    let answers = woken_too_late(&thing, &proxy.address);
    assert_eq!(answers[2].0, 412);
    let problem = json(&answers[2].1);
    assert_eq!(problem["code"], "Q0601");
    assert_eq!(problem["detail"], "billing was seen under epoch 18, and this says 17");
    assert_eq!(thing.log(), ["connected", "old", "connected", "new"]);

    // Killed, and started anew: it remembers.
    drop(proxy);
    let proxy = Proxy::start(&place, &thing.address, &state);
    assert_eq!(post_as(&proxy.address, "17", "stale").0, 412);
    assert_eq!(post_as(&proxy.address, "18", "again"), (200, "done".to_owned()));
}

#[test]
fn a_proxy_passes_large_bodies_and_says_in_codes_what_it_does_not_pass() {
    let place = Place::new();
    let thing = Thing::start();
    let proxy = Proxy::start(&place, &thing.address, &["--names-max", "1"]);
    let large = "x".repeat(5 << 20);
    assert_eq!(post_as(&proxy.address, "1", &large).0, 200);
    assert!(thing.has("5242880 bytes"));
    let unmarked = post(&proxy.address, &[], "x");
    assert_eq!((unmarked.0, code(&unmarked.1)), (428, "Q0602".into()));
    let odd = post(&proxy.address, &[("Quorate-Epoch", "1")], "x");
    assert_eq!((odd.0, code(&odd.1)), (400, "Q0603".into()));
    let other = post(&proxy.address, &[("Quorate-Singleton", "b"), ("Quorate-Epoch", "1")], "x");
    assert_eq!((other.0, code(&other.1)), (507, "Q0604".into()));
    assert!(!thing.has("x"));

    let lenient = Proxy::start(&place, &thing.address, &["--optional"]);
    assert_eq!(post(&lenient.address, &[], "unmarked").0, 200);
    assert_eq!(post(&lenient.address, &[("Quorate-Epoch", "1")], "x").0, 400);
    assert!(thing.has("unmarked") && !thing.has("x"));

    let proxy = Proxy::start(&place, "127.0.0.1:1", &[]);
    let down = post_as(&proxy.address, "1", "x");
    assert_eq!((down.0, code(&down.1)), (502, "Q0606".into()));

    let proxy = Proxy::start(&place, &thing.address, &["--timeout", "100ms"]);
    let late = post_as(&proxy.address, "1", HELD);
    assert_eq!((late.0, code(&late.1)), (504, "Q0608".into()));
    assert_eq!(
        json(&late.1)["outcome"],
        "unknown",
        "it was sent, and nobody knows what came of it"
    );
    thing.release.send(()).unwrap();
}

#[test]
fn a_proxy_ends_when_it_is_asked_to_and_takes_no_address_that_it_cannot_pass_on_to() {
    let place = Place::new();
    let thing = Thing::start();
    let mut proxy = Proxy::start(&place, &thing.address, &["--state", "epochs"]);
    assert_eq!(post_as(&proxy.address, "17", "old").0, 200);
    let none = ["guard", "file", "x", "--name", "a", "--epoch", "9007199254740992"];
    assert_eq!(place.run(&none).status.code(), Some(2));
    send(proxy.child.id().cast_signed(), Signal::TERM);
    eventually("it ends", || proxy.child.try_wait().unwrap().is_some());
    assert!(proxy.child.wait().unwrap().success());
    for to in ["x", "https://127.0.0.1:1", "http://127.0.0.1:1/path", "http://a@b:1"] {
        let args = ["guard", "proxy", "--listen", "127.0.0.1:0", "--to", to];
        assert_eq!(place.run(&args).status.code(), Some(2), "{to}");
    }
    std::fs::write(place.path().join("epochs"), "quorate-bar 1\nbilling 1").unwrap();
    let to = format!("http://{}", thing.address);
    let torn = ["guard", "proxy", "--listen", "127.0.0.1:0", "--to", &to, "--state", "epochs"];
    place.bad(&torn, 1, "Q0611");
}

/// An admitted request of the old owner is still at work when the new owner's first one comes. Gives what
/// the thing saw, and what the old one was answered.
fn met_on_the_way(thing: &Thing, proxy: &Proxy, drains: bool, let_go: bool) -> (u16, String) {
    std::thread::scope(|scope| {
        let old = scope.spawn(|| post_as(&proxy.address, "17", HELD));
        eventually("the old one is at work", || thing.has(HELD));
        let new = scope.spawn(|| post_as(&proxy.address, "18", "new"));
        eventually("the bar is raised", || post_as(&proxy.address, "17", "stale").0 == 412);
        if !drains {
            eventually("the new one overtakes", || thing.has("new"));
        }
        if let_go {
            thing.release.send(()).unwrap();
        }
        assert_eq!(new.join().unwrap().0, 200);
        old.join().unwrap()
    })
}

#[test]
fn with_drain_a_new_owner_does_not_overtake_what_the_old_one_has_begun() {
    let place = Place::new();
    let seen = |thing: &Thing| -> Vec<String> {
        let log = thing.log();
        log.into_iter().filter(|line| ["new", "let go"].contains(&line.as_str())).collect()
    };
    let thing = Thing::start();
    let proxy = Proxy::start(&place, &thing.address, &[]);
    assert_eq!(met_on_the_way(&thing, &proxy, false, true).0, 200);
    assert_eq!(seen(&thing), ["new", "let go"], "the old one ends behind the new one");

    let thing = Thing::start();
    let proxy = Proxy::start(&place, &thing.address, &["--drain=60s"]);
    assert_eq!(met_on_the_way(&thing, &proxy, true, true).0, 200);
    assert_eq!(seen(&thing), ["let go", "new"]);
}

#[test]
fn with_drain_an_old_request_that_does_not_end_is_cut_off() {
    let place = Place::new();
    let thing = Thing::start();
    let proxy = Proxy::start(&place, &thing.address, &["--drain=100ms"]);
    let cut = met_on_the_way(&thing, &proxy, true, false);
    assert_eq!((cut.0, code(&cut.1)), (503, "Q0609".into()));
    thing.release.send(()).unwrap();
}

/// Runs `quorate guard file` with something on stdin.
fn write(place: &Place, env: &[(&str, &str)], more: &[&str], text: &str) -> (Option<i32>, String) {
    let mut args = vec!["guard", "file", "state"];
    args.extend(more);
    let mut command = place.command(&args);
    command.envs(env.iter().copied()).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    // Whoever is refused for its flags does not read.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    let output = child.wait_with_output().unwrap();
    (output.status.code(), texts(&output).1)
}

#[test]
fn a_script_of_a_stale_owner_writes_no_file_and_ends_as_one_whose_name_was_lost() {
    let place = Place::new();
    let held = || std::fs::read_to_string(place.path().join("state")).unwrap();
    let by_flags = |epoch, text| write(&place, &[], &["--name", "billing", "--epoch", epoch], text);
    assert_eq!(by_flags("17", "old").0, Some(0));
    let singleton = [("QUORATE_SINGLETON", "billing"), ("QUORATE_EPOCH", "18")];
    assert_eq!(write(&place, &singleton, &[], "new"), (Some(0), String::new()));
    let (exit, err) = by_flags("17", "stale");
    assert_eq!((exit, held().as_str()), (Some(75), "new"));
    assert!(
        err.contains("error[Q0601]") && err.contains("epoch 17 is stale: 18 was seen"),
        "{err}"
    );
    // As `lock` and `elect` say it.
    let lock = [("QUORATE_NAME", "billing"), ("QUORATE_EPOCH", "19")];
    assert_eq!(write(&place, &lock, &[], "newer"), (Some(0), String::new()));
    let other = [("QUORATE_NAME", "reports"), ("QUORATE_EPOCH", "20")];
    let (exit, err) = write(&place, &other, &[], "theirs");
    assert!(exit == Some(1) && err.contains("error[Q0612]"), "{err}");
    let (exit, err) = write(&place, &[], &["--epoch", "20"], "whose");
    assert!(exit == Some(2) && err.contains("error[Q0501]"), "{err}");
    assert_eq!(held(), "newer");
    std::fs::write(place.path().join("state.quorate-epoch"), "quorate-bar 1\nbilling 1").unwrap();
    let (exit, err) = by_flags("20", "torn");
    assert!(exit == Some(1) && err.contains("error[Q0611]"), "{err}");
    assert_eq!(held(), "newer");
}
