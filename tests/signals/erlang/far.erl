%% Signals between two nodes. What subjects of the far node report goes past the connection that is looked at:
%% a driver over there runs the stage for them, and is asked over the far node's stdin and stdout.
-module(far).
-include("stage.hrl").

all() ->
    [far_mail_keeps_its_order, far_mail_there_keeps_its_order, far_mail_then_exit_signal, far_mail_then_down,
     far_exit_signal_then_mail, far_mail_to_the_dead, far_mail_to_a_name, far_mail_to_an_unknown_name,
     far_monitor_then_exit, far_monitor_then_normal, far_monitor_then_panic, far_monitor_then_kill,
     far_monitor_dead, far_two_monitors_two_downs, far_demonitor_then_exit, far_link_then_exit_trapped,
     far_link_then_exit_untrapped, far_link_then_normal_untrapped, far_link_is_bidirectional,
     far_link_to_dead_trapped, far_link_to_dead_untrapped, far_unlink_then_exit,
     far_exit_to_other_untrapped, far_exit_to_other_trapped, far_exit_normal_to_other_untrapped,
     far_kill_through_trap, far_kill_seen_by_a_trapping_link, far_cut_told_to_monitors,
     far_cut_told_to_links, far_cut_ends_the_untrapping, far_cut_leaves_the_unlinked, far_cut_told_once,
     far_cut_after_mail, far_link_ends_with_a_cut, far_monitor_after_a_cut, far_monitor_where_no_way_leads,
     far_link_where_no_way_leads, far_node_ends_told_to_monitors, far_node_ends_told_to_links].

%% ---- the far node

%% The far node, over a new connection, and a new driver there.
far() ->
    {Peer, Node} = case persistent_term:get(?MODULE, none) of
        none -> start();
        Started -> Started
    end,
    erlang:disconnect_node(Node),
    pong = net_adm:ping(Node),
    #{peer => Peer, node => Node, driver => peer:call(Peer, ?MODULE, driver, [])}.

%% It ends with this one, by its stdin, if nothing ends it before.
start() ->
    Args = ["-pa", filename:dirname(code:which(?MODULE)), "-start_epmd", "false", "-epmd_module", "ports",
            "-kernel", "inet_dist_use_interface", "{127,0,0,1}"],
    {ok, Peer, Node} = peer:start(#{name => far, host => "127.0.0.1", longnames => true,
                                    connection => standard_io, args => Args}),
    peer:call(Peer, logger, set_primary_config, [level, none]),
    peer:call(Peer, persistent_term, put, [pace, ms(1)]),
    ports:tell(peer:call(Peer, ports, told, [])),
    persistent_term:put(?MODULE, {Peer, Node}),
    {Peer, Node}.

driver() -> spawn(fun drive/0).

drive() ->
    receive {do, From, Fun} -> From ! {did, self(), Fun()} end,
    drive().

%% Runs Fun as the driver over there, which is the driver of the subjects that it starts.
there(#{peer := Peer, driver := Driver}, Fun) -> peer:call(Peer, ?MODULE, do, [Driver, Fun]).

do(Driver, Fun) ->
    Driver ! {do, self(), Fun},
    receive {did, Driver, Value} -> Value end.

far_subject(F) -> there(F, fun() -> subject() end).

far_trapping(F) -> there(F, fun() -> trapping() end).

far_dead(F) -> there(F, fun() -> dead() end).

far_order(F, A, Fun) -> there(F, fun() -> order(A, Fun) end).

far_finish(F, A, Reason) -> there(F, fun() -> finish(A, Reason) end).

far_fate(F, A) -> settle(), there(F, fun() -> fate(A) end).

far_fate(F, Name, A) -> settle(), there(F, fun() -> fate(Name, A) end).

%% Has a subject over there send numbers to the scenario.
count(F, A, Numbers) ->
    Me = self(),
    far_order(F, A, fun() -> [Me ! N || N <- Numbers], ok end).

%% The connection breaks; the next signal makes another.
cut(#{node := Node}) ->
    settle(),
    true = erlang:disconnect_node(Node),
    settle().

%% There is no way to the other node any more.
part(#{peer := Peer, node := Node} = F) ->
    peer:call(Peer, erlang, set_cookie, [node(), 'another cookie']),
    erlang:set_cookie(Node, 'yet another one'),
    cut(F).

%% There is one again.
joined(#{peer := Peer, node := Node}, Events) ->
    peer:call(Peer, erlang, set_cookie, [node(), erlang:get_cookie()]),
    erlang:set_cookie(Node, erlang:get_cookie()),
    Events.

ends(#{peer := Peer}) ->
    settle(),
    persistent_term:erase(?MODULE),
    peer:stop(Peer),
    settle().

linked(F) ->
    A = far_subject(F),
    B = subject(fun() -> link(A) end),
    settle(),
    {A, B}.

linked_trapping(F) ->
    A = far_subject(F),
    B = trapping(fun() -> link(A) end),
    settle(),
    {A, B}.

%% ---- order

far_mail_keeps_its_order() ->
    F = far(),
    count(F, far_subject(F), [1, 2, 3]),
    heard().

far_mail_there_keeps_its_order() ->
    F = far(),
    A = far_subject(F),
    [A ! N || N <- [1, 2, 3]],
    far_fate(F, A).

far_mail_then_exit_signal() ->
    F = far(),
    trap(),
    A = far_subject(F),
    link(A),
    settle(),
    count(F, A, [1, 2, 3]),
    far_finish(F, A, oops),
    heard().

far_mail_then_down() ->
    F = far(),
    A = far_subject(F),
    M = monitor(process, A),
    settle(),
    count(F, A, [1, 2, 3]),
    far_finish(F, A, oops),
    heard(#{M => m}).

far_exit_signal_then_mail() ->
    F = far(),
    A = far_trapping(F),
    A ! 1,
    exit(A, oops),
    A ! 2,
    far_fate(F, A).

far_mail_to_the_dead() ->
    F = far(),
    far_dead(F) ! 1,
    heard().

far_mail_to_a_name() ->
    F = far(),
    A = far_subject(F),
    there(F, fun() -> register(teller, A) end),
    {teller, maps:get(node, F)} ! 1,
    far_fate(F, A).

far_mail_to_an_unknown_name() ->
    F = far(),
    {nobody, maps:get(node, F)} ! 1,
    heard().

%% ---- monitors

monitored(End) ->
    F = far(),
    A = far_trapping(F),
    M = monitor(process, A),
    settle(),
    End(F, A),
    heard(#{M => m}).

far_monitor_then_exit() -> monitored(fun(F, A) -> far_finish(F, A, oops) end).

far_monitor_then_normal() -> monitored(fun(F, A) -> far_finish(F, A, normal) end).

far_monitor_then_panic() -> monitored(fun(F, A) -> there(F, fun() -> crash(A) end) end).

far_monitor_then_kill() -> monitored(fun(_, A) -> exit(A, kill) end).

far_monitor_dead() ->
    F = far(),
    M = monitor(process, far_dead(F)),
    heard(#{M => m}).

far_two_monitors_two_downs() ->
    F = far(),
    A = far_subject(F),
    M = monitor(process, A),
    N = monitor(process, A),
    settle(),
    far_finish(F, A, oops),
    lists:sort(heard(#{M => m, N => n})).

far_demonitor_then_exit() ->
    F = far(),
    A = far_subject(F),
    M = monitor(process, A),
    settle(),
    demonitor(M),
    far_finish(F, A, oops),
    heard(#{M => m}).

%% ---- links

far_link_then_exit_trapped() ->
    F = far(),
    {A, B} = linked_trapping(F),
    far_finish(F, A, oops),
    fate(B).

far_link_then_exit_untrapped() ->
    F = far(),
    {A, B} = linked(F),
    far_finish(F, A, oops),
    fate(B).

far_link_then_normal_untrapped() ->
    F = far(),
    {A, B} = linked(F),
    far_finish(F, A, normal),
    fate(B).

far_link_is_bidirectional() ->
    F = far(),
    {A, B} = linked(F),
    finish(B, oops),
    far_fate(F, A).

far_link_to_dead_trapped() ->
    Dead = far_dead(far()),
    fate(trapping(fun() -> link(Dead) end)).

far_link_to_dead_untrapped() ->
    Dead = far_dead(far()),
    fate(subject(fun() -> link(Dead) end)).

far_unlink_then_exit() ->
    F = far(),
    {A, B} = linked(F),
    order(B, fun() -> unlink(A) end),
    far_finish(F, A, oops),
    fate(B).

%% ---- exit signals

far_exit_to_other_untrapped() ->
    F = far(),
    A = far_subject(F),
    exit(A, oops),
    far_fate(F, A).

far_exit_to_other_trapped() ->
    F = far(),
    A = far_trapping(F),
    exit(A, oops),
    far_fate(F, A).

far_exit_normal_to_other_untrapped() ->
    F = far(),
    A = far_subject(F),
    exit(A, normal),
    far_fate(F, A).

far_kill_through_trap() ->
    F = far(),
    A = far_trapping(F),
    exit(A, kill),
    far_fate(F, A).

far_kill_seen_by_a_trapping_link() ->
    {A, B} = linked_trapping(far()),
    exit(A, kill),
    fate(B).

%% ---- cuts

told_to_monitors(Break) ->
    F = far(),
    A = far_subject(F),
    M = monitor(process, A),
    N = monitor(process, A),
    Break(F),
    lists:sort(heard(#{M => m, N => n})).

far_cut_told_to_monitors() -> told_to_monitors(fun cut/1).

far_cut_told_to_links() ->
    F = far(),
    {A, B} = linked_trapping(F),
    far_order(F, A, fun() -> trap() end),
    cut(F),
    [far_fate(F, a, A), fate(b, B)].

far_cut_ends_the_untrapping() ->
    F = far(),
    {A, B} = linked(F),
    cut(F),
    [far_fate(F, a, A), fate(b, B)].

far_cut_leaves_the_unlinked() ->
    F = far(),
    A = far_subject(F),
    A ! 1,
    cut(F),
    A ! 2,
    far_fate(F, A).

far_cut_told_once() ->
    F = far(),
    A = far_subject(F),
    M = monitor(process, A),
    cut(F),
    far_finish(F, A, oops),
    pong = net_adm:ping(maps:get(node, F)),
    cut(F),
    heard(#{M => m}).

far_cut_after_mail() ->
    F = far(),
    A = far_subject(F),
    M = monitor(process, A),
    settle(),
    count(F, A, [1, 2]),
    cut(F),
    pong = net_adm:ping(maps:get(node, F)),
    count(F, A, [3, 4]),
    heard(#{M => m}).

far_link_ends_with_a_cut() ->
    F = far(),
    {A, B} = linked_trapping(F),
    far_order(F, A, fun() -> trap() end),
    cut(F),
    finish(B, later),
    far_fate(F, A).

far_monitor_after_a_cut() ->
    F = far(),
    A = far_subject(F),
    cut(F),
    M = monitor(process, A),
    settle(),
    far_finish(F, A, oops),
    heard(#{M => m}).

far_monitor_where_no_way_leads() ->
    F = far(),
    A = far_subject(F),
    part(F),
    M = monitor(process, A),
    joined(F, heard(#{M => m})).

far_link_where_no_way_leads() ->
    F = far(),
    A = far_subject(F),
    part(F),
    joined(F, fate(trapping(fun() -> link(A) end))).

%% ---- the end of a node

far_node_ends_told_to_monitors() -> told_to_monitors(fun ends/1).

far_node_ends_told_to_links() ->
    F = far(),
    {_, B} = linked_trapping(F),
    ends(F),
    fate(B).
