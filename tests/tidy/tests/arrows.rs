//! Rooms know only the rooms below them. What a crate may depend on stands here, and why.

use quorate_tidy::{Manifest, assert_tidy, manifests, names_in, root};

/// A crate of the product, the crates of the workspace that it may depend on, and why no others.
const ARROWS: [(&str, &[&str], &str); 18] = [
    ("quorate-vocab", &[], "the nouns stand below every room"),
    ("quorate-env", &["quorate-vocab"], "doors decide nothing, so they need nothing but nouns"),
    ("quorate-registry", &["quorate-vocab"], "what is decided is pure: no door, no disk, no peer"),
    (
        "quorate-storage",
        &["quorate-env", "quorate-vocab"],
        "what is remembered is bytes and indexes; it asks for the time only to say that a disk is slow",
    ),
    (
        "quorate-consensus",
        &["quorate-env", "quorate-registry", "quorate-storage", "quorate-vocab"],
        "it reaches other voters through its own trait `Peers`, never through the mesh",
    ),
    (
        "quorate-actor",
        &["quorate-env", "quorate-vocab"],
        "it reaches the outside through its own trait `Carrier`, never through the mesh",
    ),
    (
        "quorate-otp",
        &["quorate-actor", "quorate-env", "quorate-vocab"],
        "what is built from processes needs only processes; names of the cluster stand above it",
    ),
    (
        "quorate-rpc",
        &["quorate-actor", "quorate-env", "quorate-vocab"],
        "calls are mail between processes; roles come through its own trait `Roles`",
    ),
    (
        "quorate-mesh",
        &["quorate-env", "quorate-vocab"],
        "it hands to the inside through its own trait `Inbound`, and does not know what bodies mean",
    ),
    (
        "quorate-discovery",
        &["quorate-env", "quorate-vocab"],
        "it proposes addresses to whoever dials, and knows neither links nor members",
    ),
    (
        "quorate-fencer",
        &["quorate-env", "quorate-vocab"],
        "it knows times and processes; leases and names are its parent's",
    ),
    (
        "quorate-faults",
        &["quorate-env", "quorate-mesh", "quorate-storage", "quorate-vocab"],
        "it stands in front of doors, and knows nothing of the node behind them",
    ),
    (
        "quorate-guard",
        &["quorate-vocab"],
        "it stands before what is no part of the cluster, where neither a node nor a runtime is",
    ),
    (
        "quorate",
        &[
            "quorate-actor",
            "quorate-consensus",
            "quorate-discovery",
            "quorate-env",
            "quorate-fencer",
            "quorate-guard",
            "quorate-mesh",
            "quorate-otp",
            "quorate-registry",
            "quorate-rpc",
            "quorate-storage",
            "quorate-vocab",
        ],
        "the hall joins the rooms below it and does not know the faces above it",
    ),
    (
        "quorate-http",
        &["quorate", "quorate-discovery", "quorate-env", "quorate-faults", "quorate-vocab"],
        "a face asks the hall; what it shows of a room, the hall gives out. Faults stand beside the hall, \
         and a wrong word is put right where others are",
    ),
    (
        "quorate-drill",
        &["quorate-registry", "quorate-vocab"],
        "a script and a verdict are pure, so that processes and the simulation can share them",
    ),
    (
        "quorate-bench",
        &["quorate", "quorate-actor", "quorate-env", "quorate-otp", "quorate-vocab"],
        "it measures what it stands on, whole nodes too, and the faces print what it found",
    ),
    (
        "quorate-cli",
        &[
            "quorate",
            "quorate-bench",
            "quorate-discovery",
            "quorate-drill",
            "quorate-env",
            "quorate-faults",
            "quorate-fencer",
            "quorate-guard",
            "quorate-http",
        ],
        "the command line stands on top of the faces, not beside the rooms; what a machine can be asked \
         before a node runs on it, it asks by itself",
    ),
];

#[test]
fn every_arrow_points_down() {
    assert_tidy(&findings(&manifests()));
}

#[test]
fn every_crate_is_a_member() {
    let members: Vec<String> = manifests().into_iter().map(|found| found.folder).collect();
    let mut strays = Vec::new();
    for folder in ["registry", "storage", "consensus", "node", "tests"] {
        let nested = names_in(folder).into_iter().map(|name| format!("{folder}/{name}"));
        for at in nested.chain([folder.to_owned()]) {
            if root().join(&at).join("Cargo.toml").exists() && !members.contains(&at) {
                strays.push(format!("{at} has a manifest and is no member of the workspace"));
            }
        }
    }
    assert_tidy(&strays);
}

fn findings(all: &[Manifest]) -> Vec<String> {
    let ours = |name: &str| all.iter().find(|one| one.name == name);
    let mut findings = Vec::new();
    for from in all {
        let arrows = ARROWS.iter().find(|(name, ..)| *name == from.name);
        if arrows.is_none() && !from.is_test() {
            findings.push(format!("{}: tests/tidy does not say what it may depend on", from.name));
        }
        for to in from.dependencies.iter().filter_map(|to| ours(to)) {
            if let Some((_, allowed, why)) =
                arrows.filter(|(_, allowed, _)| !allowed.contains(&&*to.name))
            {
                let (may, at) = (one_of(allowed), &from.folder);
                findings.push(format!(
                    "{at}: {} -> {} is wrong, it may use {may}: {why}",
                    from.name, to.name
                ));
            }
        }
        let reaches =
            from.dependencies.iter().chain(&from.dev_dependencies).filter_map(|to| ours(to));
        for to in reaches.filter(|to| to.is_test() && to.name != from.name) {
            let (at, from, to) = (&from.folder, &from.name, &to.name);
            findings
                .push(format!("{at}: {from} -> {to} is wrong: nothing depends on what tests it"));
        }
    }
    findings
}

fn one_of(allowed: &[&str]) -> String {
    if allowed.is_empty() { "no crate of ours".to_owned() } else { allowed.join(", ") }
}

#[test]
fn an_arrow_that_points_up_is_found_and_explained() {
    let with = |folder: &str, manifest: &str| {
        let mut all = manifests();
        all.retain(|one| one.folder != folder);
        all.push(Manifest::parse(folder, &manifest.parse().unwrap()));
        findings(&all).join("\n")
    };
    let mesh = "[package]\nname = \"quorate-mesh\"\n[dependencies]\nquorate-actor.workspace = true";
    assert!(with("node/mesh", mesh).contains("quorate-mesh -> quorate-actor is wrong"));
    let platform = mesh.replace("[dependencies]", "[target.'cfg(unix)'.build-dependencies]");
    assert!(with("node/mesh", &platform).contains("quorate-mesh -> quorate-actor is wrong"));
    let renamed = concat!(
        "[package]\nname = \"quorate-vocab\"\n",
        "[dependencies]\na = { package = \"quorate\", path = \".\" }",
    );
    assert!(with("registry/vocab", renamed).contains("it may use no crate of ours"));
    let tested =
        "[package]\nname = \"quorate-env\"\n[dev-dependencies]\nquorate-sim.workspace = true";
    assert!(with("node/env", tested).contains("nothing depends on what tests it"));
    let new = "[package]\nname = \"quorate-new\"";
    assert!(with("node/new", new).contains("does not say what it may depend on"));
}
