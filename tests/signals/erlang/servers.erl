%% Servers: gen_server.
-module(servers).
-behaviour(gen_server).
-include("stage.hrl").

all() ->
    [server_starts_after_init, server_init_refuses, server_init_panics,
     server_init_refuses_a_linked_starter, server_init_refuses_a_linked_untrapping_starter,
     server_stops_with_a_reason, server_stops_normally, server_untrapping_ends_without_a_word,
     server_trapping_ends_with_its_parent, server_trapping_ends_with_its_parent_s_normal_end,
     server_untrapping_outlives_its_parent_s_normal_end, server_trapping_is_told_of_other_exits,
     server_killed_without_a_word, server_panics_in_a_handler, server_continues_before_the_next_message,
     server_idle_timeout, server_idle_timeout_is_put_off_by_mail, server_answers_later,
     server_is_told_of_a_down, server_call_while_it_stops].

%% The server logs what happens to it; what it does is in its messages.
init({Driver, How}) ->
    say(Driver, init),
    put(driver, Driver),
    case How of
        plain -> {ok, none};
        trapping -> trap(), {ok, none};
        refusing -> {stop, oops};
        panicking -> error(boom)
    end.

handle_call(later, From, _) -> {noreply, From};
handle_call(answer, _, none) -> {reply, 42, none};
handle_call(stop, _, none) -> {stop, oops, none}.

handle_cast({stop, Reason}, State) -> {stop, Reason, State};
handle_cast(panic, _) -> error(boom);
handle_cast({continue, Word}, State) -> {noreply, State, {continue, Word}};
handle_cast(nap, State) -> settle(), {noreply, State};
handle_cast(idle, State) -> {noreply, State, ms(100)};
handle_cast({watch, Pid}, State) -> monitor(process, Pid), {noreply, State};
handle_cast(answer, From) -> gen_server:reply(From, 42), {noreply, none};
handle_cast(Word, State) -> say(get(driver), Word), {noreply, State}.

handle_continue(Word, State) -> say(get(driver), Word), {noreply, State}.

handle_info(timeout, State) -> say(get(driver), idle), {noreply, State};
handle_info({'EXIT', _, Reason}, State) ->
    say(get(driver), "exit " ++ reason(Reason)),
    {noreply, State};
handle_info({'DOWN', _, _, _, Reason}, State) ->
    say(get(driver), "down " ++ reason(Reason)),
    {noreply, State}.

terminate(Reason, _) -> say(get(driver), "terminate " ++ reason(Reason)).

start(How) -> gen_server:start(?MODULE, {self(), How}, []).

server(How) -> {ok, Pid} = start(How), Pid.

%% What the server logged, and how it ended.
told(Pid) ->
    Ref = monitor(process, Pid),
    settle(),
    End = receive {'DOWN', Ref, _, _, _} -> [] after 0 -> demonitor(Ref, [flush]), ["lives"] end,
    logged() ++ End.

%% As `told`, for a server that was monitored before it was acted on.
ended(Ref) ->
    receive {'DOWN', Ref, _, _, Reason} -> logged() ++ ["ends " ++ reason(Reason)]
    after ms(1000) -> logged() ++ ["lives"]
    end.

server_starts_after_init() ->
    {ok, _} = start(plain),
    receive {log, Event} -> [Event] after 0 -> [nothing] end.

failed({error, Reason}) -> "refused " ++ reason(Reason);
failed({ok, _}) -> "started".

server_init_refuses() -> Said = failed(start(refusing)), logged() ++ [Said | heard()].

server_init_panics() -> Said = failed(start(panicking)), logged() ++ [Said | heard()].

server_init_refuses_a_linked_starter() ->
    trap(),
    Said = failed(gen_server:start_link(?MODULE, {self(), refusing}, [])),
    logged() ++ [Said | heard()].

server_init_refuses_a_linked_untrapping_starter() ->
    Me = self(),
    A = subject(fun() -> gen_server:start_link(?MODULE, {Me, refusing}, []) end),
    logged() ++ fate(A).

server_stops_with_a_reason() ->
    A = server(plain),
    Ref = monitor(process, A),
    gen_server:cast(A, {stop, oops}),
    ended(Ref).

server_stops_normally() ->
    A = server(plain),
    Ref = monitor(process, A),
    gen_server:cast(A, {stop, normal}),
    ended(Ref).

server_untrapping_ends_without_a_word() ->
    A = server(plain),
    Ref = monitor(process, A),
    exit(A, oops),
    ended(Ref).

%% A parent that has started the server linked.
parent(How) ->
    Me = self(),
    Parent = subject(fun() ->
        {ok, Pid} = gen_server:start_link(?MODULE, {Me, How}, []),
        Me ! {server, Pid}
    end),
    receive {server, Pid} -> {Parent, Pid} end.

server_trapping_ends_with_its_parent() ->
    {Parent, A} = parent(trapping),
    Ref = monitor(process, A),
    finish(Parent, oops),
    ended(Ref).

server_trapping_is_told_of_other_exits() ->
    A = server(trapping),
    exit(A, oops),
    told(A).

server_killed_without_a_word() ->
    A = server(trapping),
    Ref = monitor(process, A),
    exit(A, kill),
    ended(Ref).

server_panics_in_a_handler() ->
    A = server(plain),
    Ref = monitor(process, A),
    gen_server:cast(A, panic),
    ended(Ref).

server_continues_before_the_next_message() ->
    A = server(plain),
    [gen_server:cast(A, Word) || Word <- [nap, {continue, continued}, next]],
    settle(),
    told(A).

server_idle_timeout() ->
    A = server(plain),
    gen_server:cast(A, idle),
    settle(), settle(), settle(),
    told(A).

server_idle_timeout_is_put_off_by_mail() ->
    A = server(plain),
    gen_server:cast(A, idle),
    gen_server:cast(A, next),
    settle(), settle(), settle(),
    told(A).

server_answers_later() ->
    A = server(plain),
    Me = self(),
    spawn(fun() -> say(Me, gen_server:call(A, later)) end),
    settle(),
    say(Me, waiting),
    gen_server:cast(A, answer),
    told(A).

server_is_told_of_a_down() ->
    A = server(plain),
    B = spawn(fun() -> receive stop -> exit(oops) end end),
    gen_server:cast(A, {watch, B}),
    settle(),
    B ! stop,
    told(A).

server_call_while_it_stops() ->
    A = server(plain),
    Said = try gen_server:call(A, stop) catch exit:{Reason, _} -> "call failed " ++ reason(Reason) end,
    logged() ++ [Said].

server_trapping_ends_with_its_parent_s_normal_end() ->
    {Parent, A} = parent(trapping),
    Ref = monitor(process, A),
    finish(Parent, normal),
    ended(Ref).

server_untrapping_outlives_its_parent_s_normal_end() ->
    {Parent, A} = parent(plain),
    Ref = monitor(process, A),
    finish(Parent, normal),
    ended(Ref).
