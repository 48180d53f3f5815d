//! What must not stand in a source, where clippy does not look: in other configurations, in comments, in
//! folders. Each ban says what to do instead.

use quorate_tidy::{Source, assert_tidy, code, sources};

/// Where a ban holds.
#[derive(Clone, Copy)]
enum Within {
    /// In all files, comments too.
    Text,
    /// In the code of all files.
    Code,
    /// In the code of the product, where the path begins so, but not where it begins so.
    Product(&'static str, &'static str),
}

const NOWHERE: &str = "-";

const BANS: [(&str, Within, &str); 11] = [
    ("todo!", Within::Code, "finish it, or leave it out and say so in the docs"),
    ("unimplemented!", Within::Code, "finish it, or leave it out and say so in the docs"),
    ("dbg!(", Within::Code, "use tracing, or nothing"),
    ("#[ignore", Within::Code, "a test that does not run proves nothing: repair it or remove it"),
    (concat!("FIX", "ME"), Within::Text, "mend it now, or say in a sentence what is open and why"),
    ("allow(dead_code)", Within::Code, "remove what nobody uses, or give the `reason`"),
    (
        "Config::tmp",
        Within::Code,
        "open a named folder: sled's way to a temporary one is RUSTSEC-2023-0018 (deny.toml)",
    ),
    (".unwrap()", Within::Product("", NOWHERE), "use `?`, or `.expect(\"why it cannot fail\")`"),
    (
        "HashMap",
        Within::Product("registry/", NOWHERE),
        "its order differs from run to run (I11): use BTreeMap",
    ),
    (
        "HashSet",
        Within::Product("registry/", NOWHERE),
        "its order differs from run to run (I11): use BTreeSet",
    ),
    (
        "Instant::now",
        Within::Product("", "node/env/"),
        "time is a value: take it from quorate_env::now",
    ),
];

#[test]
fn nothing_that_is_banned_stands_in_a_source() {
    assert_tidy(&sources().iter().flat_map(findings).collect::<Vec<_>>());
}

fn findings(source: &Source) -> Vec<String> {
    let all = code(&source.text);
    let product = if source.is_of_product() { source.product_code() } else { String::new() };
    let mut findings = Vec::new();
    for (banned, within, instead) in BANS {
        let text = match within {
            Within::Text => &source.text,
            Within::Code => &all,
            Within::Product(from, but)
                if source.path.starts_with(from) && !source.path.starts_with(but) =>
            {
                &product
            }
            Within::Product(..) => continue,
        };
        for (number, _) in text.lines().enumerate().filter(|(_, line)| line.contains(banned)) {
            findings.push(format!("{}:{} has `{banned}`: {instead}", source.path, number + 1));
        }
    }
    findings
}

#[test]
fn what_is_banned_is_found_where_it_is_banned_and_only_there() {
    let found = |path: &str, text: &str| findings(&Source::new(path, text)).len();
    let map = "use std::collections::HashMap;";
    assert_eq!((found("registry/src/a.rs", map), found("storage/src/a.rs", map)), (1, 0));
    let unwrap = "fn a() { b.unwrap(); }";
    let tested = format!("#[cfg(test)]\nmod tests {{ {unwrap} }}");
    assert_eq!((found("node/src/a.rs", unwrap), found("node/src/a.rs", &tested)), (1, 0));
    assert_eq!((found("node/tests/a.rs", unwrap), found("tests/sim/src/a.rs", unwrap)), (0, 0));
    let now = "let t = std::time::Instant::now();";
    assert_eq!((found("node/src/a.rs", now), found("node/env/src/clock.rs", now)), (1, 0));
    assert_eq!(found("tests/sim/tests/a.rs", "#[ignore = \"slow\"]"), 1);
    assert_eq!(found("tests/sim/tests/a.rs", concat!("// FIX", "ME: later")), 1);
    assert_eq!(found("node/src/a.rs", "// todo!() is banned"), 0);
    assert_eq!(found("node/src/a.rs", "#[allow(dead_code)] fn a() { todo!() }"), 2);
    assert_eq!(found("node/src/a.rs", "#[allow(dead_code, reason = \"a twin uses it\")]"), 0);
}
