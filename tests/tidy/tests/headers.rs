//! Every module of the product says what it is; every crate of it also says what it deliberately is not.

use quorate_tidy::{Source, assert_tidy, sources};

const ABSENCES: [&str; 3] = ["not here", "deliberately not", "not:"];

#[test]
fn every_module_says_what_it_is() {
    let product = sources().into_iter().filter(Source::is_of_product);
    let silent = product.filter(|source| !source.text.starts_with("//!"));
    let findings: Vec<String> = silent
        .map(|source| format!("{} does not begin with `//!`: say what it is", source.path))
        .collect();
    assert_tidy(&findings);
}

#[test]
fn every_crate_says_what_is_not_in_it() {
    let sources = sources();
    let has = |path: String| sources.iter().any(|source| source.path == path);
    let product = sources.iter().filter(|source| source.is_of_product());
    // The top of a crate is its library, or its binary where there is no library.
    let tops = product.filter(|source| match source.path.strip_suffix("src/main.rs") {
        Some(folder) => !has(format!("{folder}src/lib.rs")),
        None => source.path.ends_with("src/lib.rs"),
    });
    assert_tidy(&tops.filter_map(without_absence).collect::<Vec<_>>());
}

fn without_absence(source: &Source) -> Option<String> {
    let header = source.text.lines().map_while(|line| line.strip_prefix("//!"));
    let words: Vec<&str> = header.flat_map(str::split_whitespace).collect();
    let header = words.join(" ").to_lowercase();
    let is_said = ABSENCES.iter().any(|absence| header.contains(absence));
    let path = &source.path;
    (!is_said).then(|| format!("the header of {path} does not say what is \"not here\""))
}

#[test]
fn a_header_that_claims_everything_is_found() {
    let found = |text| without_absence(&Source::new("storage/src/lib.rs", text)).is_some();
    assert!(found("//! What is remembered.\n\n// Not here: anything."));
    assert!(found(""));
    assert!(!found("//! What is remembered.\n//!\n//! Deliberately\n//! not here: Raft."));
    assert!(!found("//! It is x. Not: y."));
}
