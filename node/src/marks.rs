//! Marks: how a repetition of what this node asks for is known, so that it may be asked for until it is
//! decided.
//!
//! What comes without a key of its client's is the next command of this node's session. A key is forgotten
//! once enough others came after it, and a copy that comes later still is taken for a new command; a number
//! never is, it is refused from then on. So that this refusal meets nothing that is still under way, a number
//! is given out only while the oldest one under way is remembered beside it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quorate_registry::{Command, Once, Op, Refusal, Verdict};
use quorate_vocab::{Index, SessionId};

use crate::error::{Error, NotDone};
use crate::hall::Hall;
use crate::names::draw_key;

/// The mark of one command, which is under way for as long as this lives.
pub(crate) enum Mark {
    /// A client's key, or one that was drawn.
    Key(u128),
    /// A number of this node's session.
    Number(Number),
}

/// A number of this node's session.
pub(crate) struct Number {
    hall: Arc<Hall>,
    session: SessionId,
    seq: u64,
}

/// The numbers of one session: pure.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    newest: u64,
    under_way: BTreeSet<u64>,
}

/// Decides something once: under a client's key, or else under the next number of this node's session. Only a
/// node without a session draws a key, as it has no numbers.
pub(crate) async fn decide(
    hall: &Arc<Hall>,
    op: Op,
    key: Option<u128>,
    within: Duration,
) -> Result<(Index, Verdict), Error> {
    let until = quorate_env::now() + within;
    let mark = match key {
        Some(key) => Mark::Key(key),
        None => match Number::next(hall, within).await {
            Ok(number) => Mark::Number(number),
            Err(Error::NotDone(NotDone::NoSession)) => Mark::Key(draw_key()),
            Err(error) => return Err(error),
        },
    };
    let left = until.since(quorate_env::now());
    let (index, verdict) = hall.propose(mark.command(op), left).await?;
    Ok((index, mark.judge(verdict)?))
}

impl Mark {
    /// Proposes until it is decided, `within` being how long somebody waits for it. An error means that
    /// nothing was done and nothing will be; `doubt` is called as soon as that cannot be said any more.
    pub(crate) async fn settle(
        self,
        hall: &Hall,
        op: Op,
        within: Duration,
        doubt: impl FnOnce(),
    ) -> Result<(Index, Verdict), Error> {
        let command = self.command(op);
        let mut doubt = Some(doubt);
        let mut within = within;
        loop {
            match hall.propose(command.clone(), within).await {
                Ok((index, verdict)) => return Ok((index, self.judge(verdict)?)),
                // Of the copies before this nobody knows yet, whatever came of this one.
                Err(error) if doubt.is_some() && error != Error::Unknown => return Err(error),
                Err(_) => {
                    if let Some(doubt) = doubt.take() {
                        doubt();
                    }
                    within = hall.config().patience();
                    quorate_env::sleep(hall.config().lease / 10).await;
                }
            }
        }
    }

    fn command(&self, op: Op) -> Command {
        let once = match self {
            Self::Key(key) => Once::Key(*key),
            Self::Number(Number { session, seq, .. }) => Once::Seq { session: *session, seq: *seq },
        };
        Command { once, op }
    }

    /// What was refused because the session of its number had ended was never looked at.
    fn judge(&self, verdict: Verdict) -> Result<Verdict, Error> {
        match (self, verdict) {
            (Self::Number(own), Verdict::Refused(Refusal::NoSession(ended)))
                if ended == own.session =>
            {
                Err(Error::NotDone(NotDone::NoSession))
            }
            (_, verdict) => Ok(verdict),
        }
    }
}

impl Number {
    /// The next number of this node's session, once there is room for it.
    pub(crate) async fn next(hall: &Arc<Hall>, within: Duration) -> Result<Self, Error> {
        let next = hall.tenancy().next_number();
        // So many are under way only while they are not decided, as without a leader.
        let next = quorate_env::timeout(within, next).await;
        match next.map_err(|_| Error::NotDone(NotDone::NoLeader))? {
            None => Err(Error::NotDone(NotDone::NoSession)),
            Some((session, seq)) => Ok(Self { hall: hall.clone(), session, seq }),
        }
    }

    pub(crate) fn session(&self) -> SessionId {
        self.session
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.hall.tenancy().settled(self.session, self.seq);
    }
}

impl Numbers {
    /// The next number, if the registry would remember the oldest one under way beside it.
    pub(crate) fn next(&mut self) -> Option<u64> {
        let next = self.newest + 1;
        let oldest = self.under_way.first().copied().unwrap_or(next);
        if next - oldest >= Once::WINDOW as u64 {
            return None;
        }
        self.newest = next;
        self.under_way.insert(next);
        Some(next)
    }

    /// A command is not under way any more.
    pub(crate) fn settled(&mut self, seq: u64) {
        self.under_way.remove(&seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_given_out_that_would_have_the_oldest_under_way_forgotten() {
        let mut numbers = Numbers::default();
        let window = Once::WINDOW as u64;
        for number in 1..=window {
            assert_eq!(numbers.next(), Some(number));
        }
        assert_eq!(numbers.next(), None);
        // The second one is not the oldest, so there is no more room than before.
        numbers.settled(2);
        assert_eq!(numbers.next(), None);
        numbers.settled(1);
        assert_eq!((numbers.next(), numbers.next()), (Some(window + 1), Some(window + 2)));
        assert_eq!(numbers.next(), None);
    }
}
