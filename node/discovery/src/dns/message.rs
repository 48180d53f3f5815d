//! The bytes of questions and answers.
//!
//! What comes in is hostile until it was read: counts are not believed, a compressed name only ever points
//! backwards, and whatever is read is within bounds or an error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an answer over UDP may have: what fits a packet on every road (RFC 9715).
pub(crate) const UDP_BYTES: u16 = 1232;

/// A name with its dots is not longer (RFC 1035).
const NAME_BYTES_MAX: usize = 253;

/// No answer has more records; one of 64 KiB could claim a few thousand.
const RECORDS_MAX: usize = 2048;

const CLASS_IN: u16 = 1;
const OPT: u16 = 41;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    A = 1,
    Aaaa = 28,
    Srv = 33,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    Ip(IpAddr),
    /// Priority and weight are for clients that choose one of many; here all are wanted.
    Srv {
        target: String,
        port: u16,
    },
    Alias(String),
}

/// A record of a kind that matters here, in whatever part of the answer it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) data: Data,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) id: u16,
    /// It did not fit.
    pub(crate) truncated: bool,
    /// 0 is well, 3 is that there is no such name.
    pub(crate) code: u8,
    /// What it says was asked: name, type and class.
    pub(crate) question: (String, u16, u16),
    pub(crate) records: Vec<Record>,
}

/// Whether a text is a name that can be asked for.
pub(crate) fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"\\/\"@:".contains(&byte);
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(fits);
    name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label)
}

/// The bytes of a question. The name must be one.
pub(crate) fn question(id: u16, name: &str, kind: Kind) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    let flags = 0x0100; // recursion is desired
    for half in [id, flags, 1, 0, 0, 1] {
        bytes.extend(half.to_be_bytes());
    }
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes.extend((kind as u16).to_be_bytes());
    bytes.extend(CLASS_IN.to_be_bytes());
    // What we can take over UDP, as the one additional record.
    bytes.push(0);
    for half in [OPT, UDP_BYTES, 0, 0, 0] {
        bytes.extend(half.to_be_bytes());
    }
    bytes
}

/// Reads an answer.
pub(crate) fn answer(bytes: &[u8]) -> Result<Answer, &'static str> {
    let mut reader = Reader { bytes, at: 0 };
    let id = reader.half()?;
    let flags = reader.half()?;
    if flags & 0x8000 == 0 {
        return Err("a question where an answer should be");
    }
    let (questions, answers) = (reader.half()?, reader.half()?);
    let more = usize::from(reader.half()?) + usize::from(reader.half()?);
    if questions != 1 {
        return Err("an answer to no question, or to several");
    }
    let question = (reader.name()?, reader.half()?, reader.half()?);
    let truncated = flags & 0x0200 != 0;
    let mut records = Vec::new();
    for _ in 0..(usize::from(answers) + more).min(RECORDS_MAX) {
        match reader.record() {
            Ok(record) => records.extend(record),
            // What does not fit may end anywhere.
            Err(_) if truncated => break,
            Err(why) => return Err(why),
        }
    }
    Ok(Answer { id, truncated, code: (flags & 0x000f) as u8, question, records })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or("an answer that ends too early")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn half(&mut self) -> Result<u16, &'static str> {
        let taken = self.take(2)?;
        Ok(u16::from_be_bytes([taken[0], taken[1]]))
    }

    /// Reads a name, in lower case, without the dot at its end.
    fn name(&mut self) -> Result<String, &'static str> {
        let mut name = String::new();
        let mut reader = Reader { bytes: self.bytes, at: self.at };
        // Where the name goes on after a pointer lies before all that was read of it, so this ends.
        let mut limit = self.at;
        let mut jumped = false;
        loop {
            let length = reader.take(1)?[0];
            match length {
                0 => break,
                1..=63 => {
                    if !name.is_empty() {
                        name.push('.');
                    }
                    for byte in reader.take(usize::from(length))? {
                        // What would change the meaning of the text is no part of a host's name.
                        let plain = byte.is_ascii_graphic() && !b".\\".contains(byte);
                        name.push(if plain { byte.to_ascii_lowercase() as char } else { '?' });
                    }
                }
                0xc0.. => {
                    let low = reader.take(1)?[0];
                    let target = usize::from(length & 0x3f) << 8 | usize::from(low);
                    if target >= limit {
                        return Err("a name that points forward or at itself");
                    }
                    if !jumped {
                        self.at = reader.at;
                    }
                    (jumped, limit, reader.at) = (true, target, target);
                }
                _ => return Err("a label of an unknown kind"),
            }
            if name.len() > NAME_BYTES_MAX {
                return Err("a name that is too long");
            }
        }
        if !jumped {
            self.at = reader.at;
        }
        Ok(name)
    }

    /// Reads a record; `None` for one that does not matter here.
    fn record(&mut self) -> Result<Option<Record>, &'static str> {
        let name = self.name()?;
        let (kind, class) = (self.half()?, self.half()?);
        self.take(4)?; // how long it may be cached, and it is not
        let length = usize::from(self.half()?);
        let end = self.at + length;
        let mut inside = Reader { bytes: self.bytes, at: self.at };
        self.take(length)?;
        if class != CLASS_IN {
            return Ok(None);
        }
        let data = match (kind, length) {
            (1, 4) => {
                let bytes: [u8; 4] = inside.take(4)?.try_into().unwrap_or_default();
                Data::Ip(Ipv4Addr::from(bytes).into())
            }
            (28, 16) => {
                let bytes: [u8; 16] = inside.take(16)?.try_into().unwrap_or_default();
                Data::Ip(Ipv6Addr::from(bytes).into())
            }
            (33, 7..) => {
                inside.take(4)?;
                Data::Srv { port: inside.half()?, target: inside.name()? }
            }
            (5, 1..) => Data::Alias(inside.name()?),
            (1 | 28 | 33 | 5, _) => return Err("a record of the wrong length"),
            _ => return Ok(None),
        };
        if inside.at > end {
            return Err("a record that ends too early");
        }
        Ok(Some(Record { name, data }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What a server really sent: `dig SRV`, compressed, with the addresses of the targets.
    fn sample() -> Vec<u8> {
        let mut bytes = question(7, "_q._tcp.example", Kind::Srv);
        bytes.truncate(bytes.len() - 11);
        bytes[2..4].copy_from_slice(&0x8580_u16.to_be_bytes());
        bytes[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 1]);
        let srv = [
            0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 9, 0, 11, 0, 1, 0, 2, 0x12, 0x8b, 2, b'N', b'1', 0xc0,
            20,
        ];
        let target = bytes.len() as u8 + 18;
        bytes.extend(srv);
        bytes.extend([0xc0, target, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 1]);
        bytes
    }

    #[test]
    fn an_answer_with_compressed_names_is_read() {
        let answer = answer(&sample()).unwrap();
        assert_eq!((answer.id, answer.code, answer.truncated), (7, 0, false));
        assert_eq!(answer.question, ("_q._tcp.example".to_owned(), 33, 1));
        let srv = Data::Srv { target: "n1.example".to_owned(), port: 4747 };
        let ip = Data::Ip("10.0.0.1".parse().unwrap());
        assert_eq!(
            answer.records,
            [
                Record { name: "_q._tcp.example".to_owned(), data: srv },
                Record { name: "n1.example".to_owned(), data: ip }
            ]
        );
    }

    #[test]
    fn names_that_point_at_themselves_or_forward_end() {
        for pointer in [[0xc0, 12], [0xc0, 200], [0xff, 0xff]] {
            let mut bytes = sample();
            bytes[12..14].copy_from_slice(&pointer);
            assert!(answer(&bytes).is_err());
        }
        assert!(is_name("_q._tcp.a-b.example.") && !is_name("a..b") && !is_name("a b"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes in vec(any::<u8>(), 0..600)) {
            let _ = answer(&bytes);
        }

        #[test]
        fn any_damage_to_an_answer_is_bounded(
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = sample();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            if let Ok(answer) = answer(&bytes) {
                prop_assert!(answer.records.len() <= RECORDS_MAX);
                prop_assert!(answer.records.iter().all(|record| record.name.len() <= NAME_BYTES_MAX));
            }
        }
    }
}
