//! What users of the crate `quorate` see is ours: no type of openraft, sled, bincode or hashring.
//!
//! Not here: what a macro or a re-exported room shows. The rooms hold to this by their own headers, and
//! `owners` keeps the first, the second and the last of the four out of all sources but one room's.

use quorate_tidy::{Source, assert_tidy, sources};

const FOREIGN: [&str; 4] = ["openraft", "sled", "bincode", "hashring"];

/// How a public item, or an implementation that users can see, begins.
const OPENINGS: [&str; 9] =
    ["fn", "async", "struct", "enum", "type", "trait", "use", "const", "static"];

#[test]
fn no_foreign_type_is_in_a_public_signature() {
    let hall = sources().into_iter().filter(|source| source.path.starts_with("node/src/"));
    assert_tidy(&hall.flat_map(|source| findings(&source)).collect::<Vec<_>>());
}

fn findings(source: &Source) -> Vec<String> {
    let code = source.product_code();
    let imported = imports(&code);
    let mut findings = Vec::new();
    for item in items(&code) {
        let words = || item.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words().find(|w| FOREIGN.contains(w) || imported.iter().any(|i| i == w))
        {
            let head = item.split_whitespace().take(8).collect::<Vec<_>>().join(" ");
            findings.push(format!("{}: `{head} …` shows `{word}`, which is not ours", source.path));
        }
    }
    findings
}

/// The names that come into a file from foreign crates.
fn imports(code: &str) -> Vec<String> {
    let uses = code.split("use ").skip(1).filter_map(|rest| rest.split_once(';'));
    let foreign =
        uses.map(|(path, _)| path).filter(|path| FOREIGN.iter().any(|f| path.starts_with(f)));
    let words = foreign.flat_map(|path| path.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.filter(|word| word.starts_with(char::is_uppercase)).map(str::to_owned).collect()
}

/// The public items: types with what is in them, functions up to their bodies; and heads of implementations.
fn items(code: &str) -> Vec<&str> {
    let publics = code.match_indices("pub ").filter_map(|(at, _)| {
        let item = &code[at + 4..];
        let opening = OPENINGS
            .iter()
            .find(|opening| item.strip_prefix(**opening).is_some_and(|rest| rest.starts_with(' ')));
        let end = match opening? {
            &"struct" | &"enum" | &"trait" | &"use" => closing(item),
            _ => item.find(['{', ';']).unwrap_or(item.len()),
        };
        Some(&item[..end])
    });
    let heads = code.match_indices("\nimpl").map(|(at, _)| {
        let item = &code[at..];
        &item[..item.find('{').unwrap_or(item.len())]
    });
    publics.chain(heads).collect()
}

fn closing(item: &str) -> usize {
    let mut depth = 0_usize;
    let end = item.bytes().position(|byte| {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && matches!(byte, b';' | b'}')
    });
    end.unwrap_or(item.len())
}

#[test]
fn a_foreign_type_is_found_wherever_users_would_see_it() {
    for shown in [
        "pub fn raft(&self) -> &openraft::Raft<T> { }",
        "pub struct Node {\n    pub db: sled::Db,\n}",
        "pub enum Error {\n    Codec(#[from] bincode::error::DecodeError),\n}",
        "use bincode::error::{DecodeError, EncodeError as E};\npub fn read() -> Result<(), DecodeError> {",
        "x;\nimpl From<bincode::error::DecodeError> for Error {",
        "pub type Ring = hashring::HashRing<u64>;",
        "pub use hashring::HashRing;",
    ] {
        assert_eq!(findings(&Source::new("node/src/a.rs", shown)).len(), 1, "{shown}");
    }
    for hidden in [
        "pub(crate) fn codec() -> bincode::config::Configuration { }",
        "pub fn read() -> Vec<u8> { bincode::encode() }",
        "/// Not of openraft.\npub struct Node { log: u8 }",
    ] {
        assert_eq!(findings(&Source::new("node/src/a.rs", hidden)), [""; 0], "{hidden}");
    }
}
