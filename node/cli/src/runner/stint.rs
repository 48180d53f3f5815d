//! The command while this is the one: run, renewed, restarted, and ended when it is another's turn.

use std::time::Duration;

use quorate::{Attempts, Sequel};
use quorate_env::{now, sleep};
use quorate_fencer::{CALL, Ending, MYSELF, Orders, Streams, Until, Ward, Why};
use quorate_http::code;
use serde_json::json;

use super::candidate::{ASK_AGAIN, Candidate, Seat};
use super::signals::Signals;
use super::{End, Restart, Run};
use crate::charge::{code_of, code_of_signal};
use crate::fail::Fail;
use crate::last_word;
use crate::output::{self, shown};

/// How often it is looked whether a command has begun, which takes no longer than to replace a process.
const BEGUN_YET: Duration = Duration::from_millis(2);

/// What came of one run.
enum Turn {
    Ended(Ending),
    /// It was ended, or not even begun, for this reason.
    Taken(String),
    /// A signal came before it had begun.
    Signaled(i32),
}

/// Why a command has to end.
enum Notice {
    /// The cluster waits until it has ended: it may finish what it does.
    Yield,
    /// Another may be the one by now.
    Gone(String),
}

/// Runs the command, again and again where that is wanted, for as long as this is the one.
pub(super) async fn work(
    candidate: &mut Candidate,
    wish: &Run,
    signals: &mut Signals,
    seat: &Seat,
) -> Result<End, Fail> {
    let name = &wish.name;
    let (mut attempts, restarts) = (Attempts::default(), wish.restarts());
    loop {
        let begun = now();
        let ending = match turn(candidate, wish, signals, seat).await? {
            Turn::Ended(ending) => ending,
            Turn::Signaled(number) => return Ok(End::Exited(code_of_signal(number))),
            Turn::Taken(why) => {
                output::talk(&format!("{name}: {why}; the command does not run"));
                return Ok(End::Lost);
            }
        };
        let code = code_of(ending.status);
        if ending.why != Why::Itself {
            output::talk(&format!("{name}: {}", told_of(ending.why)));
            return Ok(End::Lost);
        }
        // Passed a signal, it did what it was told; and one that is never started again is nobody's failure.
        if signals.came || wish.restart == Restart::Never {
            return Ok(End::Exited(code));
        }
        let pause = match attempts.ended(now(), begun, code == 0, &restarts) {
            Sequel::Done => return Ok(End::Exited(code)),
            Sequel::Again(pause) => pause,
            Sequel::GiveUp => {
                let times = attempts.count();
                let why = format!("it ended with {code}, for the {times}th time in a while");
                candidate.say("ended", json!({ "epoch": seat.epoch, "failed": why })).await;
                output::talk(&format!("{name}: {why}; it is somebody else's turn"));
                return Ok(End::Failed(code));
            }
        };
        output::talk(&format!("{name}: it ended with {code}; starting it again in {pause:?}"));
        let mut held = candidate.held.clone();
        tokio::select! {
            biased;
            number = signals.fatal() => return Ok(End::Exited(code_of_signal(number))),
            _ = held.wait_for(Option::is_none) => return Ok(End::Lost),
            notice = notice(candidate, seat.epoch) => {
                if matches!(notice, Notice::Yield) {
                    candidate.say("ended", json!({ "epoch": seat.epoch })).await;
                }
                return Ok(End::Lost);
            }
            () = sleep(pause) => {}
        }
    }
}

/// One run of the command.
async fn turn(
    candidate: &Candidate,
    wish: &Run,
    signals: &mut Signals,
    seat: &Seat,
) -> Result<Turn, Fail> {
    if let Some(number) = signals.at_hand().await {
        return Ok(Turn::Signaled(number));
    }
    let late = || Turn::Taken("the cluster was not heard of in time".to_owned());
    let until = candidate.held.borrow().map(|deadline| wish.until(deadline));
    let Some(until) = until.filter(|until| now() < until.term_at) else { return Ok(late()) };
    let ward = match Ward::spawn(orders(candidate, wish, seat, until)).await {
        Ok(ward) => ward,
        // This process may have been stopped meanwhile; the fencer begins nothing whose time is over.
        Err(_) if now() >= until.term_at => return Ok(late()),
        Err(error) => return Err(Fail::new(code::IO, error.to_string())),
    };
    let announce = announce(candidate, &ward, seat.epoch);
    let renewals = renew(candidate, wish, &ward);
    let looks = notice(candidate, seat.epoch);
    tokio::pin!(announce, renewals, looks);
    let mut is_announced = false;
    let notice = loop {
        tokio::select! {
            biased;
            ending = ward.ended() => return Ok(Turn::Ended(ending)),
            number = signals.any() => {
                let _ = ward.signal(number).await;
            }
            gone = &mut renewals => break gone,
            notice = &mut looks => break notice,
            () = &mut announce, if !is_announced => is_announced = true,
        }
    };
    let why = match notice {
        Notice::Gone(why) => why,
        Notice::Yield => {
            let _ = ward.stop(wish.stop_within).await;
            // Renewed meanwhile, so that it has all of its time; whatever comes between, its deadline ends
            // it.
            loop {
                tokio::select! {
                    biased;
                    _ = ward.ended() => {
                        candidate.say("ended", json!({ "epoch": seat.epoch })).await;
                        return Ok(Turn::Taken("it is to run elsewhere, or to stop".to_owned()));
                    }
                    number = signals.any() => {
                        let _ = ward.signal(number).await;
                    }
                    gone = &mut renewals => match gone {
                        Notice::Gone(why) => break why,
                        Notice::Yield => {}
                    },
                }
            }
        }
    };
    // No time to be polite.
    let _ = ward.stop(Duration::ZERO).await;
    ward.ended().await;
    Ok(Turn::Taken(why))
}

fn orders(candidate: &Candidate, wish: &Run, seat: &Seat, until: Until) -> Orders {
    let lease = wish.lease.as_millis().to_string();
    Orders {
        fencer: MYSELF.into(),
        command: wish.command.clone(),
        env: vec![
            ("QUORATE_SINGLETON".into(), wish.name.clone().into()),
            ("QUORATE_EPOCH".into(), seat.epoch.to_string().into()),
            ("QUORATE_NODE".into(), seat.node.clone().into()),
            ("QUORATE_SESSION".into(), candidate.session.to_string().into()),
            ("QUORATE_LEASE_MS".into(), lease.into()),
        ],
        directory: None,
        streams: Streams::default(),
        until,
        wards: None,
        last_word: last_word::of_session(&candidate.client, candidate.session),
        is_heir: true,
    }
}

/// Says that it runs, once it does, until that is heard: others may wait for it.
async fn announce(candidate: &Candidate, ward: &Ward, epoch: u64) {
    let cmdline = format!("/proc/{}/cmdline", ward.id());
    loop {
        let words = std::fs::read(&cmdline).unwrap_or_default();
        match words.split(|byte| *byte == 0).nth(1) {
            Some(word) if word != CALL.as_bytes() => break,
            // It is not the command yet, or could not be, or is no more.
            _ => sleep(BEGUN_YET).await,
        }
    }
    while !candidate.say("ready", json!({ "epoch": epoch })).await {
        sleep(ASK_AGAIN).await;
    }
}

/// Moves the command's deadline with that of the session, until the session has ended.
async fn renew(candidate: &Candidate, wish: &Run, ward: &Ward) -> Notice {
    let mut held = candidate.held.clone();
    loop {
        let deadline = *held.borrow_and_update();
        let Some(deadline) = deadline else {
            return Notice::Gone("its session was ended".to_owned());
        };
        let Until { term_at, kill_at } = wish.until(deadline);
        // A fencer that is gone has taken the command along, which is told as its end.
        let _ = ward.until(term_at, kill_at).await;
        if held.changed().await.is_err() {
            // Nobody renews any more; the deadline stands.
            std::future::pending::<()>().await;
        }
    }
}

/// Returns once this is not the one any more, or is not to be.
async fn notice(candidate: &Candidate, epoch: u64) -> Notice {
    loop {
        match candidate.look_under(epoch).await {
            Ok(seen) if seen["epoch"] == epoch && seen["grant"]["phase"] == "active" => {}
            Ok(seen) if seen["epoch"] == epoch => return Notice::Yield,
            Ok(seen) => {
                let state = shown(&seen["state"]);
                return Notice::Gone(format!("epoch {epoch} is over, and it is {state} by now"));
            }
            Err(fail) if fail.is(code::NO_SINGLETON) => {
                return Notice::Gone("it was taken out".to_owned());
            }
            Err(_) => sleep(ASK_AGAIN).await,
        }
    }
}

fn told_of(why: Why) -> &'static str {
    match why {
        Why::Deadline => {
            "the cluster was not heard of in time; the command was ended before the lease was"
        }
        Why::Asked => "the command was ended",
        Why::FencerDied => "its fencer was gone; the command was ended",
        Why::ParentDied | Why::Itself => "the command ended",
    }
}
