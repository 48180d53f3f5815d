//! The writer of a link: takes what goes next from the outbox, and writes much of it at once.
//!
//! How much is taken at once follows from how fast it goes away: what is taken can be overtaken no more, so
//! it should be gone in a moment. On a fast link that is hundreds of kilobytes, on a slow one a few.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use quorate_env::{now, timeout, wall};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::link::{Link, contained};
use crate::mesh::Shared;
use crate::parcel::{Batch, Returned};
use crate::{Reason, hello};

/// The least and the most that is taken at once, in bytes.
const BATCH_BYTES: (usize, usize) = (16 * 1024, 256 * 1024);

/// What is taken at once should be gone after about this long.
const GONE_WITHIN: Duration = Duration::from_millis(2);

/// So often a ping finds out how far away the peer is: while bodies come or go, soon one after
/// another at first, then less often. Other heartbeats ask for no answer.
const MEASURE_EVERY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// How many pieces one call of the system writes.
const SLICES_MAX: usize = 32;

/// Writes until the link closes.
pub(crate) async fn write(
    shared: Arc<Shared>,
    link: Arc<Link>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
) {
    let reason = tokio::select! {
        biased;
        reason = link.closing() => reason,
        reason = write_batches(&shared, &link, writer) => reason,
    };
    link.close(reason);
}

async fn write_batches(
    shared: &Shared,
    link: &Link,
    mut writer: Box<dyn AsyncWrite + Send + Unpin>,
) -> Reason {
    let limits = &shared.config.limits;
    let Some(outbox) = link.outbox() else { return Reason::Closing };
    let (mut batch, mut at_once) = (Batch::default(), BATCH_BYTES.1);
    let mut next_beat = now() + limits.idle;
    // The outbox asks as it is attached.
    let (mut measured, mut measure) = (now(), MEASURE_EVERY.0);
    loop {
        let held = outbox.take(at_once, &link.calls, || shared.hlc.now(wall()), &mut batch);
        if let Err(reason) = give_back(shared, link, &mut batch) {
            return reason;
        }
        if batch.bytes == 0 {
            let until = held.map_or(next_beat, |held| held.min(next_beat));
            let is_idle = timeout(until.since(now()), outbox.ready()).await.is_err();
            if is_idle && until == next_beat {
                let at = now();
                let measures = at >= measured + MEASURE_EVERY.1 || link.features & hello::BEAT == 0;
                outbox.say(|own| (own.ping, own.beat) = (own.ping || measures, true));
                next_beat = at + limits.idle;
                measured = if measures { at } else { measured };
                // A link over which nothing goes keeps no memory.
                batch = Batch::default();
                outbox.rest();
            }
            continue;
        }
        if batch.cost > 0 {
            link.use_now();
        }
        let begun = now();
        if let Err(reason) = write_batch(&mut *writer, &batch, limits.write_stall).await {
            return reason;
        }
        let ended = now();
        at_once = pace(at_once, batch.bytes, ended.since(begun));
        link.tally.out(batch.frames, batch.bytes, batch.lanes);
        let is_busy = batch.cost > 0 || batch.grants;
        batch.clear();
        // Something was written, so the peer knows that this side lives.
        next_beat = ended + limits.idle;
        if is_busy && ended >= measured + measure {
            outbox.say(|own| own.ping = true);
            measure = (measure * 2).min(MEASURE_EVERY.1);
            measured = ended;
        }
    }
}

/// Gives the inside what the peer does not take.
fn give_back(shared: &Shared, link: &Link, batch: &mut Batch) -> Result<(), Reason> {
    for Returned { pieces, error } in batch.returned.drain(..) {
        shared.tally.unsent(1);
        contained(|| shared.inbound.returned(link.node, &pieces.concat(), error))?;
    }
    Ok(())
}

/// How much to take the next time.
fn pace(at_once: usize, written: usize, took: Duration) -> usize {
    let (least, most) = BATCH_BYTES;
    if took > GONE_WITHIN {
        (at_once / 2).max(least)
    } else if written >= at_once / 2 && took < GONE_WITHIN / 4 {
        (at_once * 2).min(most)
    } else {
        at_once
    }
}

async fn write_batch(
    writer: &mut (dyn AsyncWrite + Send + Unpin),
    batch: &Batch,
    stall: Duration,
) -> Result<(), Reason> {
    let mut done = 0;
    while done < batch.bytes {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = batch.slices_after(done, &mut slices);
        match timeout(stall, writer.write_vectored(&slices[..count])).await {
            Ok(Ok(written)) if written > 0 => done += written,
            Ok(_) => return Err(Reason::Gone),
            Err(_) => return Err(Reason::WriteStalled),
        }
    }
    flush(writer, stall).await
}

/// Writes everything. Any progress counts as life.
pub(crate) async fn write_all(
    writer: &mut (dyn AsyncWrite + Send + Unpin),
    mut bytes: &[u8],
    stall: Duration,
) -> Result<(), Reason> {
    while !bytes.is_empty() {
        match timeout(stall, writer.write(bytes)).await {
            Ok(Ok(written)) if written > 0 => bytes = &bytes[written..],
            Ok(_) => return Err(Reason::Gone),
            Err(_) => return Err(Reason::WriteStalled),
        }
    }
    flush(writer, stall).await
}

async fn flush(
    writer: &mut (dyn AsyncWrite + Send + Unpin),
    stall: Duration,
) -> Result<(), Reason> {
    match timeout(stall, writer.flush()).await {
        Ok(flushed) => flushed.map_err(|_| Reason::Gone),
        Err(_) => Err(Reason::WriteStalled),
    }
}
