%% Timers: mail that comes later, or not.
-module(timers).
-include("stage.hrl").

all() ->
    [send_after_arrives, send_after_in_order_of_time, send_after_cancelled,
     send_after_cancelled_too_late, send_after_cancelled_twice, send_after_to_the_dead,
     send_after_outlives_its_starter, send_after_zero, interval_until_cancelled, timeout_of_its_own,
     timeout_of_its_own_cancelled].

send_after_arrives() ->
    erlang:send_after(ms(20), self(), tick),
    Early = receive tick -> early after 0 -> nothing end,
    [Early, receive tick -> tick end].

send_after_in_order_of_time() ->
    [erlang:send_after(ms(N * 60), self(), N) || N <- [3, 1, 2]],
    [receive N -> N end || _ <- [1, 2, 3]].

send_after_cancelled() ->
    T = erlang:send_after(60000, self(), tick),
    [is_integer(erlang:cancel_timer(T)) | heard()].

send_after_cancelled_too_late() ->
    T = erlang:send_after(1, self(), tick),
    settle(),
    [is_integer(erlang:cancel_timer(T)) | heard()].

send_after_cancelled_twice() ->
    T = erlang:send_after(60000, self(), tick),
    [is_integer(erlang:cancel_timer(T)), is_integer(erlang:cancel_timer(T))].

send_after_to_the_dead() ->
    A = subject(),
    T = erlang:send_after(60000, A, tick),
    finish(A, normal),
    Gone = fate(A),
    erlang:send_after(1, dead(), tick),
    Gone ++ heard() ++ [is_integer(erlang:cancel_timer(T))].

send_after_outlives_its_starter() ->
    Me = self(),
    {A, Ref} = spawn_monitor(fun() -> erlang:send_after(ms(50), Me, tick) end),
    receive {'DOWN', Ref, process, A, normal} -> ok end,
    [gone, receive tick -> tick end].

send_after_zero() ->
    erlang:send_after(0, self(), tick),
    [receive tick -> tick end].

interval_until_cancelled() ->
    {ok, T} = timer:send_interval(ms(20), tick),
    Ticks = [receive tick -> tick end || _ <- [1, 2, 3]],
    {ok, cancel} = timer:cancel(T),
    settle(),
    (fun Flush() -> receive tick -> Flush() after 0 -> ok end end)(),
    Ticks ++ heard().

timeout_of_its_own() ->
    Ref = erlang:start_timer(ms(20), self(), word),
    [receive {timeout, Ref, word} -> timeout end].

timeout_of_its_own_cancelled() ->
    Ref = erlang:start_timer(ms(20), self(), word),
    [is_integer(erlang:cancel_timer(Ref)) | heard()].
