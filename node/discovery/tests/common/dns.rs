//! A name server that answers from a table, over UDP and TCP at one port.

use std::sync::{Arc, Mutex};

use quorate_env::{Net, Tcp, spawn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

/// What a question gets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    /// 0 well, 2 failed, 3 no such name.
    pub(crate) code: u8,
    /// Name, type and data of each record of the answer.
    pub(crate) answers: Vec<(String, u16, Vec<u8>)>,
    /// The same for what comes along.
    pub(crate) more: Vec<(String, u16, Vec<u8>)>,
    /// Over UDP, all of it is left out.
    pub(crate) too_long: bool,
    /// Nothing is said at all.
    pub(crate) silent: bool,
    /// A forged answer, with another number, goes before it.
    pub(crate) forged: bool,
}

pub(crate) type Table = Arc<Mutex<dyn FnMut(&str, u16) -> Reply + Send>>;

pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;

/// The bytes of a name, not compressed.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

/// The data of an SRV record.
pub(crate) fn srv(port: u16, target: &str) -> Vec<u8> {
    [&[0, 10, 0, 5][..], &port.to_be_bytes(), &name(target)].concat()
}

/// Begins to answer; gives the address.
pub(crate) async fn start(table: impl FnMut(&str, u16) -> Reply + Send + 'static) -> String {
    let table: Table = Arc::new(Mutex::new(table));
    loop {
        // The system chooses a port for TCP, and somebody else may have it for UDP.
        let mut listener = Tcp.listen("127.0.0.1:0").await.unwrap();
        let address = listener.address();
        let Ok(socket) = UdpSocket::bind(&address).await else { continue };
        let over_tcp = table.clone();
        spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Ok(length) = stream.reader.read_u16().await else { continue };
                let mut question = vec![0; usize::from(length)];
                stream.reader.read_exact(&mut question).await.unwrap();
                let (reply, _) = ask(&over_tcp, &question);
                let bytes = encode(&question, &reply, false);
                let framed = [&(bytes.len() as u16).to_be_bytes(), &bytes[..]].concat();
                stream.writer.write_all(&framed).await.unwrap();
            }
        });
        spawn(async move {
            let mut bytes = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
                let question = bytes[..length].to_vec();
                let (reply, forged) = ask(&table, &question);
                if reply.silent {
                    continue;
                }
                if let Some(forged) = forged {
                    socket.send_to(b"\x00junk", from).await.unwrap();
                    socket.send_to(&forged, from).await.unwrap();
                }
                socket.send_to(&encode(&question, &reply, reply.too_long), from).await.unwrap();
            }
        });
        return address;
    }
}

fn ask(table: &Table, question: &[u8]) -> (Reply, Option<Vec<u8>>) {
    let (asked, at) = read_name(question);
    let kind = u16::from_be_bytes([question[at], question[at + 1]]);
    let reply = (table.lock().unwrap())(&asked, kind);
    let forged = reply.forged.then(|| {
        let mut other = question.to_vec();
        other[0] ^= 0xff;
        encode(
            &other,
            &Reply { answers: vec![(asked, A, vec![6, 6, 6, 6])], ..Reply::default() },
            false,
        )
    });
    (reply, forged)
}

fn read_name(question: &[u8]) -> (String, usize) {
    let mut labels = Vec::new();
    let mut at = 12;
    while question[at] != 0 {
        let length = usize::from(question[at]);
        labels.push(String::from_utf8(question[at + 1..=at + length].to_vec()).unwrap());
        at += length + 1;
    }
    (labels.join("."), at + 1)
}

fn encode(question: &[u8], reply: &Reply, truncated: bool) -> Vec<u8> {
    let end = read_name(question).1 + 4;
    let mut bytes = question[..2].to_vec();
    let flags = 0x8180 | u16::from(reply.code) | if truncated { 0x0200 } else { 0 };
    let count = |records: &[_]| if truncated { 0 } else { records.len() as u16 };
    for half in [flags, 1, count(&reply.answers), 0, count(&reply.more)] {
        bytes.extend(half.to_be_bytes());
    }
    bytes.extend(&question[12..end]);
    for (owner, kind, data) in reply.answers.iter().chain(&reply.more).filter(|_| !truncated) {
        // The name of the question is pointed at, as servers do.
        let same = name(owner) == question[12..end - 4];
        bytes.extend(if same { vec![0xc0, 12] } else { name(owner) });
        for half in [*kind, 1, 0, 60, data.len() as u16] {
            bytes.extend(half.to_be_bytes());
        }
        bytes.extend(data);
    }
    bytes
}
