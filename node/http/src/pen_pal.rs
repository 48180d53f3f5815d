//! Mail for drills: on each node that lets itself be drilled one process, in a group that all nodes know,
//! which writes numbered letters to the others and keeps what they wrote until whoever drills has it.
//!
//! It begins when it is asked for and ends when nobody asks any more. The node's process groups, which are
//! begun for it, stay.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use quorate::{Exit, Groups, Mailbox, Message, Node, Pid, Time, Wire};
use quorate_env::{now, timeout};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::codes::named;
use crate::drill;
use crate::face::Shared;
use crate::parse;
use crate::problem::Problem;

/// The group that they are in.
const GROUP: &str = "quorate.drill";
/// How often each writes to all others.
const EVERY: Duration = Duration::from_millis(100);
/// It ends when it was not asked for so long.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// So many letters are kept; of more the oldest are lost, which is no more than any letter may be.
const KEPT_MAX: usize = 4096;

/// What they write.
#[derive(Serialize, Deserialize)]
struct Letter {
    from: Pid,
    number: u64,
}

impl Message for Letter {
    const WIRE: Option<Wire<Self>> = Some(Wire::new("quorate.drill.letter", 1));
}

/// A node's, if it has one. A clone is the same.
#[derive(Clone, Default)]
pub(crate) struct PenPal(Arc<Mutex<Option<Desk>>>);

/// What is known of it while it lives.
struct Desk {
    pid: Pid,
    /// When it was last asked.
    asked: Time,
    /// How many it got before the first that is kept.
    before: u64,
    kept: VecDeque<Letter>,
}

/// What may be asked: what a process got after its first `after` letters, which are dropped. Who names none,
/// or one that is not there, is told of none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    process: Option<String>,
    #[serde(default)]
    after: u64,
}

/// `POST /v1/drill/mail`
pub(crate) async fn collect(
    State(inside): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    drill::faults(&inside)?;
    let body = parse::body(request.into_body()).await?;
    let asked: Asked = parse::object(&body)?;
    let groups = inside.node.groups().await;
    let groups = groups.map_err(|e| Problem::new(named::CLOSING, e.to_string()))?;
    let mut desk = inside.pen_pal.desk();
    // The process may have been ended by who ends processes.
    let present = desk.take().filter(|desk| inside.node.actors().is_alive(desk.pid));
    let desk = desk.insert(match present {
        Some(present) => present,
        None => Desk::new(inside.pen_pal.begin(&inside.node, groups.clone())),
    });
    desk.asked = now();
    let mut letters = Vec::new();
    if asked.process == Some(desk.pid.to_string()) {
        desk.drop_until(asked.after);
        let shown = |letter: &Letter| json!([letter.from.to_string(), letter.number]);
        letters.extend(desk.kept.iter().map(shown));
    }
    let members: Vec<_> = groups.members(GROUP).iter().map(Pid::to_string).collect();
    Ok(Json(json!({
        "node": inside.node.name().as_str(),
        "process": desk.pid.to_string(),
        "members": members,
        "next": desk.before + letters.len() as u64,
        "letters": letters,
    }))
    .into_response())
}

impl PenPal {
    fn begin(&self, node: &Node, groups: Groups) -> Pid {
        let own = self.clone();
        node.spawn(move |mail| own.live(groups, mail)).pid()
    }

    async fn live(self, groups: Groups, mut mail: Mailbox<Letter>) -> Exit {
        let me = mail.pid();
        if let Err(error) = groups.join(GROUP, me).await {
            tracing::warn!(%error, "no letters are written: the group was not joined");
            return Exit::Normal;
        }
        let (mut number, mut next) = (0, now() + EVERY);
        loop {
            let left = next.since(now());
            if !left.is_zero() {
                if let Ok(letter) = timeout(left, mail.receive()).await {
                    self.with(me, |desk| desk.keep(letter));
                }
                continue;
            }
            next = now() + EVERY;
            for other in groups.members(GROUP).into_iter().filter(|member| *member != me) {
                number += 1;
                let letter = Letter { from: me, number };
                // If it does not go, it is missing, as any letter may be.
                let _ = mail.actors().addr::<Letter>(other).send(letter);
            }
            if !self.with(me, |_| ()) {
                return Exit::Normal;
            }
        }
    }

    /// Does something at the desk of a process; false if it has none any more, as nobody asks for it.
    fn with(&self, me: Pid, act: impl FnOnce(&mut Desk)) -> bool {
        let mut desk = self.desk();
        let own = desk.as_mut().filter(|desk| desk.pid == me);
        let Some(own) = own.filter(|desk| now().since(desk.asked) < IDLE_MAX) else {
            desk.take_if(|desk| desk.pid == me);
            return false;
        };
        act(own);
        true
    }

    fn desk(&self) -> MutexGuard<'_, Option<Desk>> {
        self.0.lock().expect("nothing panics at a desk")
    }
}

impl Desk {
    fn new(pid: Pid) -> Self {
        Self { pid, asked: now(), before: 0, kept: VecDeque::new() }
    }

    fn keep(&mut self, letter: Letter) {
        self.kept.push_back(letter);
        self.drop_until(self.before + self.kept.len().saturating_sub(KEPT_MAX) as u64);
    }

    fn drop_until(&mut self, nth: u64) {
        while self.before < nth && self.kept.pop_front().is_some() {
            self.before += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate::{Boot, NodeId};

    fn desk() -> Desk {
        Desk::new(Pid { node: NodeId(1), boot: Boot(1), serial: 1 })
    }

    fn numbers(desk: &Desk) -> Vec<u64> {
        desk.kept.iter().map(|letter| letter.number).collect()
    }

    #[test]
    fn letters_are_kept_until_whoever_asks_has_them() {
        let mut desk = desk();
        (1..=5).for_each(|number| desk.keep(Letter { from: desk.pid, number }));
        desk.drop_until(3);
        assert_eq!((desk.before, numbers(&desk)), (3, vec![4, 5]));
        desk.drop_until(2);
        assert_eq!((desk.before, numbers(&desk)), (3, vec![4, 5]), "an answer that came late");
        desk.drop_until(9);
        assert_eq!((desk.before, numbers(&desk)), (5, vec![]), "there were no more");
    }

    #[test]
    fn of_letters_that_nobody_takes_the_oldest_go() {
        let mut desk = desk();
        let most = KEPT_MAX as u64;
        (1..=most + 3).for_each(|number| desk.keep(Letter { from: desk.pid, number }));
        assert_eq!((desk.before, desk.kept.len(), desk.kept[0].number), (3, KEPT_MAX, 4));
    }
}
