//! Keys of a throw-away cluster: a letter and a node, then Enter.

use std::io::{BufRead, IsTerminal, stdin};

use tokio::sync::mpsc;

pub(crate) const SUMMARY: &str =
    "k 2 kill n2 · r 2 start it again · p 1 pause or go on · h help · q quit (then Enter)";

pub(crate) const HELP: &str = "\
k N   kill node N, as a power cut would (SIGKILL)
r N   start node N again, on its own data
p N   stop node N in its tracks (SIGSTOP); p N again lets it go on
q     end everything and remove it";

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Kill(usize),
    Restart(usize),
    Pause(usize),
    Help,
    Quit,
    Unknown(String),
}

/// Whether somebody can type.
pub(crate) fn are_read() -> bool {
    stdin().is_terminal()
}

/// Reads keys on a thread of its own, since reading from a terminal cannot be given up.
#[expect(clippy::disallowed_methods, reason = "the rim of a command")]
pub(crate) fn read() -> mpsc::Receiver<Key> {
    let (keys, read) = mpsc::channel(8);
    if are_read() {
        std::thread::spawn(move || {
            for line in stdin().lock().lines() {
                let Ok(line) = line else { return };
                if let Some(key) = parse(&line)
                    && keys.blocking_send(key).is_err()
                {
                    return;
                }
            }
        });
    }
    read
}

/// Understands a line; none when it is empty.
fn parse(line: &str) -> Option<Key> {
    let mut words = line.split_whitespace();
    let letter = words.next()?;
    // `k2` and `k 2` are the same.
    let number = words.next().or_else(|| letter.get(1..)).and_then(|number| number.parse().ok());
    let unknown = Key::Unknown(line.trim().to_owned());
    Some(match (letter.chars().next(), number) {
        (Some('k'), Some(at)) => Key::Kill(at),
        (Some('r'), Some(at)) => Key::Restart(at),
        (Some('p'), Some(at)) => Key::Pause(at),
        (Some('h' | '?'), None) => Key::Help,
        (Some('q'), None) => Key::Quit,
        _ => unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_and_a_node_are_a_key() {
        assert_eq!(parse("k 2"), Some(Key::Kill(2)));
        assert_eq!(parse(" r3 "), Some(Key::Restart(3)));
        assert_eq!(parse("p 1"), Some(Key::Pause(1)));
        assert_eq!(parse("h"), Some(Key::Help));
        assert_eq!(parse("q"), Some(Key::Quit));
        assert_eq!(parse("  "), None);
        for wrong in ["k", "k x", "z 1", "q 1", "é"] {
            assert!(matches!(parse(wrong), Some(Key::Unknown(_))), "{wrong}");
        }
    }
}
