//! The sources: which files there are, which of them are tests, and what in them is code.
//!
//! The reading is shallow on purpose: comments and texts are told from code, and what stands under
//! `#[cfg(test)]` from what does not. It knows no grammar beyond that.

use std::collections::BTreeSet;
use std::fs;

use crate::{names_in, root};

const CFG_TEST: &str = "#[cfg(test)]";

/// What every implementation of a door must pass. It stands in the product for the twins, and is a test.
const SUITE: &str = "conformance.rs";

/// One file of Rust.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it lies, below the top.
    pub path: String,
    /// What stands in it.
    pub text: String,
    /// Whether all of it only serves to test.
    pub is_test: bool,
}

/// All files of Rust, in the order of their paths.
pub fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in ["registry", "storage", "consensus", "node", "tests"] {
        walk(folder, &mut paths);
    }
    let mut sources: Vec<Source> = paths.iter().map(|path| read(path)).collect();
    let test_modules: BTreeSet<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let path = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        source.is_test |= test_modules.contains(path);
    }
    sources
}

fn walk(folder: &str, paths: &mut Vec<String>) {
    for name in
        names_in(folder).into_iter().filter(|name| !name.starts_with('.') && name != "target")
    {
        let path = format!("{folder}/{name}");
        if root().join(&path).is_dir() {
            walk(&path, paths);
        } else if name.ends_with(".rs") {
            paths.push(path);
        }
    }
}

fn read(path: &str) -> Source {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    Source::new(path, &text)
}

/// The modules that a file declares for tests only, as paths without an ending.
fn test_modules(source: &Source) -> Vec<String> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let own = match file {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        file => format!("{folder}/{}", file.trim_end_matches(".rs")),
    };
    let code = code(&source.text);
    let after = code.split(CFG_TEST).skip(1);
    let declared = after.filter_map(|rest| {
        let (name, _) = rest.trim_start().strip_prefix("mod ")?.split_once(';')?;
        name.chars().all(|c| c.is_alphanumeric() || c == '_').then(|| format!("{own}/{name}"))
    });
    declared.collect()
}

impl Source {
    /// A file with this text at this path.
    pub fn new(path: &str, text: &str) -> Self {
        let is_below_tests =
            path.split('/').any(|part| ["tests", "benches", SUITE].contains(&part));
        Self { path: path.to_owned(), text: text.to_owned(), is_test: is_below_tests }
    }

    /// Whether it belongs to a crate that is built into the product, tests of that crate included.
    pub fn is_of_product(&self) -> bool {
        !self.path.starts_with("tests/")
    }

    /// What of it the product runs, line by line where it stood.
    pub fn product_code(&self) -> String {
        if self.is_test { String::new() } else { without_tests(&code(&self.text)) }
    }
}

/// The text with blanks where comments, texts and characters stood; lines stay where they are.
pub fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let follows_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
        let hidden = hidden(&chars[at..], follows_word).min(chars.len() - at);
        if hidden == 0 {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        let blanked = chars[at..at + hidden].iter();
        out.extend(blanked.map(|&c| if c == '\n' { '\n' } else { ' ' }));
        at += hidden;
    }
    out
}

/// How many characters at the front are a comment, a text or a character.
fn hidden(rest: &[char], follows_word: bool) -> usize {
    match rest {
        ['/', '/', ..] => rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => quoted(rest),
        ['\'', '\\', ..] => 3 + rest.iter().skip(3).position(|&c| c == '\'').unwrap_or(0) + 1,
        ['\'', _, '\'', ..] => 3,
        ['r', ..] if !follows_word => raw(rest, 1),
        ['b' | 'c', 'r', ..] if !follows_word => raw(rest, 2),
        _ => 0,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// A raw text whose hashes begin at `from`; nothing if there is none.
fn raw(rest: &[char], from: usize) -> usize {
    let hashes = rest[from..].iter().take_while(|&&c| c == '#').count();
    if rest.get(from + hashes) != Some(&'"') {
        return 0;
    }
    let body = from + hashes + 1;
    let closes = |window: &[char]| window[0] == '"' && window[1..].iter().all(|&c| c == '#');
    let end = rest[body..].windows(1 + hashes).position(closes);
    end.map_or(rest.len(), |end| body + end + 1 + hashes)
}

/// Code with blanks where it stands under `#[cfg(test)]`.
pub fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(CFG_TEST) {
        let (before, tests) = rest.split_at(at);
        let (item, after) = tests.split_at(item_end(tests));
        out.push_str(before);
        out.extend(item.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = after;
    }
    out + rest
}

/// Where the item ends that begins here: at its semicolon, or at the brace that closes its first one.
fn item_end(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(byte, b';' | b'}') {
            return at + 1;
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_are_no_code() {
        let text = concat!(
            "let a = \"x \\\" todo\"; // todo\n/* a /* b */ todo */ let b = r#\"todo \" \"#;\n",
            "let c = b'\\''; let d: &'static str = \"\"; let e = ('\"', '{');\n",
            "br\"todo\"; r#type; attr\"todo\"",
        );
        let code = code(text);
        assert!(!code.contains("todo") && !code.contains('{'), "{code}");
        for kept in ["let a =", "let b =", "let c =", "&'static str", "let e = (", "r#type", "attr"]
        {
            assert!(code.contains(kept), "{kept} is code: {code}");
        }
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn what_only_tests_see_is_set_apart() {
        let text = concat!(
            "fn a() { b(); }\n#[cfg(test)]\nmod suite;\nfn c() {}\n",
            "#[cfg(test)]\nmod tests {\n  fn d() { e(); }\n}\nfn f() {}",
        );
        let source = Source::new("node/src/link.rs", text);
        let code = source.product_code();
        for (word, stays) in
            [("a()", true), ("c()", true), ("f()", true), ("d()", false), ("suite", false)]
        {
            assert_eq!(code.contains(word), stays, "{word}: {code}");
        }
        assert_eq!(test_modules(&source), ["node/src/link/suite"]);
        assert_eq!(code.lines().count(), text.lines().count());
        assert!(Source::new("node/tests/a.rs", "").is_test && !source.is_test);
    }
}
