//! Every invariant of `docs/INVARIANTS.md` has a checker in the simulation, or the page says that it is not
//! yet checked, and where that is written down.
//!
//! An invariant begins on a line whose first word is its number, whatever stands before it for decoration
//! (`| I4 |`, `## I4`, `- **I4**`), and ends where the next one or the next heading begins.

use std::collections::BTreeMap;
use std::fs;

use quorate_tidy::{assert_tidy, names_in, root};

const PAGE: &str = "docs/INVARIANTS.md";
/// The second has those that drills of real processes need, too.
const CHECKERS: [&str; 2] = ["tests/sim/src/check", "node/drill/src/check"];
const LATER: &str = "not yet checked";
/// The design names so many.
const COUNT: u32 = 12;

#[test]
fn every_invariant_is_checked_or_excused() {
    assert_tidy(&findings(&page(), &CHECKERS.map(names_in).concat()));
}

#[test]
fn every_file_that_the_page_names_is_there() {
    let page = page();
    let quoted = page.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|text| text.contains('/') && !text.contains(char::is_whitespace));
    let gone = paths.filter(|path| !root().join(path).exists());
    let findings = gone.map(|path| format!("{PAGE} names {path}, which is not there"));
    assert_tidy(&findings.collect::<Vec<_>>());
}

fn page() -> String {
    let page = fs::read_to_string(root().join(PAGE));
    page.unwrap_or_else(|e| panic!("{PAGE} cannot be read ({e}); it must name I1 to I{COUNT}"))
}

fn findings(page: &str, files: &[String]) -> Vec<String> {
    let said = blocks(page);
    let strangers = said.keys().copied().filter(|number| *number > COUNT);
    let mut findings: Vec<String> = (1..=COUNT)
        .chain(strangers)
        .filter_map(|number| judge(number, said.get(&number).map(String::as_str), files))
        .collect();
    for file in files {
        let number = file.strip_prefix('i').and_then(|rest| rest.split_once('_'));
        let number = number.and_then(|(digits, _)| digits.parse::<u32>().ok());
        if number.is_some_and(|number| !said.contains_key(&number)) {
            findings.push(format!("{file} checks what {PAGE} does not name"));
        }
    }
    findings
}

/// What is wrong with one invariant, of which the page says `said`.
fn judge(number: u32, said: Option<&str>, files: &[String]) -> Option<String> {
    let Some(said) = said else {
        return Some(format!("{PAGE} does not name I{number}"));
    };
    let file = format!("i{number:02}_");
    let checkers = files.iter().filter(|found| found.starts_with(&file)).count();
    match (excuse(said), checkers) {
        (None, 1) => None,
        (Some(why), 0) if !why.is_empty() => None,
        (Some(_), 0) => Some(format!("{PAGE} says that I{number} is {LATER}, but not why")),
        (Some(_), _) => Some(format!("I{number} has a checker, and {PAGE} still says \"{LATER}\"")),
        (None, 0) => Some(format!(
            "I{number} has no {file}*.rs in {CHECKERS:?}, and {PAGE} does not say \"{LATER}: why\""
        )),
        (None, _) => Some(format!("I{number} has {checkers} checkers: one invariant, one file")),
    }
}

/// What stands behind the words that excuse, if they are there.
fn excuse(text: &str) -> Option<&str> {
    let at = text.to_ascii_lowercase().find(LATER)? + LATER.len();
    Some(text[at..].trim_matches(|c: char| !c.is_alphanumeric() && c != '#'))
}

/// The text of each invariant, without line breaks.
fn blocks(page: &str) -> BTreeMap<u32, String> {
    let mut blocks = BTreeMap::<u32, String>::new();
    let mut current = None;
    for line in page.lines() {
        current = number(line).or(current.filter(|_| !line.starts_with('#')));
        if let Some(number) = current {
            let block = blocks.entry(number).or_default();
            block.push_str(line.trim());
            block.push(' ');
        }
        // A row of a table is one line.
        current = current.filter(|_| !line.starts_with('|'));
    }
    blocks
}

/// The invariant that begins on this line.
fn number(line: &str) -> Option<u32> {
    let line = line.trim_start_matches(|c: char| !c.is_alphanumeric());
    let digits = line.strip_prefix('I')?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    let is_word = !rest.starts_with(char::is_alphanumeric);
    digits.parse().ok().filter(|_| is_word)
}

#[test]
fn an_invariant_without_a_checker_is_found() {
    let files = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let checked: Vec<String> = (1..=12).map(|n| format!("i{n:02}_word.rs")).collect();
    let row = |n: u32| format!("| **I{n}** | holds |\n");
    let page: String = (1..=12).map(row).collect();
    assert_eq!(findings(&page, &checked), [""; 0]);
    assert_eq!(findings("", &checked).len(), 24);
    assert!(findings(&page, &checked[..11])[0].contains("I12 has no i12_"));
    let excused = page.replace(
        "| **I12** | holds |",
        "## I12 holds\n\nNot yet\nchecked: issue 7, it needs handoff.\n## Next",
    );
    let excused = excused.replace("Not yet\nchecked", "Not yet checked");
    assert_eq!(findings(&excused, &checked[..11]), [""; 0]);
    assert!(findings(&excused, &checked)[0].contains("still says"));
    let silent = excused.replace(": issue 7, it needs handoff.", ".");
    assert!(findings(&silent, &checked[..11])[0].contains("but not why"));
    let stray = files(&["i13_word.rs", "linear.rs", "i01_again.rs"]);
    let found = findings(&page, &[checked, stray].concat());
    assert_eq!(found.len(), 2, "{found:?}");
}
