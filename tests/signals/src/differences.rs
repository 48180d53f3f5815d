//! Where this runtime differs from Erlang, and is meant to. All other lines must be equal.

/// One scenario that ends otherwise here than on Erlang.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Which scenario.
    pub scenario: &'static str,
    /// What it says here.
    pub ours: &'static str,
    /// Why it is better so in Rust.
    pub why: &'static str,
}

/// All that differs on purpose. One that no longer differs, or differs otherwise, is a failure, too.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        scenario: "link_to_dead_untrapped",
        ours: "ends noproc",
        why: "`link` does not fail in Rust: the signal of the link that cannot be ends the \
              process, and its reason is the word itself, without the stack of an exception.",
    },
    Difference {
        scenario: "exit_to_dead",
        ours: "false",
        why: "Who sends an exit signal is told whether there was a process to get it; Erlang \
              always says true.",
    },
    Difference {
        scenario: "exit_to_self_runs_no_further",
        ours: "ends oops, further",
        why: "Rust cannot end a function in the middle: an exit signal to itself ends a \
              process at the end of its step, at the next await that waits.",
    },
    Difference {
        scenario: "demonitor_without_flush",
        ours: "nothing",
        why: "A monitor that was given up says nothing: there is no demonitor without a flush, \
              which is the half of the pair that is a trap.",
    },
    Difference {
        scenario: "mail_to_the_dead",
        ours: "refused: no such process",
        why: "A near sender is told at once that nobody is there; nothing makes it look.",
    },
    Difference {
        scenario: "call_while_the_other_ends",
        ours: "no reply",
        why: "A body that returns drops the answer that it owes while it still lives; the \
              caller is told at once in either case, and what it says is true of that moment.",
    },
    Difference {
        scenario: "call_dropped_unanswered",
        ours: "no reply",
        why: "An answer that cannot come any more is told at once; in Erlang nobody knows \
              that, and the caller waits its time out.",
    },
    Difference {
        scenario: "send_after_to_the_dead",
        ours: "ends normal, true",
        why: "A timer does not watch whom it is for: it runs until it fires into the void or \
              is cancelled, and `cancel` says that it still ran.",
    },
    Difference {
        scenario: "second_name_for_a_process",
        ours: "true",
        why: "A process may have several names: nothing in the runtime needs there to be only \
              one.",
    },
    Difference {
        scenario: "server_init_refuses_a_linked_starter",
        ours: "init, refused oops",
        why: "An `init` that refuses is told once, by the error of the start; no exit signal \
              says it again.",
    },
    Difference {
        scenario: "server_init_refuses_a_linked_untrapping_starter",
        ours: "init, lives",
        why: "For the same reason a starter need not trap exits to outlive the refusal that it \
              is told of as an error.",
    },
    Difference {
        scenario: "server_panics_in_a_handler",
        ours: "init, ends panic boom",
        why: "After a panic the state may be half changed, so `terminate` is not given it; \
              Erlang has the old state still.",
    },
    Difference {
        scenario: "server_call_while_it_stops",
        ours: "init, terminate oops, call failed no reply",
        why: "A caller is told that no answer will come, not with which reason the server \
              ended; who wants to know the reason monitors.",
    },
    Difference {
        scenario: "event_reaches_every_handler",
        ours: "a one, b one, a two, b two",
        why: "Handlers see an event in the order in which they were added, Erlang goes from \
              the newest to the oldest.",
    },
    Difference {
        scenario: "event_handler_that_panics_is_removed",
        ours: "b one, true",
        why: "After a panic a handler may be half changed, so it takes no leave; the panic is \
              logged, and told to whom the handler was added for.",
    },
    Difference {
        scenario: "child_that_refuses_at_boot",
        ours: "start a, start b, refuse c, stop b shutdown, stop a shutdown, refused oops",
        why: "A start that fails is told once, by its error, with the reason of the child \
              itself.",
    },
    Difference {
        scenario: "far_node_ends_told_to_monitors",
        ours: "down m node down, down n node down",
        why: "The registry decides by its leases that a node is down, so an end of the node and a \
              cut of the way to it need not be told by the same word.",
    },
    Difference {
        scenario: "far_node_ends_told_to_links",
        ours: "exit node down, lives",
        why: "The same for links: who hears `NodeDown` knows that nothing of that node goes on.",
    },
];
