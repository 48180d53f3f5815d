%% Supervisors: which children are started and stopped, and in which order.
-module(supervisors).
-behaviour(supervisor).
-include("stage.hrl").

all() ->
    [supervisor_starts_in_order, supervisor_stops_in_reverse, one_for_one_restarts_the_one,
     one_for_all_restarts_all, rest_for_one_restarts_the_rest, rest_for_one_last_child,
     one_for_all_after_a_panic, permanent_normal_is_restarted, transient_normal_is_not_restarted,
     transient_shutdown_is_not_restarted, transient_crash_is_restarted, killed_child_is_restarted,
     temporary_crash_is_not_restarted, temporary_goes_with_its_siblings,
     rest_for_one_forgets_the_temporary, temporary_terminated_is_forgotten,
     transient_normal_leaves_its_siblings, intensity_exceeded, intensity_zero,
     intensity_forgets_after_its_period, intensity_one_for_all_counts_once, child_that_refuses_at_boot,
     child_that_refuses_at_restart, child_terminated_and_restarted, child_deleted, child_started_later,
     child_started_twice, child_unknown, children_counted, children_listed, brutal_kill,
     shutdown_in_vain, supervisor_killed, supervisor_ends_with_its_parent,
     supervisor_ends_with_its_parent_s_normal_end, supervisor_nested, supervisor_exit_from_a_stranger,
     dynamic_children, dynamic_temporary_is_forgotten, dynamic_stop_takes_all,
     significant_child_ends_its_supervisor].

init({Flags, Children}) -> {ok, {Flags, Children}}.

%% A child that says when it starts and when it is asked to stop.
child(Id) -> child(Id, permanent).

child(Id, Restart) -> child(Id, Restart, 5000, plain).

child(Id, Restart, Shutdown, How) ->
    Start = {?MODULE, start_child, [self(), Id, How]},
    #{id => Id, start => Start, restart => Restart, shutdown => Shutdown}.

start_child(Driver, Id, How) ->
    case refuses(Id, How) of
        true -> say(Driver, "refuse " ++ atom_to_list(Id)), {error, oops};
        false -> proc_lib:start_link(?MODULE, run_child, [Driver, Id, How])
    end.

%% A child may refuse its first starts, or all but its first.
refuses(_, refusing) -> true;
refuses(Id, {refusing_from, Table, From, To}) ->
    Nth = ets:update_counter(Table, Id, 1, {Id, 0}),
    Nth >= From andalso Nth =< To;
refuses(_, _) -> false.

run_child(Driver, Id, How) ->
    trap(),
    say(Driver, "start " ++ atom_to_list(Id)),
    Driver ! {started, Id, self()},
    proc_lib:init_ack({ok, self()}),
    serve(Driver, Id, How).

serve(Driver, Id, How) ->
    receive
        {'EXIT', _, Reason} when How =:= stubborn ->
            say(Driver, "ignore " ++ reason(Reason)), serve(Driver, Id, How);
        {'EXIT', _, Reason} -> say(Driver, "stop " ++ word(Id) ++ " " ++ reason(Reason)), exit(Reason);
        {finish, panic} -> error(boom);
        {finish, Reason} -> exit(Reason)
    end.

sup(Strategy, Children) -> sup(Strategy, 10, Children).

sup(Strategy, Intensity, Children) ->
    trap(),
    Flags = #{strategy => Strategy, intensity => Intensity, period => 60},
    {ok, Sup} = supervisor:start_link(?MODULE, {Flags, Children}),
    Sup.

%% The newest process of a child.
pid(Id) -> newest(Id, undefined).

newest(Id, Last) ->
    receive {started, Id, Pid} -> newest(Id, Pid)
    after 0 -> Last
    end.

%% Has a child end by itself, and tells what the supervisor then does.
ends(Id, Reason) ->
    pid(Id) ! {finish, Reason},
    logged().

stop(Sup) ->
    exit(Sup, shutdown),
    receive {'EXIT', Sup, Reason} -> logged() ++ ["supervisor ends " ++ reason(Reason)]
    after ms(10000) -> ["supervisor lives"]
    end.

three() -> [child(a), child(b), child(c)].

supervisor_starts_in_order() -> sup(one_for_one, three()), logged().

supervisor_stops_in_reverse() ->
    S = sup(one_for_one, three()),
    logged() ++ stop(S).

one_for_one_restarts_the_one() ->
    sup(one_for_one, three()),
    logged() ++ ends(b, oops).

one_for_all_restarts_all() ->
    sup(one_for_all, three()),
    logged() ++ ends(b, oops).

rest_for_one_restarts_the_rest() ->
    sup(rest_for_one, three()),
    logged() ++ ends(b, oops).

rest_for_one_last_child() ->
    sup(rest_for_one, three()),
    logged() ++ ends(c, oops).

one_for_all_after_a_panic() ->
    sup(one_for_all, three()),
    logged() ++ ends(a, panic).

permanent_normal_is_restarted() ->
    sup(one_for_one, three()),
    logged() ++ ends(a, normal) ++ ends(a, shutdown).

transient() -> [child(a, transient), child(b)].

transient_normal_is_not_restarted() ->
    S = sup(one_for_one, transient()),
    logged() ++ ends(a, normal) ++ stop(S).

transient_shutdown_is_not_restarted() ->
    S = sup(one_for_one, transient()),
    logged() ++ ends(a, shutdown) ++ stop(S).

transient_crash_is_restarted() ->
    sup(one_for_one, transient()),
    logged() ++ ends(a, oops) ++ ends(a, panic).

temporary_crash_is_not_restarted() ->
    S = sup(one_for_one, [child(a, temporary), child(b)]),
    logged() ++ ends(a, oops) ++ [length(supervisor:which_children(S))].

temporary_goes_with_its_siblings() ->
    S = sup(one_for_all, [child(a), child(b, temporary), child(c)]),
    logged() ++ ends(a, oops) ++ [length(supervisor:which_children(S))].

transient_normal_leaves_its_siblings() ->
    sup(one_for_all, [child(a, transient), child(b)]),
    logged() ++ ends(a, normal).

sup_end(S) ->
    receive {'EXIT', S, Reason} -> logged() ++ ["supervisor ends " ++ reason(Reason)]
    after ms(1000) -> logged() ++ ["supervisor lives"]
    end.

intensity_exceeded() ->
    S = sup(one_for_one, 2, three()),
    logged() ++ ends(b, oops) ++ ends(b, oops) ++ ends(b, oops) ++ sup_end(S).

intensity_zero() ->
    S = sup(one_for_one, 0, [child(a), child(b)]),
    logged() ++ ends(a, oops) ++ sup_end(S).

intensity_one_for_all_counts_once() ->
    S = sup(one_for_all, 1, three()),
    logged() ++ ends(b, oops) ++ ends(a, oops) ++ sup_end(S).

child_that_refuses_at_boot() ->
    trap(),
    Children = [child(a), child(b), child(c, permanent, 5000, refusing), child(d)],
    {error, Why} = supervisor:start_link(?MODULE, {#{}, Children}),
    {shutdown, {failed_to_start_child, c, oops}} = Why,
    logged() ++ ["refused oops"] ++ [E || E <- heard(), not is_started(E)].

is_started(Event) -> lists:prefix("mail {started", Event).

%% Its second and third start fail: the first restart, and the first try to repeat it.
child_that_refuses_at_restart() ->
    Table = ets:new(starts, [public]),
    sup(one_for_one, [child(a), child(b, permanent, 5000, {refusing_from, Table, 2, 3}), child(c)]),
    logged() ++ ends(b, oops).

child_terminated_and_restarted() ->
    S = sup(one_for_one, three()),
    [logged(), supervisor:terminate_child(S, b), logged(), listed(S),
     started(supervisor:restart_child(S, b)), logged()].

started({ok, _}) -> ok;
started({error, {already_started, _}}) -> already_started;
started({error, Why}) -> Why.

listed(S) ->
    Children = lists:reverse(supervisor:which_children(S)),
    [word(Id) ++ " " ++ state(Pid) || {Id, Pid, _, _} <- Children].

state(undefined) -> "stopped";
state(Pid) when is_pid(Pid) -> "runs".

child_deleted() ->
    S = sup(one_for_one, three()),
    [logged(), said(supervisor:delete_child(S, b)), supervisor:terminate_child(S, b), logged(),
     supervisor:delete_child(S, b), listed(S), said(supervisor:restart_child(S, b))].

said({error, Why}) -> Why;
said(ok) -> ok.

child_started_later() ->
    S = sup(one_for_one, [child(a)]),
    [logged(), started(supervisor:start_child(S, child(b))), logged(), stop(S)].

child_started_twice() ->
    S = sup(one_for_one, [child(a)]),
    supervisor:terminate_child(S, a),
    Present = said(supervisor:start_child(S, child(a))),
    supervisor:restart_child(S, a),
    [logged(), Present, started(supervisor:start_child(S, child(a)))].

child_unknown() ->
    S = sup(one_for_one, [child(a)]),
    [logged(), said(supervisor:terminate_child(S, x)), said(supervisor:restart_child(S, x)),
     said(supervisor:delete_child(S, x)), said(supervisor:restart_child(S, a))].

children_counted() ->
    S = sup(one_for_one, [child(a), child(b, transient), child(c, temporary)]),
    ends(b, normal),
    Counts = supervisor:count_children(S),
    [word(Key) ++ " " ++ word(proplists:get_value(Key, Counts))
     || Key <- [specs, active, workers, supervisors]].

children_listed() ->
    S = sup(one_for_one, [child(a), child(b, transient), child(c, temporary)]),
    Before = listed(S),
    ends(b, normal),
    ends(c, normal),
    [Before, then, listed(S)].

brutal_kill() ->
    S = sup(one_for_one, [child(a), child(b, permanent, brutal_kill, plain)]),
    [logged(), stop(S)].

shutdown_in_vain() ->
    S = sup(one_for_one, [child(a), child(b, permanent, ms(50), stubborn)]),
    B = monitor(process, pid(b)),
    Started = logged(),
    Stopped = stop(S),
    receive {'DOWN', B, _, _, Reason} -> [Started, Stopped, "b ends " ++ reason(Reason)] end.

supervisor_killed() ->
    S = sup(one_for_one, [child(a), child(b)]),
    Started = logged(),
    exit(S, kill),
    receive {'EXIT', S, Reason} -> ok end,
    [Started, "supervisor ends " ++ reason(Reason), lists:sort(logged())].

supervisor_ends_with_its_parent() -> parent_ends(oops).

parent_ends(Exit) ->
    Me = self(),
    {Parent, _} = spawn_monitor(fun() ->
        {ok, S} = supervisor:start_link(?MODULE, {#{}, [specs_of(Me, a), specs_of(Me, b)]}),
        Me ! {sup, S},
        receive stop -> exit(Exit) end
    end),
    S = receive {sup, Sup} -> Sup end,
    Ref = monitor(process, S),
    Parent ! stop,
    receive {'DOWN', Ref, _, _, Reason} -> logged() ++ ["supervisor ends " ++ reason(Reason)] end.

specs_of(Driver, Id) -> #{id => Id, start => {?MODULE, start_child, [Driver, Id, plain]}}.

supervisor_nested() ->
    Inner = #{id => inner, type => supervisor, shutdown => infinity,
              start => {supervisor, start_link, [?MODULE, {#{intensity => 0}, [child(b), child(c)]}]}},
    S = sup(one_for_one, [child(a), Inner, child(d)]),
    logged() ++ ends(c, oops) ++ stop(S).

%% Only the parent's exit ends it.
supervisor_exit_from_a_stranger() ->
    S = sup(one_for_one, [child(a)]),
    {Stranger, Ref} = spawn_monitor(fun() -> exit(S, oops) end),
    receive {'DOWN', Ref, _, Stranger, _} -> ok end,
    logged() ++ [is_process_alive(S)].

dynamic(Restart) ->
    Template = #{id => any, start => {?MODULE, start_child, [self()]}, restart => Restart},
    sup(simple_one_for_one, [Template]).

add(S, Id) -> {ok, Pid} = supervisor:start_child(S, [Id, plain]), Pid.

active(S) -> "active " ++ word(proplists:get_value(active, supervisor:count_children(S))).

dynamic_children() ->
    S = dynamic(permanent),
    A = add(S, a),
    add(S, b),
    Started = logged(),
    Restarted = ends(b, oops),
    ok = supervisor:terminate_child(S, A),
    [Started, Restarted, logged(), active(S)].

dynamic_temporary_is_forgotten() ->
    S = dynamic(temporary),
    add(S, a),
    add(S, b),
    [logged(), active(S), ends(a, oops), active(S)].

dynamic_stop_takes_all() ->
    S = dynamic(permanent),
    add(S, a),
    add(S, b),
    Started = logged(),
    exit(S, shutdown),
    receive {'EXIT', S, Reason} -> [Started, lists:sort(logged()), "supervisor ends " ++ reason(Reason)] end.

significant_child_ends_its_supervisor() ->
    trap(),
    Children = [child(a), (child(b, transient))#{significant => true}],
    {ok, S} = supervisor:start_link(?MODULE, {#{auto_shutdown => any_significant}, Children}),
    logged() ++ ends(b, normal) ++ sup_end(S).

killed_child_is_restarted() ->
    sup(one_for_one, transient()),
    Started = logged(),
    exit(pid(a), kill),
    [Started, logged()].

rest_for_one_forgets_the_temporary() ->
    S = sup(rest_for_one, [child(a), child(b, temporary), child(c)]),
    logged() ++ ends(a, oops) ++ [listed(S)].

temporary_terminated_is_forgotten() ->
    S = sup(one_for_one, [child(a), child(b, temporary)]),
    [logged(), supervisor:terminate_child(S, b), logged(), listed(S)].

%% Erlang counts in seconds.
intensity_forgets_after_its_period() ->
    trap(),
    {ok, S} = supervisor:start_link(?MODULE, {#{intensity => 1, period => 1}, [child(a)]}),
    First = logged() ++ ends(a, oops),
    receive after 2500 -> ok end,
    [First, ends(a, oops), is_process_alive(S)].

supervisor_ends_with_its_parent_s_normal_end() -> parent_ends(normal).
