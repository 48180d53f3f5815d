//! Notices: the signals of processes, as letters.
//!
//! ```text
//! notice  format 1 | kind 1 | from: node, boot, serial 8+8+8 | to: the same | number 8 | tail
//! kind    3 link · 4 unlink, number: its id · 5 unlinked: the id · 6 monitor: its ref · 7 demonitor: the ref
//!         8 down: the ref, tail: exit · 9 exit, number: 0 of a link, 1 sent, 2 kill, tail: exit
//!         10 monitor by name: its ref, tail: name · 11 has a name: the ref of a monitor by name
//! exit    tag 1 | words, if it has any
//! ```
//!
//! All numbers are little-endian and of fixed width. `from` must be a process of the node that the letter
//! comes from: whoever takes a notice in holds it to that. A monitor by name is for the serial 0, and is
//! answered by a "has a name" from whoever has it, or by a down.

use quorate_vocab::{Pid, Ref};

use crate::letter::{FORMAT, Reader, write_numbers};
use crate::signal::{Signal, Why};
use crate::{Down, Exit, LetterError};

const KIND_LINK: u8 = 3;
const KIND_UNLINK: u8 = 4;
const KIND_UNLINKED: u8 = 5;
const KIND_MONITOR: u8 = 6;
const KIND_DEMONITOR: u8 = 7;
const KIND_DOWN: u8 = 8;
const KIND_EXIT: u8 = 9;
const KIND_MONITOR_NAME: u8 = 10;
const KIND_HAS_NAME: u8 = 11;

/// The most that an exit's words may weigh; more is cut off.
const WORDS_BYTES_MAX: usize = 4096;
/// The most that a name may weigh.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// A notice under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) from: Pid,
    pub(crate) to: Pid,
    pub(crate) says: Says,
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Link,
    Unlink(Ref),
    Unlinked(Ref),
    Monitor(Ref),
    Demonitor(Ref),
    Down(Ref, Exit),
    Exit(Why, Exit),
    MonitorName(Ref, String),
    HasName(Ref),
}

impl Notice {
    /// A signal to a process of another node; `None` for those that do not travel.
    pub(crate) fn of(to: Pid, signal: &Signal) -> Option<Self> {
        let (from, says) = match signal {
            Signal::Link { from } => (*from, Says::Link),
            Signal::Unlink { from, id } => (*from, Says::Unlink(*id)),
            Signal::Unlinked { from, id } => (*from, Says::Unlinked(*id)),
            Signal::Monitor { from, monitor } => (*from, Says::Monitor(*monitor)),
            Signal::Demonitor { from, monitor } => (*from, Says::Demonitor(*monitor)),
            Signal::Exit { why: Why::End, .. } => return None,
            Signal::Exit { from, exit, why } => (*from, Says::Exit(*why, exit.clone())),
            Signal::Down(down) => (down.pid, Says::Down(down.monitor, down.exit.clone())),
            Signal::HasName { from, monitor } => (*from, Says::HasName(*monitor)),
            Signal::Watch(_) | Signal::Info(_) | Signal::Lost { .. } | Signal::Foreign { .. } => {
                return None;
            }
        };
        Some(Self { from, to, says })
    }

    /// As a signal to the process that it is for; `None` when it is not for a pid.
    pub(crate) fn into_signal(self) -> Option<Signal> {
        let from = self.from;
        Some(match self.says {
            Says::Link => Signal::Link { from },
            Says::Unlink(id) => Signal::Unlink { from, id },
            Says::Unlinked(id) => Signal::Unlinked { from, id },
            Says::Monitor(monitor) => Signal::Monitor { from, monitor },
            Says::Demonitor(monitor) => Signal::Demonitor { from, monitor },
            Says::Exit(why, exit) => Signal::Exit { from, exit, why },
            Says::Down(monitor, exit) => Signal::Down(Box::new(Down { monitor, pid: from, exit })),
            Says::HasName(monitor) => Signal::HasName { from, monitor },
            Says::MonitorName(..) => return None,
        })
    }

    /// Appends it to an empty sheet.
    pub(crate) fn write(&self, letter: &mut Vec<u8>) {
        let (kind, number) = match &self.says {
            Says::Link => (KIND_LINK, 0),
            Says::Unlink(id) => (KIND_UNLINK, id.0),
            Says::Unlinked(id) => (KIND_UNLINKED, id.0),
            Says::Monitor(monitor) => (KIND_MONITOR, monitor.0),
            Says::Demonitor(monitor) => (KIND_DEMONITOR, monitor.0),
            Says::Down(monitor, _) => (KIND_DOWN, monitor.0),
            Says::Exit(Why::Linked, _) => (KIND_EXIT, 0),
            Says::Exit(Why::Kill, _) => (KIND_EXIT, 2),
            Says::Exit(_, _) => (KIND_EXIT, 1),
            Says::MonitorName(monitor, _) => (KIND_MONITOR_NAME, monitor.0),
            Says::HasName(monitor) => (KIND_HAS_NAME, monitor.0),
        };
        letter.extend([FORMAT, kind]);
        for pid in [self.from, self.to] {
            write_numbers(letter, [pid.node.0, pid.boot.0, pid.serial]);
        }
        write_numbers(letter, [number]);
        match &self.says {
            Says::Down(_, exit) | Says::Exit(_, exit) => write_exit(exit, letter),
            Says::MonitorName(_, name) => letter.extend(name.as_bytes()),
            _ => {}
        }
    }

    /// Reads what comes after the kind.
    pub(crate) fn read(kind: u8, mut reader: Reader<'_>) -> Result<Self, LetterError> {
        let (from, to) = (reader.pid()?, reader.pid()?);
        let number = reader.number()?;
        let says = match kind {
            KIND_LINK if number == 0 => Says::Link,
            KIND_UNLINK => Says::Unlink(Ref(number)),
            KIND_UNLINKED => Says::Unlinked(Ref(number)),
            KIND_MONITOR => Says::Monitor(Ref(number)),
            KIND_DEMONITOR => Says::Demonitor(Ref(number)),
            KIND_DOWN => Says::Down(Ref(number), read_exit(&mut reader)?),
            KIND_EXIT => {
                let why = match number {
                    0 => Why::Linked,
                    1 => Why::Sent,
                    2 => Why::Kill,
                    _ => return Err(LetterError::Malformed),
                };
                Says::Exit(why, read_exit(&mut reader)?)
            }
            KIND_MONITOR_NAME => {
                Says::MonitorName(Ref(number), reader.text(NAME_BYTES_MAX)?.to_owned())
            }
            KIND_HAS_NAME => Says::HasName(Ref(number)),
            _ => return Err(LetterError::Malformed),
        };
        reader.end()?;
        Ok(Self { from, to, says })
    }
}

fn write_exit(exit: &Exit, letter: &mut Vec<u8>) {
    let (tag, words) = match exit {
        Exit::Normal => (0, ""),
        Exit::Shutdown => (1, ""),
        Exit::Killed => (2, ""),
        Exit::Panic(words) => (3, words.as_str()),
        Exit::NoProc => (4, ""),
        Exit::NoConnection => (5, ""),
        Exit::Because(words) => (6, words.as_str()),
        Exit::NodeDown => (7, ""),
    };
    letter.push(tag);
    letter.extend(&words.as_bytes()[..words.floor_char_boundary(WORDS_BYTES_MAX)]);
}

fn read_exit(reader: &mut Reader<'_>) -> Result<Exit, LetterError> {
    Ok(match reader.byte()? {
        0 => Exit::Normal,
        1 => Exit::Shutdown,
        2 => Exit::Killed,
        3 => Exit::Panic(reader.text(WORDS_BYTES_MAX)?.to_owned()),
        4 => Exit::NoProc,
        5 => Exit::NoConnection,
        6 => Exit::Because(reader.text(WORDS_BYTES_MAX)?.to_owned()),
        7 => Exit::NodeDown,
        _ => return Err(LetterError::Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    /// What a notice weighs without its tail.
    const HEAD_BYTES: usize = 2 + 24 + 24 + 8;

    use crate::letter::{self, Letter};
    use proptest::prelude::*;
    use quorate_vocab::{Boot, NodeId};

    fn pid(node: u64, serial: u64) -> Pid {
        Pid { node: NodeId(node), boot: Boot(5), serial }
    }

    fn written(notice: &Notice) -> Vec<u8> {
        let mut letter = Vec::new();
        notice.write(&mut letter);
        letter
    }

    fn exits() -> impl Strategy<Value = Exit> {
        prop_oneof![
            Just(Exit::Normal),
            Just(Exit::Shutdown),
            Just(Exit::Killed),
            Just(Exit::NoProc),
            Just(Exit::NoConnection),
            Just(Exit::NodeDown),
            ".{0,40}".prop_map(Exit::Panic),
            ".{0,40}".prop_map(Exit::Because),
        ]
    }

    fn all_that_can_be_said() -> impl Strategy<Value = Says> {
        let number = any::<u64>().prop_map(Ref);
        let why = prop_oneof![Just(Why::Linked), Just(Why::Sent), Just(Why::Kill)];
        prop_oneof![
            Just(Says::Link),
            number.clone().prop_map(Says::Unlink),
            number.clone().prop_map(Says::Unlinked),
            number.clone().prop_map(Says::Monitor),
            number.clone().prop_map(Says::Demonitor),
            (number.clone(), exits()).prop_map(|(monitor, exit)| Says::Down(monitor, exit)),
            (why, exits()).prop_map(|(why, exit)| Says::Exit(why, exit)),
            (number.clone(), ".{0,20}")
                .prop_map(|(monitor, name)| Says::MonitorName(monitor, name)),
            number.prop_map(Says::HasName),
        ]
    }

    #[test]
    fn the_format_is_what_it_was() {
        let (from, to) = (pid(1, 2), pid(3, 4));
        let golden = |kind: u8, number: u64, tail: &[u8]| {
            let mut golden = vec![1, kind];
            for number in [1_u64, 5, 2, 3, 5, 4, number] {
                golden.extend(number.to_le_bytes());
            }
            golden.extend(tail);
            golden
        };
        for (says, expected) in [
            (Says::Link, golden(3, 0, b"")),
            (Says::Unlink(Ref(7)), golden(4, 7, b"")),
            (Says::Unlinked(Ref(7)), golden(5, 7, b"")),
            (Says::Monitor(Ref(7)), golden(6, 7, b"")),
            (Says::Demonitor(Ref(7)), golden(7, 7, b"")),
            (Says::Down(Ref(7), Exit::NoProc), golden(8, 7, b"\x04")),
            (Says::Exit(Why::Linked, Exit::Shutdown), golden(9, 0, b"\x01")),
            (Says::Exit(Why::Sent, Exit::because("hm")), golden(9, 1, b"\x06hm")),
            (Says::Exit(Why::Kill, Exit::Killed), golden(9, 2, b"\x02")),
            (Says::MonitorName(Ref(7), "till".into()), golden(10, 7, b"till")),
            (Says::HasName(Ref(7)), golden(11, 7, b"")),
        ] {
            assert_eq!(written(&Notice { from, to, says }), expected);
        }
    }

    #[test]
    fn long_words_are_cut_between_two_characters() {
        let says = Says::Down(Ref(1), Exit::because(format!("x{}", "ä".repeat(WORDS_BYTES_MAX))));
        let letter = written(&Notice { from: pid(1, 2), to: pid(3, 4), says });
        assert_eq!(letter.len(), HEAD_BYTES + 1 + WORDS_BYTES_MAX - 1);
        assert!(letter::read(&letter, 0).is_ok());
    }

    proptest! {
        #[test]
        fn a_notice_comes_back_and_never_longer(says in all_that_can_be_said()) {
            let notice = Notice { from: pid(1, 2), to: pid(3, 4), says };
            let mut letter = written(&notice);
            prop_assert_eq!(letter::read(&letter, 0), Ok(Letter::Notice(notice)));
            letter.extend([0xff; WORDS_BYTES_MAX + 1]);
            prop_assert!(letter::read(&letter, 1 << 20).is_err());
            letter.truncate(HEAD_BYTES - 1);
            prop_assert_eq!(letter::read(&letter, 0), Err(LetterError::Malformed));
        }

        #[test]
        fn no_bytes_are_read_past_their_end(
            kind: u8,
            bytes in proptest::collection::vec(any::<u8>(), 0..90),
        ) {
            let mut letter = vec![FORMAT, kind];
            letter.extend(bytes);
            let _ = letter::read(&letter, 0);
        }
    }
}
