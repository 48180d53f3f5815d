%% Event managers: gen_event.
-module(events).
-behaviour(gen_event).
-include("stage.hrl").

all() ->
    [event_reaches_every_handler, event_to_nobody, event_sync_notify_waits,
     event_handler_removed_hears_no_more, event_handler_that_panics_is_removed,
     event_handler_leaves_by_itself, event_call_to_one_handler, event_call_to_an_unknown_handler,
     event_handler_swapped, event_supervised_handler_goes_with_its_adder,
     event_manager_s_end_ends_its_handlers].

init({{Driver, Name}, Left}) -> say(Driver, Left ++ " hands over to " ++ Name), {ok, {Driver, Name}};
init({Driver, Name}) -> {ok, {Driver, Name}}.

handle_event(panic, _) -> error(boom);
handle_event(leave, _) -> remove_handler;
handle_event({panic, Name}, {_, Name}) -> error(boom);
handle_event({leave, Name}, {_, Name}) -> remove_handler;
handle_event(Event, {Driver, Name} = State) when is_atom(Event) ->
    say(Driver, Name ++ " " ++ atom_to_list(Event)), {ok, State};
handle_event(nap, State) -> settle(), {ok, State};
handle_event(_, State) -> {ok, State}.

handle_call(name, {_, Name} = State) -> {ok, Name, State}.

terminate(swap, {_, Name}) -> Name;
terminate(Reason, {Driver, Name}) -> say(Driver, Name ++ " goes " ++ why(Reason)), Name ++ " left".

why({error, _}) -> "panic";
why({stop, Reason}) -> "stop " ++ reason(Reason);
why(remove_handler) -> "leave";
why([]) -> "removed";
why(Reason) -> reason(Reason).

manager(Names) ->
    {ok, Pid} = gen_event:start(),
    [ok = add(Pid, Name) || Name <- Names],
    Pid.

add(Pid, Name) -> gen_event:add_handler(Pid, {?MODULE, Name}, {self(), Name}).

event_reaches_every_handler() ->
    A = manager(["a", "b"]),
    gen_event:notify(A, one),
    gen_event:notify(A, two),
    logged().

event_to_nobody() ->
    A = manager([]),
    [gen_event:sync_notify(A, one), is_process_alive(A) | logged()].

event_sync_notify_waits() ->
    A = manager(["a"]),
    gen_event:sync_notify(A, one),
    receive {log, Event} -> [Event] after 0 -> [nothing] end.

event_handler_removed_hears_no_more() ->
    A = manager(["a", "b"]),
    Said = gen_event:delete_handler(A, {?MODULE, "a"}, []),
    gen_event:sync_notify(A, two),
    logged() ++ [Said].

event_handler_that_panics_is_removed() ->
    A = manager(["a", "b"]),
    gen_event:sync_notify(A, {panic, "a"}),
    gen_event:sync_notify(A, one),
    logged() ++ [is_process_alive(A)].

event_handler_leaves_by_itself() ->
    A = manager(["a", "b"]),
    gen_event:sync_notify(A, {leave, "a"}),
    gen_event:sync_notify(A, one),
    logged().

event_call_to_one_handler() ->
    A = manager(["a", "b"]),
    [gen_event:call(A, {?MODULE, "b"}, name) | logged()].

event_call_to_an_unknown_handler() ->
    A = manager(["a"]),
    gen_event:delete_handler(A, {?MODULE, "a"}, []),
    {error, bad_module} = gen_event:call(A, {?MODULE, "a"}, name),
    logged() ++ ["no such handler"].

event_handler_swapped() ->
    A = manager(["a"]),
    ok = gen_event:swap_handler(A, {{?MODULE, "a"}, swap}, {{?MODULE, "b"}, {self(), "b"}}),
    gen_event:sync_notify(A, one),
    logged().

event_supervised_handler_goes_with_its_adder() ->
    A = manager(["a"]),
    B = subject(),
    Me = self(),
    ok = order(B, fun() -> gen_event:add_sup_handler(A, {?MODULE, "b"}, {Me, "b"}) end),
    finish(B, oops),
    fate(B),
    gen_event:sync_notify(A, two),
    logged().

event_manager_s_end_ends_its_handlers() ->
    A = manager(["a", "b"]),
    gen_event:stop(A),
    lists:sort(logged()) ++ [is_process_alive(A)].
