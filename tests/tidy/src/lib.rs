//! The style and the arrows of the house, held by tests: what the compiler and clippy cannot see.
//!
//! ```text
//!   Cargo.toml … ─▶ manifest ─┐
//!   **/*.rs ─────▶ source ────┼─▶ tests/: arrows owners signatures sizes headers bans invariants top_level
//!   docs/ ────────────────────┘
//! ```
//!
//! Each file under `tests/` holds one concern: a function from text to findings, a test that the house has
//! none, and tests that the function would find some. A finding says where, what and why, so that whoever
//! meets it knows what to do without reading this crate.
//!
//! Not here: what rustfmt and clippy do already, and any use of git. What lies in the folder is what is
//! judged, committed or not.

mod manifest;
mod source;

use std::fs;
use std::path::PathBuf;

pub use manifest::{Manifest, manifests};
pub use source::{Source, code, sources, without_tests};

/// The top of the repository.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).expect("this crate lies two folders below the top");
    root.to_owned()
}

/// The names in the folder `at`, below the top, in order.
pub fn names_in(at: &str) -> Vec<String> {
    let folder = root().join(at);
    let listed = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<String> = listed
        .map(|entry| entry.expect("the folder can be read to its end").file_name())
        .map(|name| name.into_string().expect("names in this repository are UTF-8"))
        .collect();
    names.sort_unstable();
    names
}

/// Ends the test with all findings, if there are any.
#[track_caller]
pub fn assert_tidy(findings: &[String]) {
    assert!(findings.is_empty(), "{} found:\n  {}\n", findings.len(), findings.join("\n  "));
}
