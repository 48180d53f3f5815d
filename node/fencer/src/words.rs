//! The words between a parent and its fencer. Both are of one build on one machine, so there is no version;
//! what is not understood ends the line, which is the safe side.
//!
//! ```text
//! frame = length u16 · kind u8 · numbers u64 … · text
//! ```

use std::time::Duration;

use quorate_vocab::Time;

use crate::charge::{Status, Until, Why};

/// The deadline of who has none.
pub(crate) const NEVER: Time = Time(u64::MAX);

/// No word is longer.
const BYTES_MAX: usize = 8 * 1024;
const HEAD: usize = 2;

/// What a parent orders. Each order is answered under its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// It may run until then.
    Until(Until),
    /// Pass this signal on.
    Signal(i32),
    /// End it, politely for so long.
    Stop { grace: Duration },
    /// You are not needed any more.
    Release,
}

/// What a fencer tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// It is on its way, as this process, with this cgroup of its own if there is a path.
    Started { pid: i32, cgroup: String },
    /// Whether the order of this number was taken.
    Answer { seq: u64, taken: bool },
    /// All is over, and nothing of the tree is left.
    Ended(Status, Why),
    /// Nothing was started.
    GaveUp(String),
}

/// Bytes that came in, of which whole words are taken.
#[derive(Debug, Default)]
pub(crate) struct Inbox(Vec<u8>);

/// What came is no word.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Garbled;

impl Inbox {
    pub(crate) fn take_in(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn next_order(&mut self) -> Result<Option<(u64, Order)>, Garbled> {
        self.next()?.map(|frame| read_order(&frame).ok_or(Garbled)).transpose()
    }

    pub(crate) fn next_report(&mut self) -> Result<Option<Report>, Garbled> {
        self.next()?.map(|frame| read_report(&frame).ok_or(Garbled)).transpose()
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, Garbled> {
        let Some(head) = self.0.first_chunk::<HEAD>() else { return Ok(None) };
        let length = usize::from(u16::from_le_bytes(*head));
        if length == 0 || length > BYTES_MAX {
            return Err(Garbled);
        }
        if self.0.len() < HEAD + length {
            return Ok(None);
        }
        let rest = self.0.split_off(HEAD + length);
        let mut frame = std::mem::replace(&mut self.0, rest);
        frame.drain(..HEAD);
        Ok(Some(frame))
    }
}

pub(crate) fn write_order(seq: u64, order: Order) -> Vec<u8> {
    let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let (kind, numbers) = match order {
        Order::Until(Until { term_at, kill_at }) => (1, [seq, term_at.0, kill_at.0]),
        Order::Signal(number) => (2, [seq, bits(number), 0]),
        Order::Stop { grace } => (3, [seq, nanos(grace), 0]),
        Order::Release => (4, [seq, 0, 0]),
    };
    frame(kind, &numbers, "")
}

pub(crate) fn write_report(report: &Report) -> Vec<u8> {
    match report {
        Report::Started { pid, cgroup } => frame(1, &[bits(*pid)], cgroup),
        Report::Answer { seq, taken } => frame(2, &[*seq, u64::from(*taken)], ""),
        Report::Ended(status, why) => {
            let (how, number) = match status {
                Status::Exited(code) => (0, u64::from(*code)),
                Status::Signaled(number) => (1, bits(*number)),
            };
            let why = WHYS.iter().position(|known| known == why).unwrap_or(0);
            frame(3, &[how, number, why as u64], "")
        }
        Report::GaveUp(why) => frame(4, &[], why),
    }
}

const WHYS: [Why; 5] = [Why::Itself, Why::Deadline, Why::Asked, Why::ParentDied, Why::FencerDied];

fn bits(number: i32) -> u64 {
    u64::from(number.cast_unsigned())
}

fn frame(kind: u8, numbers: &[u64], text: &str) -> Vec<u8> {
    let text = text.get(..text.floor_char_boundary(BYTES_MAX / 2)).unwrap_or_default();
    let length = 1 + numbers.len() * 8 + text.len();
    let mut frame = Vec::with_capacity(HEAD + length);
    frame.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    frame.push(kind);
    for number in numbers {
        frame.extend_from_slice(&number.to_le_bytes());
    }
    frame.extend_from_slice(text.as_bytes());
    frame
}

fn read_order(frame: &[u8]) -> Option<(u64, Order)> {
    let (kind, body) = frame.split_first()?;
    let [seq, first, second] = numbers(body)?.0;
    let order = match kind {
        1 => Order::Until(Until { term_at: Time(first), kill_at: Time(second) }),
        2 => Order::Signal(number(first)?),
        3 => Order::Stop { grace: Duration::from_nanos(first) },
        4 => Order::Release,
        _ => return None,
    };
    Some((seq, order))
}

fn read_report(frame: &[u8]) -> Option<Report> {
    let (kind, body) = frame.split_first()?;
    match kind {
        1 => {
            let ([pid], text) = numbers(body)?;
            Some(Report::Started { pid: number(pid)?, cgroup: string(text)? })
        }
        2 => {
            let ([seq, taken], _) = numbers(body)?;
            Some(Report::Answer { seq, taken: taken == 1 })
        }
        3 => {
            let ([how, value, why], _) = numbers(body)?;
            let status = match how {
                0 => Status::Exited(u8::try_from(value).ok()?),
                1 => Status::Signaled(number(value)?),
                _ => return None,
            };
            Some(Report::Ended(status, *WHYS.get(usize::try_from(why).ok()?)?))
        }
        4 => Some(Report::GaveUp(string(body)?)),
        _ => None,
    }
}

fn numbers<const N: usize>(body: &[u8]) -> Option<([u64; N], &[u8])> {
    let mut rest = body;
    let mut numbers = [0; N];
    for number in &mut numbers {
        let (first, others) = rest.split_first_chunk::<8>()?;
        (*number, rest) = (u64::from_le_bytes(*first), others);
    }
    Some((numbers, rest))
}

fn number(bits: u64) -> Option<i32> {
    u32::try_from(bits).ok().map(u32::cast_signed)
}

fn string(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_as_they_were_said_however_they_are_cut() {
        let until = Until { term_at: Time(1), kill_at: Time(u64::MAX) };
        let orders = [
            Order::Until(until),
            Order::Signal(15),
            Order::Stop { grace: Duration::from_millis(5) },
            Order::Release,
        ];
        let mut inbox = Inbox::default();
        for (seq, order) in orders.into_iter().enumerate() {
            for byte in write_order(seq as u64, order) {
                assert_eq!(inbox.next_order(), Ok(None));
                inbox.take_in(&[byte]);
            }
            assert_eq!(inbox.next_order(), Ok(Some((seq as u64, order))));
        }
        let reports = [
            Report::Started { pid: 7, cgroup: "/sys/fs/cgroup/ä".to_owned() },
            Report::Answer { seq: 3, taken: true },
            Report::Ended(Status::Exited(255), Why::Itself),
            Report::Ended(Status::Signaled(9), Why::FencerDied),
            Report::GaveUp("no such thing".to_owned()),
        ];
        for report in &reports {
            inbox.take_in(&write_report(report));
        }
        for report in reports {
            assert_eq!(inbox.next_report(), Ok(Some(report)));
        }
    }

    #[test]
    fn what_is_no_word_is_refused_and_not_waited_for() {
        for bytes in [&[0, 0][..], &[255, 255], &[1, 0, 9], &[2, 0, 1, 1]] {
            let mut inbox = Inbox::default();
            inbox.take_in(bytes);
            assert_eq!(inbox.next_order(), Err(Garbled), "{bytes:?}");
        }
        let mut inbox = Inbox::default();
        inbox.take_in(&frame(3, &[0, 256, 0], ""));
        assert_eq!(inbox.next_report(), Err(Garbled), "no exit code is that large");
    }
}
