%% The games of the mesh, played by two Erlang nodes. The far one has the processes that are played against;
%% the near one plays one game, and says its figures in one line. Both end when their stdin closes.
-module(mesh).
-export([far/0, near/0]).

-define(FAR, 'far@127.0.0.1').

far() ->
    register(echo, spawn(fun echo/0)),
    register(server, spawn(fun server/0)),
    register(sink, spawn(fun() -> sink(0) end)),
    ready().

ready() ->
    io:format("ready~n"),
    spawn(fun last_word/0).

%% What is told in the first line is not needed; the end is.
last_word() ->
    case io:get_line("") of
        eof -> halt(0);
        {error, _} -> halt(0);
        _ -> last_word()
    end.

echo() ->
    receive {From, Ball} -> From ! Ball end,
    echo().

server() ->
    receive {call, From, Ref, N} -> From ! {Ref, N + 1} end,
    server().

sink(Come) ->
    receive
        {close, From} -> From ! {come, Come}, sink(0);
        _ -> sink(Come + 1)
    end.

near() ->
    [Game, Span, Senders, Size, Clients, Pause] = init:get_plain_arguments(),
    true = net_kernel:connect_node(?FAR),
    ready(),
    [Ms, S, Bytes, C, P] = [list_to_integer(Word) || Word <- [Span, Senders, Size, Clients, Pause]],
    Figures = play(list_to_atom(Game), Ms, S, Bytes, C, P),
    io:format("~s~n", [lists:join(" ", [io_lib:format("~.6f", [float(F)]) || F <- Figures])]).

play(ping_pong, Ms, _, _, _, _) ->
    Waits = pings(Ms, 0),
    [length(Waits) * 1000 / Ms, percent(Waits, 50) / 1.0e3];
play(ping_idle, Ms, _, _, _, Pause) ->
    [percent(pings(Ms, Pause), 50) / 1.0e3];
play(call, Ms, _, _, Clients, _) ->
    {Counted, Until} = game(Ms),
    Me = self(),
    [spawn_link(fun() -> Me ! {calls, calls(Counted, Until, 0)} end) || _ <- lists:seq(1, Clients)],
    Calls = lists:sum([receive {calls, N} -> N end || _ <- lists:seq(1, Clients)]),
    [Calls * 1000 / Ms];
play(one_way, Ms, Senders, Bytes, _, _) ->
    Item = case Bytes of 8 -> 1234; _ -> binary:copy(<<7>>, Bytes) end,
    pour(Ms div 5, Senders, Item),
    {N, Took} = pour(Ms, Senders, Item),
    [N * 1.0e9 / Took];
play(stream, Ms, _, Bytes, _, _) ->
    Item = binary:copy(<<7>>, Bytes),
    pour(Ms div 5, 1, Item),
    [gib(pour(Ms, 1, Item), Bytes)];
play(ping_under_stream, Ms, _, Bytes, _, _) ->
    Item = binary:copy(<<7>>, Bytes),
    Me = self(),
    spawn_link(fun() -> Me ! {poured, pour(Ms * 6 div 5, 1, Item)} end),
    Waits = pings(Ms, 0),
    Poured = receive {poured, Told} -> Told end,
    [percent(Waits, At) / 1.0e6 || At <- [50, 99, 100]] ++ [gib(Poured, Bytes)].

now_ns() -> erlang:monotonic_time(nanosecond).

game(Ms) ->
    Counted = now_ns() + Ms * 200000,
    {Counted, Counted + Ms * 1000000}.

pings(Ms, Pause) ->
    {Counted, Until} = game(Ms),
    {echo, ?FAR} ! {self(), 0},
    receive 0 -> ok end,
    pings(Counted, Until, Pause, 1, []).

pings(Counted, Until, Pause, N, Waits) ->
    Sent = now_ns(),
    if
        Sent >= Until, Waits =/= [] -> Waits;
        true ->
            {echo, ?FAR} ! {self(), N},
            receive N -> ok end,
            Took = now_ns() - Sent,
            case Pause of 0 -> ok; _ -> timer:sleep(Pause) end,
            More = if Sent >= Counted -> [Took | Waits]; true -> Waits end,
            pings(Counted, Until, Pause, N + 1, More)
    end.

calls(Counted, Until, Calls) ->
    Began = now_ns(),
    if
        Began >= Until -> Calls;
        true ->
            %% As gen_server:call does it: whoever is asked is watched meanwhile.
            Ref = erlang:monitor(process, {server, ?FAR}),
            {server, ?FAR} ! {call, self(), Ref, 1},
            receive {Ref, 2} -> erlang:demonitor(Ref, [flush]) after 20000 -> exit(late) end,
            calls(Counted, Until, if Began >= Counted -> Calls + 1; true -> Calls end)
    end.

pour(Ms, Senders, Item) ->
    Began = now_ns(),
    Until = Began + Ms * 1000000,
    Me = self(),
    [spawn_link(fun() -> Me ! {sent, send(Until, Item, 0)} end) || _ <- lists:seq(1, Senders)],
    Sent = lists:sum([receive {sent, N} -> N end || _ <- lists:seq(1, Senders)]),
    {sink, ?FAR} ! {close, self()},
    receive {come, Sent} -> {Sent, now_ns() - Began} end.

send(Until, Item, Sent) ->
    case (Sent band 63 =:= 0 orelse byte_size_of(Item) > 65536) andalso now_ns() >= Until of
        true -> Sent;
        false ->
            {sink, ?FAR} ! Item,
            send(Until, Item, Sent + 1)
    end.

byte_size_of(Item) when is_binary(Item) -> byte_size(Item);
byte_size_of(_) -> 0.

gib({N, Took}, Bytes) -> N * Bytes / (1 bsl 30) / (Took / 1.0e9).

percent(Waits, At) ->
    Sorted = lists:sort(Waits),
    lists:nth((length(Sorted) - 1) * At div 100 + 1, Sorted).
