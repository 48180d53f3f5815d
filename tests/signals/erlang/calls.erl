%% Calls: an alias for the answer, so that a late one falls away.
-module(calls).
-include("stage.hrl").

all() ->
    [call_is_answered, call_to_the_dead, call_while_the_other_ends, call_while_the_other_panics,
     call_in_vain, call_late_answer_falls_away, call_answered_by_another, call_leaves_no_down_behind,
     call_dropped_unanswered, calls_answered_out_of_order, call_whose_caller_has_ended].

%% A call as OTP makes it: a monitor with an alias. Fails with a word.
call(Pid, Request, Within) ->
    Ref = monitor(process, Pid, [{alias, reply_demonitor}]),
    Pid ! {Request, self(), Ref},
    receive
        {Ref, Answer} -> Answer;
        {'DOWN', Ref, process, Pid, _} -> noproc
    after Within ->
        demonitor(Ref, [flush]),
        timeout
    end.

reply(Ref, Answer) -> Ref ! {Ref, Answer}.

server(Fun) -> spawn(fun() -> receive {Request, _, Ref} -> Fun(Request, Ref) end end).

call_is_answered() ->
    [call(server(fun(N, Ref) -> reply(Ref, N + 1) end), 41, ms(5000)) | heard()].

call_to_the_dead() -> [call(dead(), 1, ms(5000)) | heard()].

call_while_the_other_ends() ->
    [call(server(fun(_, _) -> exit(oops) end), 1, ms(5000)) | heard()].

call_while_the_other_panics() ->
    [call(server(fun(_, _) -> error(boom) end), 1, ms(5000)) | heard()].

call_in_vain() ->
    A = server(fun(_, _) -> receive stop -> ok end end),
    [call(A, 1, ms(50)) | heard()].

call_late_answer_falls_away() ->
    Me = self(),
    A = server(fun(N, Ref) -> receive late -> reply(Ref, N), Me ! answered end end),
    Said = call(A, 1, ms(50)),
    A ! late,
    [Said | heard()].

call_answered_by_another() ->
    A = server(fun(N, Ref) -> spawn(fun() -> reply(Ref, N + 1) end), receive stop -> ok end end),
    [call(A, 41, ms(5000)) | heard()].

call_leaves_no_down_behind() ->
    A = server(fun(N, Ref) -> reply(Ref, N), exit(oops) end),
    [call(A, 1, ms(5000)) | heard()].

%% The server forgets the request and lives on.
call_dropped_unanswered() ->
    A = server(fun(_, _) -> receive stop -> ok end end),
    [call(A, 1, ms(200)) | heard()].

calls_answered_out_of_order() ->
    Me = self(),
    Server = spawn(fun() ->
        receive {first, _, First} -> receive {second, _, Second} -> reply(Second, 2), reply(First, 1) end end,
        receive stop -> ok end
    end),
    spawn(fun() -> Me ! {first, call(Server, first, ms(5000))} end),
    settle(),
    spawn(fun() -> Me ! {second, call(Server, second, ms(5000))} end),
    [receive {first, N} -> N end, receive {second, M} -> M end].

call_whose_caller_has_ended() ->
    Me = self(),
    A = server(fun(N, Ref) -> receive late -> reply(Ref, N), Me ! answered, receive stop -> ok end end end),
    B = spawn(fun() -> call(A, 1, ms(5000)) end),
    settle(),
    exit(B, kill),
    settle(),
    A ! late,
    heard() ++ [is_process_alive(A)].
