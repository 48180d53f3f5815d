%% Monitors: one Down for each, also for the dead.
-module(monitors).
-include("stage.hrl").

all() ->
    [monitor_then_exit, monitor_then_normal, monitor_then_panic, monitor_then_kill, monitor_dead,
     monitor_twice_dead, two_monitors_two_downs, two_watchers_one_down_each, monitor_self,
     monitor_is_no_link, demonitor_then_exit, demonitor_one_of_two, demonitor_flushes,
     demonitor_without_flush, demonitor_tells_whether_it_was_open, demonitor_of_another_s_monitor,
     spawn_monitor_child_dies_at_once, spawn_monitor_child_ends_normally, monitor_and_link_both_tell,
     monitor_after_the_end].

monitor_then_exit() ->
    A = subject(),
    M = monitor(process, A),
    finish(A, oops),
    heard_of(A, #{M => m}).

%% A subject is monitored by its scenario already; only the monitors under test are told.
heard_of(A, Names) ->
    settle(),
    receive {'DOWN', Ref, process, A, _} when not is_map_key(Ref, Names) -> ok
    after 0 -> ok
    end,
    heard(Names).

monitor_then_normal() ->
    A = subject(),
    M = monitor(process, A),
    finish(A, normal),
    heard_of(A, #{M => m}).

monitor_then_panic() ->
    A = subject(),
    M = monitor(process, A),
    crash(A),
    heard_of(A, #{M => m}).

monitor_then_kill() ->
    A = trapping(),
    M = monitor(process, A),
    exit(A, kill),
    heard_of(A, #{M => m}).

monitor_dead() ->
    M = monitor(process, dead()),
    heard(#{M => m}).

monitor_twice_dead() ->
    A = dead(),
    M = monitor(process, A),
    N = monitor(process, A),
    lists:sort(heard(#{M => m, N => n})).

two_monitors_two_downs() ->
    A = subject(),
    M = monitor(process, A),
    N = monitor(process, A),
    finish(A, oops),
    lists:sort(heard_of(A, #{M => m, N => n})).

two_watchers_one_down_each() ->
    A = subject(),
    B = subject(fun() -> monitor(process, A) end),
    C = subject(fun() -> monitor(process, A) end),
    finish(A, oops),
    fate(b, B) ++ fate(c, C).

monitor_self() ->
    A = subject(fun() -> monitor(process, self()) end),
    Before = fate(A),
    finish(A, oops),
    Before ++ fate(A).

monitor_is_no_link() ->
    A = subject(),
    B = subject(fun() -> monitor(process, A) end),
    finish(B, oops),
    Before = fate(a, A) ++ fate(b, B),
    C = subject(fun() -> monitor(process, A) end),
    finish(A, oops),
    Before ++ fate(c, C).

demonitor_then_exit() ->
    A = subject(),
    M = monitor(process, A),
    demonitor(M),
    finish(A, oops),
    heard_of(A, #{M => m}).

demonitor_one_of_two() ->
    A = subject(),
    M = monitor(process, A),
    N = monitor(process, A),
    demonitor(M, [flush]),
    finish(A, oops),
    heard_of(A, #{M => m, N => n}).

demonitor_flushes() ->
    A = subject(),
    M = monitor(process, A),
    finish(A, oops),
    settle(),
    demonitor(M, [flush]),
    heard_of(A, #{M => m}).

demonitor_without_flush() ->
    A = subject(),
    M = monitor(process, A),
    finish(A, oops),
    settle(),
    demonitor(M),
    heard_of(A, #{M => m}).

demonitor_tells_whether_it_was_open() ->
    A = subject(),
    M = monitor(process, A),
    N = monitor(process, A),
    Open = demonitor(M, [flush, info]),
    finish(A, oops),
    settle(),
    [Open, demonitor(N, [flush, info]), demonitor(N, [flush, info])].

demonitor_of_another_s_monitor() ->
    A = subject(),
    B = subject(),
    M = order(B, fun() -> monitor(process, A) end),
    Said = try demonitor(M, [flush, info]) of Value -> Value catch error:badarg -> panic end,
    finish(A, oops),
    [Said | fate(B)].

spawn_monitor_child_dies_at_once() ->
    {_, M} = spawn_monitor(fun() -> exit(oops) end),
    heard(#{M => m}).

spawn_monitor_child_ends_normally() ->
    {_, M} = spawn_monitor(fun() -> ok end),
    heard(#{M => m}).

monitor_and_link_both_tell() ->
    trap(),
    {A, M} = spawn_opt(fun() -> receive stop -> exit(oops) end end, [link, monitor]),
    A ! stop,
    lists:sort(heard(#{M => m})).

monitor_after_the_end() ->
    A = subject(),
    B = subject(fun() -> monitor(process, A) end),
    finish(A, oops),
    Before = fate(B),
    order(B, fun() -> monitor(process, A) end),
    Before ++ fate(B).
