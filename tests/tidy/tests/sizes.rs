//! Files stay small enough to be read in one go. A review begins at 500 lines; here is where it ends.

use quorate_tidy::{Source, assert_tidy, sources};

const LINES_MAX: usize = 700;
/// rustfmt holds code at 100; a sentence or a figure in a comment may take ten more.
const COLUMNS_MAX: usize = 110;

#[test]
fn no_file_is_too_long_and_no_line_too_wide() {
    assert_tidy(&sources().iter().flat_map(findings).collect::<Vec<_>>());
}

fn findings(source: &Source) -> Vec<String> {
    let path = &source.path;
    let lines = source.text.lines().count();
    let long = (lines > LINES_MAX)
        .then(|| format!("{path} has {lines} lines, {LINES_MAX} is the most: split it by noun"));
    let wide = source.text.lines().enumerate().filter_map(|(number, line)| {
        let columns = line.chars().count();
        let message =
            || format!("{path}:{} has {columns} columns, {COLUMNS_MAX} is the most", number + 1);
        (columns > COLUMNS_MAX).then(message)
    });
    long.into_iter().chain(wide).collect()
}

#[test]
fn what_is_too_large_is_found() {
    let found = |text: String| findings(&Source::new("a.rs", &text)).len();
    assert_eq!(found("\n".repeat(700)), 0);
    assert_eq!(found("\n".repeat(701)), 1);
    assert_eq!(found("─".repeat(110)), 0);
    assert_eq!(found(format!("ok\n{}\n", "x".repeat(111))), 1);
}
