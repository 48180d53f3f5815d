//! The top of the repository holds what is given, and files that tools and visitors look for there.

use quorate_tidy::{assert_tidy, names_in, root};

const FOLDERS: [&str; 6] = ["registry", "consensus", "storage", "node", "tests", "docs"];
const FILES: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "clippy.toml",
    "deny.toml",
    "rustfmt.toml",
    "rust-toolchain.toml",
];

#[test]
fn the_top_level_holds_only_what_is_given() {
    let names = names_in(".").into_iter().map(|name| (root().join(&name).is_dir(), name));
    assert_tidy(&names.filter_map(|(is_folder, name)| stray(&name, is_folder)).collect::<Vec<_>>());
}

#[test]
fn the_top_level_holds_what_it_must() {
    let here = names_in(".");
    let needed =
        FOLDERS.iter().chain(&["Cargo.toml", "Cargo.lock", "LICENSE-MIT", "LICENSE-APACHE"]);
    let missing = needed.filter(|name| !here.iter().any(|found| found == *name));
    assert_tidy(
        &missing.map(|name| format!("{name} is missing at the top level")).collect::<Vec<_>>(),
    );
}

fn stray(name: &str, is_folder: bool) -> Option<String> {
    let known: &[&str] = if is_folder { &FOLDERS } else { &FILES };
    let is_built = is_folder && name == "target";
    (!known.contains(&name) && !is_built && !name.starts_with('.')).then(|| {
        format!("{name} does not belong to the top level: put it into the room that it serves")
    })
}

#[test]
fn a_stray_is_found() {
    assert!(stray("src", true).is_some() && stray("notes.txt", false).is_some());
    assert!(stray("registry", false).is_some() && stray("deny.toml", true).is_some());
    assert!(stray("target", true).is_none() && stray(".github", true).is_none());
}
