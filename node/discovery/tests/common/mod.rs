//! Servers that speak the real protocols, by bytes written down here, on loopback.
//!
//! None of them uses a line of the client under test.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod dns;
pub(crate) mod web;

use std::time::Duration;

use quorate_discovery::{Asker, Sighting, Source, Spec, Standing};
use quorate_env::{now, sleep, timeout};
use tempfile::TempDir;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The source of a spec, for somebody who only looks.
pub(crate) fn source(spec: &str) -> Box<dyn Source> {
    Spec::parse(spec).unwrap_or_else(|e| panic!("{e}")).open(&Asker::default())
}

/// One look, which must end.
pub(crate) async fn look(source: &mut dyn Source) -> Sighting {
    timeout(PATIENCE, source.look()).await.expect("a look ends")
}

/// One look, which must succeed: the addresses, and a `!` behind who drains.
pub(crate) async fn seen(source: &mut dyn Source) -> Vec<String> {
    match look(source).await {
        Sighting::Snapshot(found) => texts(&found),
        Sighting::Error(why) => panic!("{why}"),
    }
}

pub(crate) fn texts(found: &quorate_discovery::Candidates) -> Vec<String> {
    let text = |(address, standing): (&quorate_discovery::Address, &Standing)| {
        format!("{address}{}", if *standing == Standing::Draining { "!" } else { "" })
    };
    found.iter().map(text).collect()
}

/// One look, which must fail.
pub(crate) async fn trouble(source: &mut dyn Source) -> String {
    match look(source).await {
        Sighting::Snapshot(found) => panic!("{found:?}"),
        Sighting::Error(why) => why,
    }
}

/// Waits until something is so, and fails when it never is.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = now() + PATIENCE;
    while !is_so() {
        assert!(now() < until, "not in {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A directory, and a file in it that only its owner reads.
pub(crate) fn written(name: &str, text: &str) -> (TempDir, String) {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}
