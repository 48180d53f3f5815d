//! Letters: what the carrier takes from node to node.
//!
//! ```text
//! mail    format 1 | kind 1 | node, boot, serial 8+8+8 | protocol 8 | version 2 | routes n 1 | body len 4 |
//!         body | n × route
//! answer  format 1 | kind 1 | route | outcome 1 | body, if the outcome is a reply
//! named   mail, but kind 12 and serial 0, and after the routes the name of who it is for
//! route   node, boot, ref 8+8+8
//! ```
//!
//! The other kinds are notices (`notice`).
//!
//! All numbers are little-endian and of fixed width. The routes of a mail name the calls that its body must
//! answer. They stand outside of the body, so that a node that cannot or must not decode it can still tell
//! the callers; within the body an answer is only the place of its route.

use quorate_vocab::{Boot, NodeId, Pid, Ref};
use serde::Serialize;

use crate::codec::{self, BODY_BYTES_CEILING};
use crate::notice::{NAME_BYTES_MAX, Notice};
use crate::sheet::Sheet;
use crate::{LetterError, SendError};

pub(crate) const FORMAT: u8 = 1;
const KIND_MAIL: u8 = 1;
const KIND_ANSWER: u8 = 2;
const KIND_NAMED: u8 = 12;
const OUTCOME_REPLY: u8 = 0;
const MAIL_HEAD_BYTES: usize = 2 + 24 + 8 + 2 + 1 + 4;

/// How many answers one message may ask for. A letter makes its receiver send at most that many.
pub(crate) const ROUTES_MAX: usize = 16;

/// Where an answer goes: which call, of which life of which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) node: NodeId,
    pub(crate) boot: Boot,
    pub(crate) call: Ref,
}

/// Why there will be no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The process is not alive, or ended before it received the request.
    NoProc = 1,
    /// The request was dropped.
    NoReply = 2,
    /// The mailbox had no room; the process has not seen the request.
    Full = 3,
    /// The process does not understand the request and has not seen it.
    Refused = 4,
    /// There is an answer, but it cannot travel.
    Answer = 5,
    /// The process ended with the request in its hands.
    Died = 6,
}

/// A letter that was read as far as it can be read without knowing its protocol.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Letter<'a> {
    Mail(Mail<'a>),
    Answer { route: Route, outcome: Result<&'a [u8], Gone> },
    Notice(Notice),
}

/// A message under way to a process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mail<'a> {
    /// Whose link it came by; whoever takes it in says so.
    pub(crate) sender: NodeId,
    /// Who it is for, unless that is said by name.
    pub(crate) target: Pid,
    /// Empty when it is for a pid.
    pub(crate) name: &'a str,
    pub(crate) protocol: u64,
    pub(crate) version: u16,
    pub(crate) body: &'a [u8],
    pub(crate) routes: Vec<Route>,
}

/// Writes a mail onto an empty sheet. `body` appends the message and says which answers it asks for.
pub(crate) fn write_mail(
    target: Pid,
    name: &str,
    protocol: u64,
    version: u16,
    letter: &mut Sheet,
    body: impl FnOnce(&mut Sheet) -> Result<Vec<Route>, SendError>,
) -> Result<Vec<Route>, SendError> {
    let text = &mut letter.text;
    text.extend([FORMAT, if name.is_empty() { KIND_MAIL } else { KIND_NAMED }]);
    write_numbers(text, [target.node.0, target.boot.0, target.serial, protocol]);
    text.extend(version.to_le_bytes());
    // What the routes and the body weigh is known only after them.
    let open = text.len();
    text.extend([0; 5]);
    let routes = body(letter)?;
    assert!(routes.len() <= ROUTES_MAX, "encoding refuses more answers");
    let body_bytes = letter.len() - MAIL_HEAD_BYTES;
    assert!(body_bytes <= BODY_BYTES_CEILING, "the config is held to the ceiling");
    let text = &mut letter.text;
    text[open] = routes.len() as u8;
    text[open + 1..open + 5].copy_from_slice(&(body_bytes as u32).to_le_bytes());
    for route in &routes {
        write_numbers(text, [route.node.0, route.boot.0, route.call.0]);
    }
    text.extend(name.as_bytes());
    Ok(routes)
}

/// Writes an answer. An answer that cannot be encoded becomes the news that it cannot.
pub(crate) fn write_reply<R: Serialize>(
    route: Route,
    reply: &R,
    bytes_max: usize,
    letter: &mut Sheet,
) {
    write_answer_head(route, OUTCOME_REPLY, &mut letter.text);
    if codec::encode(reply, letter, bytes_max).is_err() {
        letter.clear();
        write_gone(route, Gone::Answer, &mut letter.text);
    }
}

/// Writes that there will be no answer.
pub(crate) fn write_gone(route: Route, gone: Gone, letter: &mut Vec<u8>) {
    write_answer_head(route, gone as u8, letter);
}

/// Reads a letter whose body weighs at most `body_bytes_max`.
pub(crate) fn read(letter: &[u8], body_bytes_max: usize) -> Result<Letter<'_>, LetterError> {
    let mut reader = Reader(letter);
    match reader.byte()? {
        FORMAT => {}
        other => return Err(LetterError::Format(other)),
    }
    match reader.byte()? {
        KIND_MAIL => read_mail(reader, false, body_bytes_max),
        KIND_NAMED => read_mail(reader, true, body_bytes_max),
        KIND_ANSWER => read_answer(reader, body_bytes_max),
        kind => Notice::read(kind, reader).map(Letter::Notice),
    }
}

fn read_mail(
    mut reader: Reader<'_>,
    named: bool,
    body_bytes_max: usize,
) -> Result<Letter<'_>, LetterError> {
    let target = reader.pid()?;
    let protocol = reader.number()?;
    let version = u16::from_le_bytes(reader.array()?);
    let routes_len = usize::from(reader.byte()?);
    let body_bytes = u32::from_le_bytes(reader.array()?) as usize;
    if body_bytes > body_bytes_max {
        return Err(LetterError::TooLong);
    }
    if routes_len > ROUTES_MAX {
        return Err(LetterError::Malformed);
    }
    let body = reader.bytes(body_bytes)?;
    let mut routes = Vec::with_capacity(routes_len);
    for _ in 0..routes_len {
        routes.push(reader.route()?);
    }
    let name = match named {
        true => reader.text(NAME_BYTES_MAX)?,
        false => "",
    };
    if named == name.is_empty() {
        return Err(LetterError::Malformed);
    }
    reader.end()?;
    Ok(Letter::Mail(Mail { sender: target.node, target, name, protocol, version, body, routes }))
}

fn read_answer(mut reader: Reader<'_>, body_bytes_max: usize) -> Result<Letter<'_>, LetterError> {
    let route = reader.route()?;
    let gone = match reader.byte()? {
        OUTCOME_REPLY => {
            let body = reader.rest();
            return match body.len() <= body_bytes_max {
                true => Ok(Letter::Answer { route, outcome: Ok(body) }),
                false => Err(LetterError::TooLong),
            };
        }
        1 => Gone::NoProc,
        2 => Gone::NoReply,
        3 => Gone::Full,
        4 => Gone::Refused,
        5 => Gone::Answer,
        6 => Gone::Died,
        _ => return Err(LetterError::Malformed),
    };
    reader.end()?;
    Ok(Letter::Answer { route, outcome: Err(gone) })
}

fn write_answer_head(route: Route, outcome: u8, letter: &mut Vec<u8>) {
    letter.extend([FORMAT, KIND_ANSWER]);
    write_numbers(letter, [route.node.0, route.boot.0, route.call.0]);
    letter.push(outcome);
}

pub(crate) fn write_numbers<const N: usize>(letter: &mut Vec<u8>, numbers: [u64; N]) {
    for number in numbers {
        letter.extend(number.to_le_bytes());
    }
}

/// What is left to read.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], LetterError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(LetterError::Malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, LetterError> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn number(&mut self) -> Result<u64, LetterError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn pid(&mut self) -> Result<Pid, LetterError> {
        let node = NodeId(self.number()?);
        let boot = Boot(self.number()?);
        Ok(Pid { node, boot, serial: self.number()? })
    }

    /// All that is left.
    pub(crate) fn text(&mut self, bytes_max: usize) -> Result<&'a str, LetterError> {
        let bytes = self.rest();
        if bytes.len() > bytes_max {
            return Err(LetterError::TooLong);
        }
        str::from_utf8(bytes).map_err(|_| LetterError::Malformed)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn route(&mut self) -> Result<Route, LetterError> {
        let node = NodeId(self.number()?);
        let boot = Boot(self.number()?);
        Ok(Route { node, boot, call: Ref(self.number()?) })
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8], LetterError> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(LetterError::Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn end(&self) -> Result<(), LetterError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(LetterError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BODY_MAX: usize = 64;

    fn route(call: u64) -> Route {
        Route { node: NodeId(7), boot: Boot(2), call: Ref(call) }
    }

    fn mail(body: &[u8], routes: &[Route]) -> Vec<u8> {
        let target = Pid { node: NodeId(1), boot: Boot(2), serial: 3 };
        let write = |letter: &mut Sheet| {
            letter.put(body);
            Ok(routes.to_vec())
        };
        let mut letter = Sheet::default();
        write_mail(target, "", 0x1122, 4, &mut letter, write).unwrap();
        letter.text
    }

    #[test]
    fn a_named_mail_says_its_name_last() {
        let nobody = Pid { node: NodeId(1), boot: Boot(0), serial: 0 };
        let mut letter = Sheet::default();
        let write = |letter: &mut Sheet| {
            letter.put(b"hi");
            Ok(vec![route(9)])
        };
        write_mail(nobody, "till", 0x1122, 4, &mut letter, write).unwrap();
        let mut letter = letter.text;
        let mut golden = vec![1, 12];
        for number in [1_u64, 0, 0, 0x1122] {
            golden.extend(number.to_le_bytes());
        }
        golden.extend([4, 0, 1, 2, 0, 0, 0, b'h', b'i']);
        for number in [7_u64, 2, 9] {
            golden.extend(number.to_le_bytes());
        }
        golden.extend(b"till");
        assert_eq!(letter, golden);
        let Ok(Letter::Mail(mail)) = read(&letter, BODY_MAX) else { panic!("it was written") };
        assert_eq!((mail.name, mail.body), ("till", &b"hi"[..]));
        letter.extend([b'x'; NAME_BYTES_MAX]);
        assert_eq!(read(&letter, BODY_MAX), Err(LetterError::TooLong));
        letter.truncate(golden.len() - 4);
        assert_eq!(read(&letter, BODY_MAX), Err(LetterError::Malformed), "it has no name");
    }

    #[test]
    fn the_format_is_what_it_was() {
        let mut golden = vec![1, 1];
        for number in [1_u64, 2, 3, 0x1122] {
            golden.extend(number.to_le_bytes());
        }
        golden.extend([4, 0, 1, 2, 0, 0, 0, b'h', b'i']);
        for number in [7_u64, 2, 9] {
            golden.extend(number.to_le_bytes());
        }
        assert_eq!(mail(b"hi", &[route(9)]), golden);

        let mut golden = vec![1, 2];
        for number in [7_u64, 2, 9] {
            golden.extend(number.to_le_bytes());
        }
        golden.push(1);
        let mut letter = Vec::new();
        write_gone(route(9), Gone::NoProc, &mut letter);
        assert_eq!(letter, golden);
    }

    #[test]
    fn a_reply_that_is_too_long_becomes_the_news_of_it() {
        let mut letter = Sheet::default();
        write_reply(route(1), &"x".repeat(BODY_MAX), BODY_MAX, &mut letter);
        assert_eq!(
            read(&letter.text, BODY_MAX),
            Ok(Letter::Answer { route: route(1), outcome: Err(Gone::Answer) })
        );
    }

    #[test]
    fn a_body_over_the_limit_is_refused() {
        let letter = mail(&[0; BODY_MAX + 1], &[]);
        assert_eq!(read(&letter, BODY_MAX), Err(LetterError::TooLong));
        assert!(read(&letter, BODY_MAX + 1).is_ok());
    }

    proptest! {
        #[test]
        fn a_mail_comes_back_whole_and_never_cut(
            body in proptest::collection::vec(any::<u8>(), 0..=BODY_MAX),
            calls in proptest::collection::vec(any::<u64>(), 0..=ROUTES_MAX),
            cut in any::<proptest::sample::Index>(),
        ) {
            let routes: Vec<Route> = calls.into_iter().map(route).collect();
            let letter = mail(&body, &routes);
            let Ok(Letter::Mail(mail)) = read(&letter, BODY_MAX) else { panic!("it was written") };
            prop_assert_eq!(mail.body, &body[..]);
            prop_assert_eq!(mail.routes, routes);
            prop_assert!(read(&letter[..cut.index(letter.len())], BODY_MAX).is_err());
        }

        #[test]
        fn no_bytes_are_read_past_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let mut bytes = bytes;
            for kind in [KIND_MAIL, KIND_ANSWER, KIND_NAMED] {
                if let [format, at, ..] = &mut bytes[..] {
                    (*format, *at) = (FORMAT, kind);
                }
                let _ = read(&bytes, BODY_MAX);
            }
        }
    }
}
