//! What the manifests say: which crate lies where, and what it depends on.

use std::fs;

use toml::{Table, Value};

use crate::root;

/// One crate of the workspace.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its folder, below the top.
    pub folder: String,
    /// Its name.
    pub name: String,
    /// The packages that it cannot be built without, for any platform and with any feature.
    pub dependencies: Vec<String>,
    /// The packages that only its tests need.
    pub dev_dependencies: Vec<String>,
}

/// All crates, in the order of the workspace's members.
pub fn manifests() -> Vec<Manifest> {
    let workspace = read(".");
    let members = workspace["workspace"]["members"].as_array().expect("members is an array");
    members
        .iter()
        .map(|member| member.as_str().expect("a member is a text"))
        .map(|folder| Manifest::parse(folder, &read(folder)))
        .collect()
}

fn read(folder: &str) -> Table {
    let path = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

impl Manifest {
    /// Reads a manifest that lies in `folder`.
    pub fn parse(folder: &str, manifest: &Table) -> Self {
        let name = manifest["package"]["name"].as_str().expect("a package has a name");
        let mut tables = vec![manifest];
        // What is needed on one platform only is needed.
        let targets = manifest.get("target").and_then(Value::as_table);
        tables.extend(targets.into_iter().flat_map(Table::values).filter_map(Value::as_table));
        let all = |kind: &str| tables.iter().flat_map(|table| packages(table, kind)).collect();
        let mut dependencies: Vec<String> = all("dependencies");
        dependencies.extend(all("build-dependencies"));
        let dev_dependencies = all("dev-dependencies");
        Self { folder: folder.to_owned(), name: name.to_owned(), dependencies, dev_dependencies }
    }

    /// Whether it only serves to test others.
    pub fn is_test(&self) -> bool {
        self.folder.starts_with("tests/")
    }
}

/// The packages in one table of dependencies, whatever they are renamed to.
fn packages(table: &Table, kind: &str) -> Vec<String> {
    let dependencies = table.get(kind).and_then(Value::as_table);
    let entries = dependencies.into_iter().flatten();
    entries
        .map(|(key, value)| value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned())
        .collect()
}
