//! Who is under way: so that the first request of a newer owner can wait for what older ones have begun.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate_env::timeout;
use quorate_guard::{Epoch, Token};
use tokio::sync::watch;

/// What is on its way to the thing behind the guard, by owner.
#[derive(Default)]
pub(super) struct UnderWay {
    /// One channel for each owner, which says whether it is cut off. What is on its way listens, so an
    /// owner without listeners has nothing on its way.
    owners: Mutex<BTreeMap<Token, Arc<watch::Sender<bool>>>>,
}

/// One request on its way, until it is dropped.
pub(super) struct Ticket(watch::Receiver<bool>);

impl UnderWay {
    /// Notes that a request sets out. Before it is judged: what is judged first and noted later would be
    /// overlooked by a newer one that came in between.
    pub(super) fn begin(&self, token: &Token) -> Ticket {
        let mut owners = self.owners.lock().expect("nothing panics while it holds the owners");
        if let Some(owner) = owners.get(token) {
            return Ticket(owner.subscribe());
        }
        owners.retain(|_, owner| owner.receiver_count() > 0);
        let (owner, ticket) = watch::channel(false);
        owners.insert(token.clone(), Arc::new(owner));
        Ticket(ticket)
    }

    /// Waits until nothing of older owners of this name is on its way. What still is after `patience` is cut.
    pub(super) async fn drained(&self, token: &Token, patience: Duration) {
        let older = self.older(token);
        let ended = async {
            for owner in &older {
                owner.closed().await;
            }
        };
        if timeout(patience, ended).await.is_ok() {
            return;
        }
        for owner in &older {
            owner.send_replace(true);
        }
        for owner in &older {
            owner.closed().await;
        }
    }

    fn older(&self, token: &Token) -> Vec<Arc<watch::Sender<bool>>> {
        let Some(first) = Epoch::from_shown(0) else { return Vec::new() };
        let first = Token { name: token.name.clone(), epoch: first };
        let owners = self.owners.lock().expect("nothing panics while it holds the owners");
        let older = owners.range(&first..token).map(|(_, owner)| Arc::clone(owner));
        older.filter(|owner| owner.receiver_count() > 0).collect()
    }
}

impl Ticket {
    /// Resolves when it is cut off; never, if it is not.
    pub(super) async fn cut(&mut self) {
        if self.0.wait_for(|cut| *cut).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use quorate_guard::Name;

    use super::*;

    fn token(name: &str, epoch: u64) -> Token {
        Token { name: Name::new(name).unwrap(), epoch: Epoch::from_shown(epoch).unwrap() }
    }

    #[tokio::test]
    async fn a_newer_owner_waits_for_older_ones_of_its_name_and_for_nobody_else() {
        let under_way = UnderWay::default();
        let forever = Duration::from_secs(3600);
        let old = [under_way.begin(&token("a", 16)), under_way.begin(&token("a", 17))];
        let _same = under_way.begin(&token("a", 18));
        let _newer = under_way.begin(&token("a", 19));
        let _other = under_way.begin(&token("b", 2));
        under_way.drained(&token("b", 2), forever).await;
        let newer = token("a", 18);
        let mut drained = pin!(under_way.drained(&newer, forever));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(drained.as_mut().poll(&mut cx).is_pending());
        drop(old);
        drained.await;
    }

    #[tokio::test]
    async fn who_is_waited_for_too_long_is_cut_off_and_then_waited_for() {
        let under_way = UnderWay::default();
        let mut old = under_way.begin(&token("a", 17));
        let newer = token("a", 18);
        let ending = async {
            old.cut().await;
            drop(old);
        };
        tokio::join!(under_way.drained(&newer, Duration::from_millis(1)), ending);
    }
}
