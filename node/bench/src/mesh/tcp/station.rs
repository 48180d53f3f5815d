//! The far side of plain TCP: it sends pings back, counts items, and answers all that it read in one write.

use std::future::Future;

use quorate_env::spawn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{COUNT, HEAD_BYTES, ITEM, PING, Socket, put};
use crate::error::BenchError;
use crate::mesh::far::say_ready;

/// Items from this length on are read into memory of their own, not through the buffer.
const READ_APART_BYTES: usize = 64 * 1024;

/// Is the far side until it is over.
pub(crate) async fn serve(address: &str, over: impl Future<Output = ()>) -> Result<(), BenchError> {
    for _ in 0..2 {
        let dialling = || BenchError::system("dialling the near process");
        let socket = Socket::connect(address).await.map_err(dialling())?;
        socket.set_nodelay(true).map_err(dialling())?;
        // It ends with its connection.
        spawn(answer(socket));
    }
    say_ready().await?;
    over.await;
    Ok(())
}

/// Answers on one connection until it ends.
async fn answer(mut socket: Socket) -> Option<()> {
    let (mut bytes, mut answers, mut items) = (Vec::with_capacity(64 * 1024), Vec::new(), 0_u64);
    loop {
        let mut at = 0;
        while let Some((kind, end)) = frame(&bytes[at..]) {
            let rest = &bytes[at + HEAD_BYTES..];
            let length = end - HEAD_BYTES;
            match kind {
                PING if rest.len() >= length => put(PING, &rest[..length], &mut answers),
                ITEM if rest.len() >= length => items += 1,
                ITEM if length >= READ_APART_BYTES => {
                    let mut item = Vec::with_capacity(length);
                    item.extend_from_slice(rest);
                    let missing = (length - rest.len()) as u64;
                    (&mut socket).take(missing).read_to_end(&mut item).await.ok()?;
                    items += u64::from(std::hint::black_box(item).len() == length);
                    at = bytes.len();
                    break;
                }
                COUNT => put(COUNT, &std::mem::take(&mut items).to_le_bytes(), &mut answers),
                PING | ITEM => break,
                _ => return None,
            }
            at += end;
        }
        bytes.drain(..at);
        if !answers.is_empty() {
            socket.write_all(&answers).await.ok()?;
            answers.clear();
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// The kind of the frame that begins here, and where it ends; none while its head is not whole.
fn frame(bytes: &[u8]) -> Option<(u8, usize)> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((*rest.first()?, 4 + u32::from_le_bytes(*head) as usize))
}
