%% Local names.
-module(names).
-include("stage.hrl").

all() ->
    [name_is_found, name_unknown, name_freed_at_death, name_is_free_when_down_arrives, name_taken,
     name_taken_by_itself, name_for_the_dead, name_again_after_death, name_given_up,
     name_given_up_unknown, second_name_for_a_process, name_is_listed].

try_register(Name, Pid) ->
    try register(Name, Pid) catch error:badarg -> refused end.

try_unregister(Name) ->
    try unregister(Name) catch error:badarg -> false end.

found(Name, Pid) ->
    case whereis(Name) of
        Pid -> found;
        undefined -> unknown;
        _ -> another
    end.

name_is_found() ->
    A = subject(),
    [try_register(till, A), found(till, A) | free(A)].

%% Ends the subject, so that the next scenario finds the name free.
free(A) -> finish(A, normal), fate(A), [].

name_unknown() -> [found(nobody, self())].

name_freed_at_death() ->
    A = subject(),
    register(till, A),
    finish(A, oops),
    fate(A) ++ [found(till, A)].

name_is_free_when_down_arrives() ->
    {A, Ref} = spawn_monitor(fun() -> receive stop -> ok end end),
    register(till, A),
    A ! stop,
    receive {'DOWN', Ref, process, A, normal} -> [found(till, A)] end.

name_taken() ->
    A = subject(),
    B = subject(),
    register(till, A),
    [try_register(till, B), found(till, A)] ++ free(A) ++ free(B).

name_taken_by_itself() ->
    A = subject(),
    register(till, A),
    [try_register(till, A) | free(A)].

name_for_the_dead() -> [try_register(till, dead()), found(till, self())].

name_again_after_death() ->
    A = subject(),
    register(till, A),
    free(A),
    B = subject(),
    [try_register(till, B), found(till, B) | free(B)].

name_given_up() ->
    A = subject(),
    register(till, A),
    Said = try_unregister(till),
    [Said, found(till, A)] ++ fate(A).

name_given_up_unknown() -> [try_unregister(nobody)].

second_name_for_a_process() ->
    A = subject(),
    register(till, A),
    Said = try_register(counter, A),
    [Said | free(A)].

name_is_listed() ->
    A = subject(),
    register(till, A),
    Before = lists:member(till, registered()),
    free(A),
    [Before, lists:member(till, registered())].
