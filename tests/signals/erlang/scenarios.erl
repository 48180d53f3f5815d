%% The stage of the scenarios: runs each in a process of its own, and prints what it saw in a form that
%% another runtime can print as well (no pids, reasons as words).
%%
%% A scenario is a function without arguments that returns its events. The processes that it looks at are
%% subjects: they do what they are told with `order/2`, and report whatever else comes to them. `fate/1` asks
%% a subject what it has seen, and whether it lives.
%%
%% Not here: any scenario; they lie beside this file, one module for each file of ../src.
-module(scenarios).
-export([main/0]).
-export([subject/0, subject/1, trapping/0, trapping/1, trap/0, order/2, finish/2, crash/1]).
-export([fate/1, fate/2, dead/0, heard/0, heard/1, settle/0, ms/1, reason/1, word/1, say/2, logged/0]).

%% Absence can only be seen by waiting: this long at pace 1.
-define(SETTLE, 50).
-define(SCENARIO, 30000).

-define(MODULES, [links, monitors, order, calls, timers, names,
                  servers, statems, events, supervisors, groups, far]).

%% The first plain argument is the pace: what all durations are multiplied by, for a machine that is slow.
main() ->
    case init:get_plain_arguments() of
        [Pace | _] -> persistent_term:put(pace, list_to_integer(Pace));
        [] -> persistent_term:put(pace, 1)
    end,
    logger:set_primary_config(level, none),
    io:format("# Erlang/OTP ~s, erts ~s~n",
              [erlang:system_info(otp_release), erlang:system_info(version)]),
    [run(Module, Name) || Module <- ?MODULES, Name <- Module:all()],
    init:stop().

run(Module, Name) ->
    {Pid, Ref} = spawn_monitor(fun() -> exit({events, Module:Name()}) end),
    Events = receive
        {'DOWN', Ref, process, Pid, {events, Said}} -> Said;
        {'DOWN', Ref, process, Pid, Other} -> ["BROKEN " ++ word(Other)]
    after ms(?SCENARIO) ->
        exit(Pid, kill),
        ["HANGS"]
    end,
    io:format("~s: ~s~n", [Name, lists:join(", ", said(Events))]).

%% Events may lie in lists of lists.
said(Events) ->
    case lists:flatmap(fun words/1, Events) of
        [] -> ["nothing"];
        Words -> Words
    end.

words([]) -> [];
words([Char | _] = Text) when is_integer(Char) -> [Text];
words(Events) when is_list(Events) -> lists:flatmap(fun words/1, Events);
words(Event) -> [word(Event)].

%% ---- subjects

subject() -> subject(fun() -> ok end).

%% A process that does Setup, then what it is told. Returns when Setup is done, or has ended the subject.
subject(Setup) ->
    Driver = self(),
    {Pid, _} = spawn_monitor(fun() -> Setup(), Driver ! {ready, self()}, report(Driver) end),
    receive
        {ready, Pid} -> Pid
    after ms(?SETTLE) -> Pid
    end.

trapping() -> trapping(fun() -> ok end).

trapping(Setup) -> subject(fun() -> trap(), Setup() end).

trap() -> process_flag(trap_exit, true).

report(Driver) ->
    receive
        {ping, Driver} -> Driver ! {pong, self()};
        {order, Fun} -> Driver ! {done, self(), Fun()};
        News -> Driver ! {saw, self(), event(News)}
    end,
    report(Driver).

%% Has the subject run Fun, and returns its value.
order(Pid, Fun) ->
    Pid ! {order, Fun},
    receive {done, Pid, Value} -> Value end.

%% Has the subject end by itself.
finish(Pid, Reason) -> Pid ! {order, fun() -> exit(Reason) end}, ok.

crash(Pid) -> Pid ! {order, fun() -> error(boom) end}, ok.

%% What the subject saw until now, in order, and whether it lives.
fate(Pid) -> settle(), Pid ! {ping, self()}, fates(Pid).

fate(Name, Pid) -> [word(Name) ++ " " ++ Event || Event <- fate(Pid)].

fates(Pid) ->
    receive
        {saw, Pid, Event} -> [Event | fates(Pid)];
        {pong, Pid} -> ["lives"];
        {'DOWN', _, process, Pid, Reason} -> ["ends " ++ reason(Reason)]
    end.

%% A pid whose process has ended.
dead() ->
    {Pid, Ref} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Ref, process, Pid, normal} -> Pid end.

%% ---- the scenario's own mailbox

settle() -> receive after ms(?SETTLE) -> ok end.

ms(Milliseconds) -> Milliseconds * persistent_term:get(pace).

heard() -> heard(#{}).

%% All that lies in the caller's mailbox, in order; monitors by the names given.
heard(Names) -> settle(), drain(Names).

drain(Names) ->
    receive
        {'DOWN', Ref, process, _, Reason} when is_map_key(Ref, Names) ->
            ["down " ++ word(maps:get(Ref, Names)) ++ " " ++ reason(Reason) | drain(Names)];
        News -> [event(News) | drain(Names)]
    after 0 -> []
    end.

%% ---- a log, for processes that others start

say(Driver, Event) -> Driver ! {log, Event}.

%% What was logged to the caller until now.
logged() -> settle(), log().

log() ->
    receive {log, Event} -> [word(Event) | log()]
    after 0 -> []
    end.

%% ---- words

event({'EXIT', _, Reason}) -> "exit " ++ reason(Reason);
event({'DOWN', _, process, _, Reason}) -> "down " ++ reason(Reason);
event(Mail) -> "mail " ++ word(Mail).

reason({Reason, [{_, _, _, _} | _]}) -> "panic " ++ word(Reason);
reason({shutdown, _}) -> "shutdown";
reason(Reason) -> word(Reason).

word(Text) when is_list(Text) -> Text;
word(Atom) when is_atom(Atom) -> atom_to_list(Atom);
word(Other) -> lists:flatten(io_lib:format("~0p", [Other])).
