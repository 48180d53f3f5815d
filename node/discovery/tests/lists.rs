//! Lists that lie on this machine: in settings, files, the environment, and what a command prints.

use crate::common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{eventually, seen, source, trouble, written};
use quorate_env::{spawn, timeout};

#[tokio::test]
async fn addresses_that_were_written_down_are_always_there() {
    let mut fixed = source("N1.example:4747");
    assert_eq!(seen(fixed.as_mut()).await, ["n1.example:4747"]);
    assert_eq!(seen(fixed.as_mut()).await, ["n1.example:4747"]);
}

#[tokio::test]
async fn a_file_is_read_again_when_it_was_changed_or_replaced() {
    let (dir, path) = written("nodes", "10.0.0.1:4747 # the first\n");
    let mut file = source(&format!("file://{path}"));
    assert_eq!(seen(file.as_mut()).await, ["10.0.0.1:4747"]);
    std::fs::write(&path, "10.0.0.1:4747\n10.0.0.2:4747\n").unwrap();
    assert_eq!(seen(file.as_mut()).await, ["10.0.0.1:4747", "10.0.0.2:4747"]);
    // Of the same length, and put in its place by a rename, as config maps and editors do.
    let part = dir.path().join("part");
    std::fs::write(&part, "10.0.0.3:4747\n10.0.0.4:4747\n").unwrap();
    std::fs::rename(&part, &path).unwrap();
    assert_eq!(seen(file.as_mut()).await, ["10.0.0.3:4747", "10.0.0.4:4747"]);
    std::fs::write(&path, "10.0.0.3:4747\n10.0.0").unwrap();
    assert!(trouble(file.as_mut()).await.contains("`10.0.0` is not"), "half a file is an error");
    std::fs::remove_file(&path).unwrap();
    assert!(trouble(file.as_mut()).await.contains(&path), "and so is none");
    std::fs::write(&path, "").unwrap();
    assert!(seen(file.as_mut()).await.is_empty(), "one that is empty says so");
}

#[tokio::test]
async fn what_would_block_or_is_too_long_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(
        trouble(source(&format!("file://{}", pipe.display())).as_mut()).await.contains("no file")
    );
    let (_dir, long) = written("long", &"#".repeat(1024 * 1024 + 1));
    assert!(trouble(source(&format!("file://{long}")).as_mut()).await.contains("longer"));
}

#[tokio::test]
async fn the_hosts_of_erlang_get_the_one_port_of_the_spec() {
    let (_dir, path) = written(".hosts.erlang", "% hosts\n'n1.example'.\n'n2.example'.\n");
    let mut hosts = source(&format!("hosts-erlang://{path}?port=4747"));
    assert_eq!(seen(hosts.as_mut()).await, ["n1.example:4747", "n2.example:4747"]);
    std::fs::write(&path, "'n1.example'.\n'n2.exa").unwrap();
    trouble(hosts.as_mut()).await;
}

#[tokio::test]
async fn a_variable_is_a_list_and_one_that_is_not_set_is_an_error() {
    // Cargo sets it for every test, and it is no list.
    let why = trouble(source("env://CARGO_MANIFEST_DIR").as_mut()).await;
    assert!(why.contains("is not HOST:PORT"), "{why}");
    assert_eq!(seen(source("env://CARGO_PKG_NAME?port=1").as_mut()).await, ["quorate-discovery:1"]);
    let why = trouble(source("env://QUORATE_NOBODY_SETS_THIS").as_mut()).await;
    assert!(why.contains("is not set"), "{why}");
}

/// A spec that gives a script to the shell.
fn script(script: &str, settings: &str) -> String {
    let script: String = script.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("exec:///bin/sh?arg=-c&arg={script}{settings}")
}

/// Whether a process runs. One that nobody has waited for yet runs no more.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// The number that a script wrote down, once it did.
fn pid(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.strip_suffix('\n').map(str::to_owned)
}

#[tokio::test]
async fn a_command_prints_lines_or_json_and_fails_with_its_last_words() {
    let spec = script("echo a:1 '# x'; echo b", "&port=9");
    assert_eq!(seen(source(&spec).as_mut()).await, ["a:1", "b:9"]);
    assert_eq!(seen(source(&script("echo '[\"a:1\"]'", "")).as_mut()).await, ["a:1"]);
    assert!(seen(source(&script("true", "")).as_mut()).await.is_empty());
    let why =
        trouble(source(&script("echo a:1; echo one >&2; echo two >&2; exit 3", "")).as_mut()).await;
    assert!(why.contains('3') && why.ends_with(": two"), "{why}");
    let why = trouble(source("exec:///nowhere/at/all").as_mut()).await;
    assert!(why.contains("/nowhere/at/all"), "{why}");
    // However much it says, it is read, and no more than an answer is kept.
    let much = "head -c 1000000 /dev/zero >&2; echo a:1";
    assert_eq!(seen(source(&script(much, "")).as_mut()).await, ["a:1"]);
    let why = trouble(source(&script("exec cat /dev/zero", "")).as_mut()).await;
    assert!(why.contains("more than"), "{why}");
    trouble(source(&script("printf '\\377'", "")).as_mut()).await;
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid").display().to_string();
    // It holds the pipe, which would never end.
    let spec = script(&format!("sleep 1000 & echo $! > {file}; echo a:1"), "");
    assert_eq!(seen(source(&spec).as_mut()).await, ["a:1"]);
    let left = pid(&file).expect("it wrote its number before it ended");
    eventually("it is killed", || !lives(&left)).await;
}

#[tokio::test]
async fn a_command_that_takes_too_long_or_that_nobody_waits_for_is_killed_as_a_tree() {
    let why = trouble(source(&script("sleep 1000", "&timeout=100ms")).as_mut()).await;
    assert!(why.contains("killed after 100ms"), "{why}");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid").display().to_string();
    let spec = script(&format!("sleep 1000 & echo $! > {file}; wait"), "&timeout=60s");
    let ended = Arc::new(AtomicBool::new(false));
    let told = ended.clone();
    let look = spawn(async move {
        let mut command = source(&spec);
        timeout(common::PATIENCE, command.look()).await.ok();
        told.store(true, Ordering::Relaxed);
    });
    let mut child = None;
    eventually("it has begun", || {
        child = pid(&file);
        child.is_some()
    })
    .await;
    look.abort();
    let child = child.unwrap();
    eventually("the child of the child is killed", || !lives(&child)).await;
    assert!(!ended.load(Ordering::Relaxed), "the look was given up, and did not end by itself");
}
