//! `quorate ca` as its users run it, and agents that stand on what it issues.

use crate::common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use common::{Place, eventually, json, texts};

/// An agent with a certificate out of the folder `tls-NAME`, and its two addresses.
struct Agent {
    child: Child,
    mesh: String,
    http: String,
}

impl Agent {
    fn start(place: &Place, name: &str, more: &[&str]) -> Self {
        let announce = place.path().join(format!("where-{name}"));
        let _ = fs::remove_file(&announce);
        let of = |file: &str| format!("tls-{name}/{file}");
        let (cert, key, ca) = (of("node.crt"), of("node.key"), of("ca.crt"));
        let mut args = vec!["agent", "--name", name, "--data", name, "--lease", "10s"];
        args.extend(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        args.extend(["--announce", announce.to_str().unwrap()]);
        args.extend(["--tls-cert", &cert, "--tls-key", &key, "--tls-ca", &ca]);
        args.extend(more);
        let child = place.command(&args).stderr(Stdio::null()).spawn().unwrap();
        let mut agent = Self { child, mesh: String::new(), http: String::new() };
        eventually("the agent starts", || {
            let written = fs::read_to_string(&announce).unwrap_or_default();
            let Ok(found) = serde_json::from_str::<serde_json::Value>(&written) else {
                return false;
            };
            agent.mesh = found["mesh"].as_str().unwrap_or_default().to_owned();
            agent.http = found["http"].as_str().unwrap_or_default().to_owned();
            !agent.http.is_empty()
        });
        agent
    }

    /// How many members of its cluster it counts.
    fn members(&self, place: &Place) -> usize {
        let status = place.run(&["status", "-o", "json", "--agent", &self.http]);
        let status = serde_json::from_slice::<serde_json::Value>(&status.stdout);
        status.map_or(0, |status| match status["quorate"] == true {
            true => status["members"].as_array().map_or(0, Vec::len),
            false => 0,
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn mode(place: &Place, path: &str) -> u32 {
    fs::metadata(place.path().join(path)).unwrap().permissions().mode() & 0o777
}

fn issue(place: &Place, node: &str) -> String {
    let out = format!("tls-{node}");
    place.good(&["ca", "issue", "--dir", "ca", "--node", node, "--out", &out, "-o", "json"])
}

#[test]
fn a_ca_is_made_once_and_its_secrets_are_for_their_owner_alone() {
    let place = Place::new();
    let made = place.run(&["ca", "init", "--dir", "ca", "--name", "prod", "-o", "json"]);
    let (out, err) = texts(&made);
    assert_eq!(json(&out)["name"], "prod");
    assert!(err.contains("ca/ca.key is secret"), "{err}");
    let key = fs::read_to_string(place.path().join("ca/ca.key")).unwrap();
    let body = key.lines().nth(1).unwrap();
    assert!(!out.contains(body) && !err.contains(body), "a key is never shown");
    place.bad(&["ca", "init", "--dir", "ca"], 1, "Q0512");
    assert_eq!(fs::read_to_string(place.path().join("ca/ca.key")).unwrap(), key);

    let issued = json(&issue(&place, "n1"));
    assert_eq!(issued["name"], "n1");
    for (path, expected) in
        [("ca", 0o700), ("ca/ca.key", 0o600), ("tls-n1", 0o700), ("tls-n1/node.key", 0o600)]
    {
        assert_eq!(mode(&place, path), expected, "{path}");
    }
    place.bad(&["ca", "issue", "--dir", "ca", "--node", "n1"], 1, "Q0512");
    place.bad(&["ca", "renew", "--dir", "ca", "--node", "n2"], 1, "Q0513");
    place.bad(&["ca", "issue", "--dir", "nowhere", "--node", "n2"], 1, "Q0513");
    place.bad(&["ca", "issue", "--dir", "ca", "--node", "../n2"], 2, "Q0501");
    place.bad(&["ca", "issue", "--dir", "ca", "--node", "..", "--out", "x"], 2, "Q0501");
    let named = ["ca", "issue", "--dir", "ca", "--node", "n2", "--address"];
    place.bad(&[&named[..], &["host:1"]].concat(), 2, "Q0501");
    place.good(&[&named[..], &["n2.example.org", "--address", "10.0.0.2"]].concat());

    let before = fs::read_to_string(place.path().join("tls-n1/node.crt")).unwrap();
    place
        .good(&["ca", "renew", "--dir", "ca", "--node", "n1", "--out", "tls-n1", "--days", "9999"]);
    assert_ne!(fs::read_to_string(place.path().join("tls-n1/node.crt")).unwrap(), before);
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(place.path().join("ca/ca.key"), open).unwrap();
    place.bad(&["ca", "renew", "--dir", "ca", "--node", "n1"], 1, "Q0503");
}

#[test]
fn agents_with_certificates_form_a_cluster_without_a_cookie_and_take_new_ones_up_as_they_run() {
    let place = Place::new();
    place.good(&["ca", "init", "--dir", "ca"]);
    for node in ["n1", "n2", "n3"] {
        issue(&place, node);
    }
    let n1 = Agent::start(&place, "n1", &["--expect", "2"]);
    let n2 = Agent::start(&place, "n2", &["--expect", "2", "--join", &n1.mesh]);
    eventually("two are a cluster", || n1.members(&place) == 2 && n2.members(&place) == 2);
    assert!(!place.path().join(".quorate/cookie").exists(), "no cookie was drawn");
    // All get certificates of another CA. Whoever has one of the first comes in no more.
    let path = |name: &str| place.path().join(name);
    fs::rename(path("tls-n3"), path("kept")).unwrap();
    fs::rename(path("ca"), path("former")).unwrap();
    place.good(&["ca", "init", "--dir", "ca"]);
    for node in ["n1", "n2", "n3"] {
        issue(&place, node);
    }
    let n3 = Agent::start(&place, "n3", &["--join", &n1.mesh]);
    eventually("the third is in", || n3.members(&place) == 3 && n1.members(&place) == 3);
    drop(n3);
    fs::rename(path("tls-n3"), path("tls-n3-new")).unwrap();
    fs::rename(path("kept"), path("tls-n3")).unwrap();
    let old = Agent::start(&place, "n3", &["--join", &n1.mesh]);
    // Whom it dials shows a certificate of the new CA, which it does not know.
    let refused = || {
        let metrics = format!("http://{}/metrics", old.http.trim_start_matches("http://"));
        let metrics = ureq::get(&metrics).call().map(|mut got| got.body_mut().read_to_string());
        let metrics = metrics.ok().and_then(Result::ok).unwrap_or_default();
        metrics.lines().any(|line| line.contains("untrusted") && !line.ends_with(" 0"))
    };
    eventually("neither trusts the other", refused);
    assert_eq!(old.members(&place), 0);
}

#[test]
fn an_agent_does_not_start_on_a_certificate_that_is_not_its_own_or_lies_open() {
    let place = Place::new();
    place.good(&["ca", "init", "--dir", "ca"]);
    issue(&place, "n1");
    let tls = ["--tls-cert", "tls-n1/node.crt", "--tls-key", "tls-n1/node.key"];
    let whole = [&tls[..], &["--tls-ca", "tls-n1/ca.crt"]].concat();
    let agent = |name, files: &[&str]| {
        [&["agent", "--name", name, "--listen", "127.0.0.1:0", "--log", "error"], files]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let refused = |args: Vec<String>, exit, code| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        place.bad(&args, exit, code)
    };
    let err = refused(agent("n2", &whole), 1, "Q0505");
    assert!(err.contains("the certificate is for n1, and this node is n2"), "{err}");
    refused(agent("n1", &tls), 2, "Q0501");
    let open = fs::Permissions::from_mode(0o640);
    fs::set_permissions(place.path().join("tls-n1/node.key"), open).unwrap();
    refused(agent("n1", &whole), 1, "Q0503");
    assert!(!place.path().join("quorate-data").exists(), "nothing was started");
}
