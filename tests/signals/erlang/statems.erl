%% State machines: gen_statem. One machine, a door: `shut` puts off who comes, `open` lets them in.
-module(statems).
-behaviour(gen_statem).
-include("stage.hrl").

all() ->
    [statem_enters_its_first_state, statem_enters_a_new_state, statem_same_state_is_not_entered,
     statem_repeated_state_is_entered, statem_postpones_in_order,
     statem_postponed_come_before_the_mailbox, statem_postponed_wait_for_a_change,
     statem_same_state_is_no_change, statem_postponed_again, statem_state_timeout,
     statem_state_timeout_cancelled_by_a_change, statem_state_timeout_survives_events,
     statem_state_timeout_set_anew, statem_event_timeout, statem_event_timeout_cancelled_by_an_event,
     statem_generic_timeout_survives_a_change, statem_generic_timeout_cancelled,
     statem_generic_timeouts_by_name, statem_enter_before_postponed, statem_raised_before_postponed,
     statem_timeout_of_no_time, statem_stops_with_a_reason, statem_answers_a_call].

callback_mode() -> [handle_event_function, state_enter].

init(Driver) -> {ok, shut, Driver}.

handle_event(enter, _, State, Driver) -> tell(Driver, "enter", State);
handle_event(state_timeout, Word, State, Driver) -> tell(Driver, Word, State);
handle_event(timeout, Word, State, Driver) -> tell(Driver, Word, State);
handle_event({timeout, Name}, Word, State, Driver) -> tell(Driver, word(Word) ++ " " ++ word(Name), State);
handle_event({call, From}, ask, State, _) -> {keep_state_and_data, [{reply, From, State}]};
handle_event(internal, Word, State, Driver) -> tell(Driver, "raised " ++ word(Word), State);
handle_event(cast, nap, _, _) -> settle(), keep_state_and_data;
handle_event(cast, {go, State}, _, Driver) -> {next_state, State, Driver};
handle_event(cast, {go, State, Actions}, _, Driver) -> {next_state, State, Driver, Actions};
handle_event(cast, repeat, _, _) -> repeat_state_and_data;
handle_event(cast, {set, Actions}, _, _) -> {keep_state_and_data, Actions};
handle_event(cast, {stop, Reason}, _, _) -> {stop, Reason};
handle_event(cast, {visit, _}, State, _) when State =/= open -> {keep_state_and_data, [postpone]};
handle_event(cast, {visit, N}, State, Driver) -> tell(Driver, "visit " ++ word(N), State);
handle_event(cast, Word, State, Driver) -> tell(Driver, Word, State), keep_state_and_data.

terminate(Reason, State, Driver) -> tell(Driver, "terminate " ++ reason(Reason), State).

tell(Driver, Word, State) ->
    say(Driver, word(Word) ++ " in " ++ word(State)),
    keep_state_and_data.

machine() -> {ok, Pid} = gen_statem:start(?MODULE, self(), []), Pid.

%% Sends all while the machine naps, so that they lie in its mailbox together; tells what it did.
run(Events) -> run(machine(), Events).

run(Pid, Events) ->
    [gen_statem:cast(Pid, Event) || Event <- [nap | Events]],
    settle(),
    logged().

%% As `run`, until all timers of the scenario had their time.
run_long(Events) -> run(Events) ++ logged() ++ logged() ++ logged().

statem_enters_its_first_state() -> machine(), logged().

statem_enters_a_new_state() -> run([{go, open}, {go, shut}]).

statem_same_state_is_not_entered() -> run([{go, shut}]).

statem_repeated_state_is_entered() -> run([repeat]).

statem_postpones_in_order() -> run([{visit, 1}, {visit, 2}, {visit, 3}, {go, open}]).

statem_postponed_come_before_the_mailbox() -> run([{visit, 1}, {visit, 2}, {go, open}, {visit, 3}, knock]).

statem_postponed_wait_for_a_change() -> run([{visit, 1}, knock, knock]).

statem_same_state_is_no_change() -> run([{visit, 1}, {go, shut}, knock, {go, open}]).

statem_postponed_again() -> run([{visit, 1}, {go, ajar}, {visit, 2}, knock, {go, open}]).

statem_state_timeout() -> run_long([{go, open, [{state_timeout, ms(10), late}]}]).

statem_state_timeout_cancelled_by_a_change() ->
    run_long([{go, open, [{state_timeout, ms(40), late}]}, {go, shut}]).

statem_state_timeout_survives_events() -> run_long([{set, [{state_timeout, ms(30), late}]}, knock]).

statem_state_timeout_set_anew() ->
    run_long([{set, [{state_timeout, ms(10), late}]}, {set, [{state_timeout, ms(40), late}]}]).

statem_event_timeout() -> run_long([{set, [{timeout, ms(10), quiet}]}]).

statem_event_timeout_cancelled_by_an_event() -> run_long([{set, [{timeout, ms(30), quiet}]}, knock]).

statem_generic_timeout_survives_a_change() ->
    run_long([{set, [{{timeout, a}, ms(30), late}]}, {go, open}, knock]).

statem_generic_timeout_cancelled() ->
    run_long([{set, [{{timeout, a}, ms(30), late}]}, {set, [{{timeout, a}, cancel}]}]).

statem_generic_timeouts_by_name() ->
    run_long([{set, [{{timeout, a}, ms(80), late}, {{timeout, b}, ms(20), late}]}]).

statem_enter_before_postponed() -> run([{visit, 1}, {go, open}, {go, shut}]).

statem_stops_with_a_reason() ->
    A = machine(),
    Ref = monitor(process, A),
    gen_statem:cast(A, {stop, oops}),
    receive {'DOWN', Ref, _, _, Reason} -> logged() ++ ["ends " ++ reason(Reason)] end.

statem_answers_a_call() ->
    A = machine(),
    First = gen_statem:call(A, ask),
    gen_statem:cast(A, {go, open}),
    [First, gen_statem:call(A, ask)].

statem_raised_before_postponed() ->
    Raised = [{next_event, internal, first}, {next_event, internal, second}],
    run([{visit, 1}, {go, open, Raised}, knock]).

statem_timeout_of_no_time() -> run([{visit, 1}, {go, open, [{state_timeout, 0, late}]}, knock]).
