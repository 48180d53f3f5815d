//! Everything that can go wrong on a face of quorate, by code: what it is called, what happened to the
//! state, and what to do. `quorate explain` prints this table; the HTTP face and the command line answer
//! with it.
//!
//! A code is for ever: it is never given to another thing, and it is added to `docs/` with the release that
//! brings it. Q01 is the cluster and the way to it, Q02 the request, Q03 the registry's answer, Q04 who may
//! ask, Q05 the command line and the agent's start, Q06 the guards in front of what is outside of the
//! cluster.

use serde::Serialize;

/// One thing that can go wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The number behind the Q.
    pub number: u16,
    /// The HTTP status that it comes with; 0 when it never comes over HTTP.
    pub status: u16,
    /// What became of what was asked.
    pub outcome: Outcome,
    /// What happened, in a few words.
    pub title: &'static str,
    /// What happened to the state.
    pub state: &'static str,
    /// What to do.
    pub hint: &'static str,
}

/// What became of what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing changed, and nothing will. It may be tried again as it is.
    NotDone,
    /// It may have happened. It may be tried again under the same `Idempotency-Key`.
    Unknown,
    /// The answer is no. Nothing changed, and asking the same again gives the same.
    Refused,
}

impl Code {
    /// The code as it is shown: `Q0107`.
    pub fn name(&self) -> String {
        format!("Q{:04}", self.number)
    }
}

/// The code of a name such as `Q0107` (or `q107`, or `107`).
pub fn by_name(name: &str) -> Option<&'static Code> {
    let digits = name.strip_prefix(['Q', 'q']).unwrap_or(name);
    let number: u16 = digits.parse().ok()?;
    ALL.iter().copied().find(|code| code.number == number)
}

macro_rules! codes {
    ($(
        $name:ident $number:literal $status:literal $outcome:ident:
        $title:literal; $state:literal; $hint:literal
    )+) => {
        /// One constant for each code.
        pub(crate) mod named {
            use super::{Code, Outcome};
            $(
                #[doc = $title]
                pub const $name: &Code = &Code {
                    number: $number,
                    status: $status,
                    outcome: Outcome::$outcome,
                    title: $title,
                    state: $state,
                    hint: $hint,
                };
            )+
        }

        /// All codes, in the order of their numbers.
        pub const ALL: &[&Code] = &[$(named::$name),+];
    };
}

codes! {
    NO_AGENT 101 0 NotDone:
        "no agent answers";
        "Nothing changed.";
        "Start one with `quorate dev` or `quorate agent`, or name another with --agent URL or QUORATE_AGENT."
    NO_ANSWER 102 0 Unknown:
        "the agent gave no answer";
        "What was asked may have happened, or may yet.";
        "Look first, or ask again with the same --idempotency-key; a longer --timeout may help."
    FOREIGN_ANSWER 103 0 Unknown:
        "what answered is no quorate agent of this version";
        "Unknown; whatever answered did not say it in words of this release.";
        "Check the address (--agent, QUORATE_AGENT), and whether a proxy stands between."
    OUTCOME_UNKNOWN 106 503 Unknown:
        "the outcome is unknown";
        "It was proposed and no answer came in time. It may have happened, or may yet.";
        "Look at the name first, or send the same request again with the same \
         Idempotency-Key: it is then applied once."
    NO_QUORUM 107 503 NotDone:
        "no leader with a majority could be reached";
        "Nothing changed. This node cannot reach a majority of the voters, or an election is under way.";
        "Try again in a second. If it stays so, `quorate status` names the members that are \
         missing; start them."
    NO_SESSION_HERE 108 503 NotDone:
        "this node has no valid session";
        "Nothing changed. The node was cut off, or has just started.";
        "Try again in a second, or ask another node; `quorate status` says whether this one is quorate."
    CLOSING 109 503 NotDone:
        "this node is being closed";
        "Nothing changed.";
        "Ask another node."
    NOT_READY 110 503 NotDone:
        "this node is not quorate";
        "Nothing changed. The node lives, but holds no lease that a majority confirmed.";
        "Wait, or look at `quorate status`; a cluster that is new begins when --expect nodes see each other."
    STOPPED 111 503 NotDone:
        "this node has stopped because of a fault";
        "What was acknowledged is on its disk. It answers no more.";
        "Read the agent's last line. Mend the cause, then start it again on the same data."
    FAILED_INSIDE 112 500 Unknown:
        "the answer could not be put together";
        "Unknown; this is a defect of quorate.";
        "Look at the state before trying again, and report the agent's log."
    TOO_STALE 113 503 NotDone:
        "what this node knows is older than was asked for";
        "Nothing was looked up.";
        "Ask again, ask another node, or read with consistency=linearizable."
    OVERLOADED 114 503 NotDone:
        "the leader has too much to do";
        "Nothing changed: it was refused before it was proposed.";
        "Try again after a moment, and wait for longer each time; `quorate status` shows who leads."
    DISK 115 503 NotDone:
        "this node's disk takes nothing";
        "Nothing changed: it was refused before it was proposed. What was acknowledged is not lost.";
        "Ask another node: one of them leads by now, if a majority has disks that work. `quorate status` \
         says what is wrong with this one's; once there is room, or it answers, the node goes on by itself."
    NO_ROAD 116 503 NotDone:
        "the node that has to be asked cannot be reached";
        "Nothing changed.";
        "Ask its own agent, or look at `quorate links` for why."
    BAD_NAME 201 400 Refused:
        "this is not a name";
        "Nothing changed.";
        "A name is parts of letters, digits and . _ ~ : @ - joined by single slashes, 512 bytes at most."
    TOO_LARGE 202 400 Refused:
        "value and meta are too large";
        "Nothing changed.";
        "Value and meta together may have 65536 bytes. Register an address of the data rather than the data."
    BAD_BODY 203 400 Refused:
        "the body is not what this route takes";
        "Nothing changed.";
        "Send one JSON object; the detail says which of its fields does not fit (docs/INTERFACE.md)."
    BODY_TOO_LONG 204 400 Refused:
        "the body is too long";
        "Nothing changed.";
        "A body may have 262144 bytes."
    BAD_PARAMETER 205 400 Refused:
        "a parameter or header is not understood";
        "Nothing changed.";
        "The detail says which, and what it may be."
    NO_ROUTE 206 404 Refused:
        "there is nothing under this path";
        "Nothing changed.";
        "The routes stand in docs/INTERFACE.md; a name goes behind /v1/names/."
    NO_METHOD 207 405 Refused:
        "this path does not take this method";
        "Nothing changed.";
        "The Allow header says which methods it takes."
    BAD_RULES 208 400 Refused:
        "these rules cannot be in force";
        "Nothing changed; the rules in force stay.";
        "The detail says which rule and what could stand there. At most 256 rules, whose selectors have \
         65536 bytes together."
    TAKEN 301 409 Refused:
        "the name is held";
        "Nothing changed; the present holder keeps it.";
        "Wait for its release (`quorate name watch NAME`), or take it over with --replace-epoch E, \
         where E is the epoch that is shown."
    STALE_EPOCH 302 409 Refused:
        "the name is not held under that epoch";
        "Nothing changed.";
        "Somebody was faster. Look the name up and decide anew with the present epoch."
    FREE 303 404 Refused:
        "nobody holds the name";
        "Nothing changed.";
        "`quorate name list` shows the names that are held."
    SESSION_ENDED 304 410 Refused:
        "the session has ended, or never was";
        "Every name that it held is released. Nothing else changed.";
        "Stop what relied on it, open a new session, and register again."
    FORGOTTEN 305 409 Refused:
        "this was decided so long ago that the answer is forgotten";
        "It was not applied again.";
        "Look the name up to see what came of it."
    INDEX_TOO_OLD 306 410 Refused:
        "changes since that index are no longer kept";
        "Nothing changed.";
        "Watch without `from` and Last-Event-ID: a new snapshot comes first."
    REFUSED 307 409 Refused:
        "the registry refused";
        "Nothing changed.";
        "The detail says why."
    RULES_CHANGED 308 409 Refused:
        "other rules are in force by now";
        "Nothing changed; the rules in force stay.";
        "Somebody was faster. Look at `quorate links rules show` and decide anew with the present version."
    NO_NODE 309 404 Refused:
        "no node of this name takes part";
        "Nothing changed.";
        "`quorate members` shows the names of those that do."
    CHANGED 310 409 Refused:
        "what is said there is another by now";
        "Nothing changed.";
        "Somebody was faster. Look at it and decide anew with the version that is shown."
    PAGE_GONE 311 410 Refused:
        "the state that this listing was read from is no longer kept";
        "Nothing changed.";
        "Begin with the first page. Pages are kept for 30 s, and for few listings at a time."
    ABSENT 312 404 Refused:
        "there is no such property or counter";
        "Nothing changed.";
        "Look at what there is; a counter is made by counting."
    MISCOUNTED 313 409 Refused:
        "the counter does not stand as expected, or has no room";
        "Nothing changed.";
        "The answer says where it stands. Decide anew from there."
    TOO_NEW 314 409 Refused:
        "not all members of the cluster understand this yet";
        "Nothing changed.";
        "Bring every member to this release first; `quorate members` lists them."
    NO_SUCCESSOR 315 409 Refused:
        "nobody could lead instead";
        "Nothing changed; the leader stays.";
        "`quorate members` shows who votes and lives: only such a node can lead."
    NODE_LIVES 316 409 Refused:
        "the node lives";
        "Nothing changed. A node that lives would only come back.";
        "Stop it first; what it held is then released, and it can be taken out."
    NO_SINGLETON 317 404 Refused:
        "there is no such singleton";
        "Nothing changed.";
        "`quorate singleton list` shows those that somebody offers to run, or did."
    NOT_GRANTED 318 409 Refused:
        "the singleton is not held under that epoch";
        "Nothing changed. Whatever still runs under that epoch is not the one any more.";
        "Stop what runs under it. `quorate singleton show NAME` says who holds it now."
    UNFIT 319 409 Refused:
        "the singleton cannot be there";
        "Nothing changed; it stays where it is.";
        "`quorate singleton why NAME` says of each node why it can or cannot have it."
    CYCLE 320 409 Refused:
        "singletons would wait for each other";
        "Nothing changed.";
        "Leave one of them out of what the other one is to start after."
    OFFERED 321 409 Refused:
        "somebody offers to run the singleton";
        "Nothing changed.";
        "Stop it, or end the programs that offer it; `quorate singleton show NAME` names them."
    NO_CANDIDATE 322 409 Refused:
        "nobody there offers to run the singleton";
        "Nothing changed.";
        "`quorate singleton show NAME` names who does."
    NO_EXEC 323 403 Refused:
        "this agent starts no commands for others";
        "Nothing changed.";
        "Start the agents that may with --allow-exec, and ask one of them."
    NO_DRILL 324 403 Refused:
        "this agent lets nobody drill it";
        "Nothing changed.";
        "Start the agents that a drill may harm with --allow-drill, or with `allow = true` below `[drill]` \
         in the config file."
    NO_FAULT 325 404 Refused:
        "there is no such fault";
        "Nothing changed. It may have ended by itself.";
        "GET /v1/drill/faults shows those that are present."
    FAULTS_FULL 326 409 Refused:
        "too many faults are present";
        "Nothing changed.";
        "Heal some of them, or all by DELETE /v1/drill/faults."
    NO_TOKEN 401 401 Refused:
        "a token is needed";
        "Nothing changed.";
        "Send `Authorization: Bearer TOKEN`; on the command line --api-token-file FILE or \
         QUORATE_API_TOKEN_FILE."
    WRONG_TOKEN 402 401 Refused:
        "the token is not the right one";
        "Nothing changed.";
        "Compare the file with the agent's own --api-token-file."
    FROM_A_PAGE 403 403 Refused:
        "a web page may not write";
        "Nothing changed. The request carried an Origin header, so a browser sent it for a page.";
        "Send writes from a program that is not a page."
    WRONG_HOST 404 403 Refused:
        "the Host header names neither an address nor localhost";
        "Nothing changed. On loopback that is how a foreign web page would reach in.";
        "Use the address itself, such as http://127.0.0.1:4748."
    BAD_SETTING 501 0 NotDone:
        "a setting is not understood";
        "Nothing was started or sent.";
        "The detail says which one and where it was set; flag goes over environment over file."
    UNKNOWN_KEY 502 0 NotDone:
        "the config file has an unknown key";
        "Nothing was started.";
        "The keys are the long flags of `quorate agent --help`."
    OPEN_SECRET 503 0 NotDone:
        "a secret lies open";
        "Nothing was started or sent. Others on this machine can read the file.";
        "chmod 600 the file, and draw the secret anew if somebody may have read it."
    NO_SECRET 504 0 NotDone:
        "a secret is missing";
        "Nothing was started.";
        "Beyond loopback --listen needs --cookie-file or --tls-cert, --tls-key and --tls-ca (`quorate ca`), \
         and --http needs --api-token-file. Make a secret with: \
         (umask 077; head -c 32 /dev/urandom | base64 > FILE)"
    NO_START 505 0 NotDone:
        "the node did not start";
        "What was acknowledged before is on its disk.";
        "The detail says what is in the way."
    NODE_STOPPED 506 0 NotDone:
        "the node stopped because of a fault";
        "What was acknowledged is on its disk; it answers no more.";
        "Mend the cause (disk full, disk gone), then start it again on the same data."
    NO_FACE 507 0 NotDone:
        "the HTTP address cannot be used";
        "The node was closed again.";
        "Choose another with --http ADDR:PORT; port 0 lets the system choose."
    DEV_FAILED 508 0 NotDone:
        "the throw-away cluster did not come up";
        "All its nodes were stopped and its directory was removed.";
        "The detail ends with the last lines of the log of the node that failed."
    NO_SUCH_CODE 509 0 NotDone:
        "there is no such code";
        "Nothing changed.";
        "`quorate explain` without a code lists them all."
    BENCH_FAILED 510 0 NotDone:
        "the measurement did not finish";
        "Everything that it started was stopped and removed.";
        "The detail says which row failed."
    IO 511 0 NotDone:
        "the system refused";
        "Nothing changed in the cluster.";
        "The detail says what was being done."
    IS_THERE 512 0 NotDone:
        "it is there already";
        "Nothing was written; what is there stays.";
        "A second `quorate ca init` needs another --dir; a node's next certificate comes from \
         `quorate ca renew`."
    NO_CA 513 0 NotDone:
        "there is no such CA, or no such node in it";
        "Nothing was written.";
        "`quorate ca init --dir DIR` makes a CA, `quorate ca issue --dir DIR --node NAME` a node's \
         certificate."
    DRILL_FAILED 514 0 NotDone:
        "the drill could not be played to its end";
        "A throw-away cluster of its own was stopped and removed; one that others use runs on, and what \
         could not be undone there was named. This is no verdict on what was drilled.";
        "The detail says what it came to; --retain keeps the nodes' data and logs."
    BAD_BACKUP 520 0 NotDone:
        "the backup cannot be used";
        "Nothing was written.";
        "The detail says why. If it is damaged, take another copy of it or the backup before it; if it is of \
         a later release, use that one."
    NOT_BEGUN 521 0 NotDone:
        "the cluster was not begun anew";
        "What was in the data directory is as it was.";
        "The detail says what is in the way."
    NOT_ACCEPTED 522 0 NotDone:
        "the loss was not accepted for this cluster";
        "Nothing was changed.";
        "Run it without --i-accept-loss to see which cluster the directory belongs to, and what may be lost."
    STALE_OWNER 601 412 Refused:
        "a newer epoch was here";
        "Nothing was passed on or written.";
        "Stop: another owner has taken over. Whoever shows this epoch has to be given the name anew before \
         it writes."
    UNMARKED 602 428 Refused:
        "the request shows no epoch";
        "Nothing was passed on.";
        "Send Quorate-Singleton: NAME and Quorate-Epoch: E, as QUORATE_SINGLETON and QUORATE_EPOCH say them."
    BAD_MARK 603 400 Refused:
        "the epoch that is shown is not understood";
        "Nothing was passed on.";
        "Send one name and one epoch, a number below 2^53, each once."
    GUARD_FULL 604 507 NotDone:
        "the guard remembers no more names";
        "Nothing was passed on. To forget a name would let its old owners in.";
        "Allow more names (--names-max), or put a guard of its own in front of each thing."
    GUARD_FORGETS 605 503 NotDone:
        "the guard cannot keep the newest epoch";
        "Nothing was passed on.";
        "Look at the disk of the guard: what it cannot remember it must not pass on."
    NO_UPSTREAM 606 502 NotDone:
        "what is guarded cannot be reached";
        "Nothing was passed on.";
        "Start it, or look at the address behind --to."
    UPSTREAM_BROKE 607 502 Unknown:
        "what is guarded broke off";
        "It was passed on, in part or whole, and no answer came. It may have had its effect.";
        "Look before you send it again."
    UPSTREAM_LATE 608 504 Unknown:
        "what is guarded did not answer in time";
        "It was passed on. It may have had its effect, or may yet.";
        "Look before you send it again; a longer --timeout may help."
    CUT_OFF 609 503 Unknown:
        "a newer owner did not wait any longer";
        "It was passed on, in part or whole, before a newer epoch came. It may have had its effect.";
        "Stop: another owner has taken over."
    NOT_PASSED 610 501 NotDone:
        "the guard passes no tunnels on";
        "Nothing was passed on.";
        "A guard can check requests, not what flows through a tunnel. Reach the thing by plain requests."
    TORN_BAR 611 0 NotDone:
        "the file of epochs is damaged";
        "Nothing was written, and it is as it was found.";
        "Put the right one back. If it is lost, end all old owners, remove it, and begin with a floor \
         (--at-least E) that no epoch from before reaches."
    OTHER_OWNER 612 0 Refused:
        "the file belongs to another singleton";
        "Nothing was written.";
        "Epochs of two names say nothing about each other. If it was given over on purpose, remove its \
         .quorate-epoch."
    GUARD_BUSY 613 0 NotDone:
        "the file of epochs is in use";
        "Nothing was written.";
        "Try again. If it stays so, another guard runs on it, or a writer was stopped in the middle."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_rise_are_complete_and_are_found_by_any_spelling() {
        assert!(ALL.windows(2).all(|pair| pair[0].number < pair[1].number));
        for code in ALL {
            assert!(
                !code.title.is_empty() && code.state.ends_with('.') && code.hint.len() > 10,
                "{code:?}"
            );
            assert_eq!(by_name(&code.name()), Some(*code));
            // Whoever reads only the status learns the same as whoever reads the outcome.
            assert!(code.status != 503 || code.outcome != Outcome::Refused);
            assert!(!(400..500).contains(&code.status) || code.outcome == Outcome::Refused);
        }
        assert_eq!(by_name("q107"), Some(named::NO_QUORUM));
        assert_eq!(by_name("Q9999"), None);
        assert_eq!(by_name("lookup"), None);
    }
}
