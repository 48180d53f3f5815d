%% Links, exit signals, trap_exit and kill.
-module(links).
-include("stage.hrl").

all() ->
    [link_to_dead_untrapped, link_to_dead_trapped, link_to_self, link_is_bidirectional,
     link_twice_one_exit, unlink_then_exit, unlink_keeps_what_has_arrived, unlink_of_a_stranger,
     link_again_after_unlink, normal_through_a_link_untrapped, normal_through_a_link_trapped,
     shutdown_through_a_link_untrapped, reason_goes_along_a_chain, normal_stops_at_the_first_link,
     panic_through_a_link_untrapped, panic_through_a_link_trapped, exit_normal_to_other_untrapped,
     exit_normal_to_other_trapped, exit_normal_to_a_linked_other, exit_to_other_untrapped,
     exit_to_other_trapped, exit_names_its_sender, exit_signals_in_order, exit_to_dead,
     exit_normal_to_self_untrapped, exit_to_self_trapped, exit_to_self_runs_no_further,
     kill_through_trap, exit_killed_is_no_kill, exit_while_it_calls, kill_to_self_through_trap,
     kill_seen_by_a_trapping_link, kill_ends_an_untrapping_link, ending_as_kill_is_trapped,
     ending_as_kill_untrapped, two_reasons_the_first_counts, trap_exit_tells_the_old_value,
     trap_exit_given_up, parents_end_leaves_the_unlinked, parents_end_takes_the_linked,
     parents_normal_end_leaves_the_linked, child_unlinked_by_its_parent,
     spawn_link_child_dies_at_once_trapped, spawn_link_child_dies_at_once_untrapped,
     spawn_link_child_ends_normally, links_of_the_dead_are_gone].

link_to_dead_untrapped() ->
    Dead = dead(),
    fate(subject(fun() -> link(Dead) end)).

link_to_dead_trapped() ->
    Dead = dead(),
    fate(trapping(fun() -> link(Dead) end)).

link_to_self() ->
    A = trapping(fun() -> link(self()) end),
    Before = fate(A),
    finish(A, oops),
    Before ++ fate(A).

link_is_bidirectional() ->
    A = trapping(),
    B = trapping(fun() -> link(A) end),
    finish(B, oops),
    settle(),
    C = trapping(fun() -> link(A) end),
    finish(A, later),
    fate(a, A) ++ fate(b, B) ++ fate(c, C).

link_twice_one_exit() ->
    A = subject(),
    B = trapping(fun() -> link(A), link(A) end),
    finish(A, oops),
    fate(B).

unlink_then_exit() ->
    A = subject(),
    B = subject(fun() -> link(A) end),
    order(B, fun() -> unlink(A) end),
    finish(A, oops),
    fate(a, A) ++ fate(b, B).

unlink_keeps_what_has_arrived() ->
    trap(),
    A = spawn_link(fun() -> exit(oops) end),
    settle(),
    unlink(A),
    heard().

unlink_of_a_stranger() ->
    A = subject(),
    B = trapping(fun() -> unlink(A), unlink(dead()) end),
    fate(a, A) ++ fate(b, B).

link_again_after_unlink() ->
    A = subject(),
    B = trapping(fun() -> link(A), unlink(A), link(A) end),
    finish(A, oops),
    fate(B).

normal_through_a_link_untrapped() ->
    A = subject(),
    B = subject(fun() -> link(A) end),
    finish(A, normal),
    fate(a, A) ++ fate(b, B).

normal_through_a_link_trapped() ->
    A = subject(),
    B = trapping(fun() -> link(A) end),
    finish(A, normal),
    fate(B).

shutdown_through_a_link_untrapped() ->
    A = subject(),
    B = subject(fun() -> link(A) end),
    finish(A, shutdown),
    fate(B).

chain() ->
    A = subject(),
    B = subject(fun() -> link(A) end),
    C = subject(fun() -> link(B) end),
    D = trapping(fun() -> link(C) end),
    {A, B, C, D}.

reason_goes_along_a_chain() ->
    {A, B, C, D} = chain(),
    finish(A, oops),
    fate(a, A) ++ fate(b, B) ++ fate(c, C) ++ fate(d, D).

normal_stops_at_the_first_link() ->
    {A, B, C, D} = chain(),
    finish(A, normal),
    fate(a, A) ++ fate(b, B) ++ fate(c, C) ++ fate(d, D).

panic_through_a_link_untrapped() ->
    A = subject(),
    B = subject(fun() -> link(A) end),
    crash(A),
    fate(a, A) ++ fate(b, B).

panic_through_a_link_trapped() ->
    A = subject(),
    B = trapping(fun() -> link(A) end),
    crash(A),
    fate(B).

exit_normal_to_other_untrapped() ->
    A = subject(),
    exit(A, normal),
    fate(A).

exit_normal_to_other_trapped() ->
    A = trapping(),
    exit(A, normal),
    fate(A).

exit_normal_to_a_linked_other() ->
    A = subject(),
    B = subject(fun() -> link(A) end),
    order(B, fun() -> exit(A, normal) end),
    fate(a, A) ++ fate(b, B).

exit_to_other_untrapped() ->
    A = subject(),
    exit(A, oops),
    fate(A).

exit_to_other_trapped() ->
    A = trapping(),
    exit(A, oops),
    fate(A).

exit_names_its_sender() ->
    trap(),
    Me = self(),
    A = spawn_link(fun() -> receive go -> exit(Me, first), exit(second) end end),
    A ! go,
    [receive {'EXIT', A, Reason} -> atom_to_list(Reason) ++ " of a" end || _ <- [1, 2]].

exit_to_dead() -> [exit(dead(), oops)].

exit_normal_to_self_untrapped() ->
    A = subject(),
    A ! {order, fun() -> exit(self(), normal) end},
    [E || E <- fate(A)].

exit_to_self_trapped() ->
    A = trapping(fun() -> exit(self(), oops) end),
    fate(A).

exit_to_self_runs_no_further() ->
    Me = self(),
    A = subject(fun() -> exit(self(), oops), Me ! further end),
    fate(A) ++ heard().

kill_through_trap() ->
    A = trapping(),
    exit(A, kill),
    fate(A).

kill_to_self_through_trap() ->
    A = trapping(fun() -> exit(self(), kill) end),
    fate(A).

kill_seen_by_a_trapping_link() ->
    A = trapping(),
    B = trapping(fun() -> link(A) end),
    exit(A, kill),
    fate(B).

kill_ends_an_untrapping_link() ->
    A = trapping(),
    B = subject(fun() -> link(A) end),
    C = trapping(fun() -> link(B) end),
    exit(A, kill),
    fate(b, B) ++ fate(c, C).

%% Only exit/2 kills: who ends with the reason that a kill leaves behind can be trapped.
ending_as_kill_is_trapped() ->
    A = subject(),
    B = trapping(fun() -> link(A) end),
    finish(A, killed),
    fate(a, A) ++ fate(b, B).

ending_as_kill_untrapped() ->
    A = subject(),
    B = subject(fun() -> link(A) end),
    finish(A, killed),
    fate(B).

two_reasons_the_first_counts() ->
    A = subject(),
    exit(A, first),
    exit(A, second),
    fate(A).

trap_exit_tells_the_old_value() ->
    A = subject(),
    [order(A, fun() -> process_flag(trap_exit, Trap) end) || Trap <- [true, true, false, false]].

trap_exit_given_up() ->
    A = trapping(),
    exit(A, first),
    Before = fate(A),
    order(A, fun() -> process_flag(trap_exit, false) end),
    exit(A, second),
    Before ++ fate(A).

parents_end_leaves_the_unlinked() ->
    Me = self(),
    A = subject(fun() -> Me ! {child, spawn(fun() -> receive stop -> ok end end)} end),
    Child = receive {child, Pid} -> Pid end,
    finish(A, oops),
    fate(A) ++ [is_process_alive(Child)].

spawn_link_child_dies_at_once_trapped() ->
    fate(trapping(fun() -> spawn_link(fun() -> exit(oops) end) end)).

spawn_link_child_dies_at_once_untrapped() ->
    fate(subject(fun() -> spawn_link(fun() -> exit(oops) end) end)).

spawn_link_child_ends_normally() ->
    fate(subject(fun() -> spawn_link(fun() -> ok end) end)).

links_of_the_dead_are_gone() ->
    A = subject(),
    B = trapping(fun() -> link(A) end),
    finish(A, oops),
    Before = fate(B),
    finish(B, later),
    Before ++ fate(B) ++ [is_process_alive(A)].

exit_signals_in_order() ->
    A = trapping(),
    [exit(A, Reason) || Reason <- [first, second, third]],
    fate(A).

exit_killed_is_no_kill() ->
    A = trapping(),
    exit(A, killed),
    fate(A).

%% Whatever it waits for.
exit_while_it_calls() ->
    B = spawn(fun() -> receive stop -> ok end end),
    {A, Ref} = spawn_monitor(fun() -> gen_server:call(B, request, infinity) end),
    settle(),
    exit(A, oops),
    receive {'DOWN', Ref, process, A, Reason} -> ["ends " ++ reason(Reason), is_process_alive(B)] end.

parent_and_child() ->
    Me = self(),
    A = subject(fun() -> Me ! {child, spawn_link(fun() -> receive stop -> ok end end)} end),
    receive {child, Child} -> {A, Child} end.

parents_end_takes_the_linked() ->
    {A, Child} = parent_and_child(),
    finish(A, oops),
    fate(A) ++ [is_process_alive(Child)].

parents_normal_end_leaves_the_linked() ->
    {A, Child} = parent_and_child(),
    finish(A, normal),
    fate(A) ++ [is_process_alive(Child)].

child_unlinked_by_its_parent() ->
    {A, Child} = parent_and_child(),
    order(A, fun() -> unlink(Child) end),
    finish(A, oops),
    fate(A) ++ [is_process_alive(Child)].
