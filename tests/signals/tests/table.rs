//! `docs/SIGNALS.md` is the table of rules: it names every scenario and no other, and says where we differ.

use std::collections::BTreeSet;
use std::path::Path;

use quorate_signals::{DIFFERENCES, scenarios};

/// A row of a table: our half of it, and the tests that hold it.
struct Row {
    ours: String,
    tests: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("docs/SIGNALS.md")).expect("the table is there");
    let rows = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let rows = rows.filter(|cells| cells[0] != "Erlang's rule" && !cells[0].starts_with("---"));
    rows.map(|cells| {
        assert_eq!(cells.len(), 3, "{cells:?}");
        let names = cells[2].split('`').skip(1).step_by(2);
        Row { ours: cells[1].to_owned(), tests: names.map(str::to_owned).collect() }
    })
    .collect()
}

#[test]
fn the_table_names_every_scenario_once_and_no_other() {
    let rows = rows();
    let mut named: Vec<&str> = rows.iter().flat_map(|row| &row.tests).map(String::as_str).collect();
    named.retain(|name| !name.contains("::"));
    let once: BTreeSet<&str> = named.iter().copied().collect();
    assert_eq!(named.len(), once.len(), "a scenario is named twice");
    let scenarios: BTreeSet<&str> = scenarios().iter().map(|scenario| scenario.name).collect();
    let strange: Vec<_> = once.symmetric_difference(&scenarios).collect();
    assert!(strange.is_empty(), "not in both: {strange:?}");
}

#[test]
fn the_table_says_of_each_scenario_whether_it_differs() {
    for row in rows() {
        for test in &row.tests {
            let is_listed = DIFFERENCES.iter().any(|one| one.scenario == test);
            let is_said = row.ours.starts_with("differs");
            assert!(is_listed == is_said || test.contains("::"), "{test}: {}", row.ours);
        }
    }
}

#[test]
fn the_other_tests_that_the_table_names_are_there() {
    for name in rows().into_iter().flat_map(|row| row.tests) {
        let parts: Vec<&str> = name.split("::").collect();
        let [of, file, test] = parts[..] else { continue };
        let folder = of.replacen("quorate-", "node/", 1);
        let path = root().join(folder).join("tests").join(file).with_extension("rs");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(text.contains(&format!("fn {test}(")), "{name} is not there");
    }
}
