%% Process groups: pg.
-module(groups).
-include("stage.hrl").

all() ->
    [group_join_and_leave, group_of_nobody, group_joined_twice_counts_twice, group_left_once_of_twice,
     group_left_by_a_stranger, group_left_at_death, group_left_twice_at_death, group_of_several,
     groups_with_members, group_news].

scope() -> {ok, Pid} = pg:start_link(signals), Pid.

closed(Scope) -> unlink(Scope), gen_server:stop(Scope).

%% How often each of the processes is a member, by its letter.
members(Named) ->
    Members = pg:get_members(signals, tellers),
    Letters = [proplists:get_value(Pid, Named, "?") || Pid <- Members],
    "members [" ++ lists:append(lists:join(" ", lists:sort(Letters))) ++ "]".

group_join_and_leave() ->
    S = scope(),
    A = subject(),
    Events = [pg:join(signals, tellers, A), members([{A, "a"}]), pg:leave(signals, tellers, A), members([])],
    closed(S), Events.

group_of_nobody() ->
    S = scope(),
    Events = [members([])],
    closed(S), Events.

group_joined_twice_counts_twice() ->
    S = scope(),
    A = subject(),
    pg:join(signals, tellers, A),
    pg:join(signals, tellers, A),
    Events = [members([{A, "a"}])],
    closed(S), Events.

group_left_once_of_twice() ->
    S = scope(),
    A = subject(),
    pg:join(signals, tellers, A),
    pg:join(signals, tellers, A),
    pg:leave(signals, tellers, A),
    Events = [members([{A, "a"}])],
    closed(S), Events.

group_left_by_a_stranger() ->
    S = scope(),
    A = subject(),
    Events = [pg:leave(signals, tellers, A)],
    closed(S), Events.

group_left_at_death() ->
    S = scope(),
    {A, B} = {subject(), subject()},
    pg:join(signals, tellers, [A, B]),
    finish(A, oops),
    fate(A),
    Events = [members([{B, "b"}])],
    closed(S), Events.

group_left_twice_at_death() ->
    S = scope(),
    A = subject(),
    pg:join(signals, tellers, A),
    pg:join(signals, tellers, A),
    finish(A, oops),
    fate(A),
    Events = [members([])],
    closed(S), Events.

group_of_several() ->
    S = scope(),
    {A, B} = {subject(), subject()},
    pg:join(signals, tellers, A),
    pg:join(signals, tellers, B),
    pg:join(signals, tellers, A),
    Events = [members([{A, "a"}, {B, "b"}])],
    closed(S), Events.

groups_with_members() ->
    S = scope(),
    {A, B} = {subject(), subject()},
    pg:join(signals, tellers, A),
    pg:join(signals, guards, B),
    Before = lists:sort(pg:which_groups(signals)),
    pg:leave(signals, guards, B),
    Events = Before ++ [then | pg:which_groups(signals)],
    closed(S), Events.

group_news() ->
    S = scope(),
    A = subject(),
    {_, []} = pg:monitor(signals, tellers),
    pg:join(signals, tellers, A),
    pg:join(signals, guards, A),
    finish(A, oops),
    settle(),
    Events = [news(A), news(A)],
    closed(S), Events.

news(A) ->
    receive
        {_, join, Group, [A]} -> "joined " ++ atom_to_list(Group);
        {_, leave, Group, [A]} -> "left " ++ atom_to_list(Group)
    after 0 -> "nothing"
    end.
