//! What may change under us is named in one room only, so that one room changes with it.

use quorate_tidy::{Manifest, Source, assert_tidy, code, manifests, sources};

/// A package, the folders of the crates that may name it, and why no others.
struct Owned {
    package: &'static str,
    owners: &'static [&'static str],
    /// Whether crates under `tests/` may name it, too.
    tests_may: bool,
    why: &'static str,
}

const OWNED: [Owned; 5] = [
    Owned {
        package: "openraft",
        owners: &["consensus"],
        tests_may: false,
        why: "its alphas change, and its types decide nothing outside of consensus",
    },
    Owned {
        package: "sled",
        owners: &["storage"],
        tests_may: false,
        why: "it stands behind the `Shelf` door, so that it can be replaced",
    },
    Owned {
        package: "hashring",
        owners: &["registry"],
        tests_may: false,
        why: "where a name falls is decided in one place",
    },
    Owned {
        package: "serde_json",
        owners: &["node/http", "node/cli", "node/discovery"],
        tests_may: true,
        why: "JSON belongs to the faces, ours and those that others show us; rooms have bytes of their own",
    },
    Owned {
        package: "axum",
        owners: &["node/http", "node/cli"],
        tests_may: false,
        why: "HTTP belongs to the faces",
    },
];

impl Owned {
    fn may(&self, folder: &str) -> bool {
        self.owners.contains(&folder) || (self.tests_may && folder.starts_with("tests/"))
    }

    /// The package itself, or one that comes with it.
    fn is(&self, package: &str) -> bool {
        let rest = package.strip_prefix(self.package);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
    }
}

#[test]
fn a_package_with_an_owner_is_in_its_owner_s_manifest_only() {
    assert_tidy(&manifests().iter().flat_map(in_manifest).collect::<Vec<_>>());
}

#[test]
fn a_package_with_an_owner_is_named_in_its_owner_s_source_only() {
    let folders: Vec<String> = manifests().into_iter().map(|found| found.folder).collect();
    let found = sources().into_iter().flat_map(|source| {
        let owner = folders
            .iter()
            .filter(|at| source.path.starts_with(&format!("{at}/")))
            .max_by_key(|at| at.len());
        // A file under `tests/` may be a target of a crate that lies elsewhere.
        in_source(owner.unwrap_or(&source.path), &source)
    });
    assert_tidy(&found.collect::<Vec<_>>());
}

fn in_manifest(manifest: &Manifest) -> Vec<String> {
    let mut findings = Vec::new();
    for owned in OWNED.iter().filter(|owned| !owned.may(&manifest.folder)) {
        let all = manifest.dependencies.iter().chain(&manifest.dev_dependencies);
        for package in all.filter(|package| owned.is(package)) {
            let (at, owners, why) = (&manifest.folder, owned.owners.join(" and "), owned.why);
            findings
                .push(format!("{at}/Cargo.toml names {package}, which only {owners} may: {why}"));
        }
    }
    findings
}

fn in_source(folder: &str, source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in code(&source.text).lines().enumerate() {
        for owned in OWNED.iter().filter(|owned| !owned.may(folder) && names(line, owned)) {
            let (path, package, owners, why) =
                (&source.path, owned.package, owned.owners.join(" and "), owned.why);
            findings.push(format!(
                "{path}:{} names {package}, which only {owners} may: {why}",
                number + 1
            ));
        }
    }
    findings
}

/// Whether a line of code names the package in a path or a `use`.
fn names(line: &str, owned: &Owned) -> bool {
    line.match_indices(owned.package).any(|(at, _)| {
        let (before, rest) = line.split_at(at);
        let is_part = before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let is_path = after.starts_with("::") || before.trim_end().ends_with("use");
        !is_part && is_path && owned.is(word)
    })
}

#[test]
fn a_package_in_the_wrong_place_is_found() {
    let said = |folder: &str, text: &str| in_source(folder, &Source::new("a.rs", text)).join("\n");
    assert!(said("node", "use openraft_rt::X;").contains("only consensus may"));
    assert!(said("registry", "\nlet db = sled::open();").contains("a.rs:2 names sled"));
    assert!(said("tests/sim", "use hashring;").contains("only registry may"));
    for fine in [
        "// openraft::X",
        "let x = \"sled::open\";",
        "fn sled_forgets() {}",
        "use crate::sled::Shelf;",
    ] {
        assert_eq!(said("node", fine), "");
    }
    assert_eq!(
        said("storage", "use sled::Db;") + &said("tests/cluster", "serde_json::json!()"),
        ""
    );
    let text = concat!(
        "[package]\nname = \"x\"\n",
        "[dev-dependencies]\naxum = \"1\"\nopenraft-rt = \"1\"\nsledge = \"1\"",
    );
    let manifest = Manifest::parse("storage", &text.parse().unwrap());
    assert_eq!(in_manifest(&manifest).len(), 2);
}
