%% The order of mail and signals, and selective receive.
-module(order).
-include("stage.hrl").

all() ->
    [mail_keeps_its_order, mail_then_exit_signal, mail_then_down, exit_signal_then_mail,
     mail_then_exit_to_an_untrapping, mail_to_the_dead, selective_receive_keeps_the_others,
     selective_receive_takes_the_first_that_fits, save_queue_is_looked_at_from_its_front,
     receive_after_zero_empty, receive_after_zero_fits, receive_after_zero_fits_none,
     receive_after_keeps_the_others, receive_looks_at_signals_in_order, receive_after_zero_takes_all].

mail_keeps_its_order() ->
    Me = self(),
    spawn(fun() -> [Me ! N || N <- [1, 2, 3]] end),
    heard().

mail_then_exit_signal() ->
    trap(),
    Me = self(),
    spawn_link(fun() -> [Me ! N || N <- [1, 2, 3]], exit(oops) end),
    heard().

mail_then_down() ->
    Me = self(),
    {_, M} = spawn_monitor(fun() -> [Me ! N || N <- [1, 2, 3]], exit(oops) end),
    heard(#{M => m}).

exit_signal_then_mail() ->
    A = trapping(),
    A ! 1,
    exit(A, oops),
    A ! 2,
    fate(A).

mail_then_exit_to_an_untrapping() ->
    A = subject(),
    A ! 1,
    settle(),
    exit(A, oops),
    A ! 2,
    fate(A).

mail_to_the_dead() -> dead() ! 1, [sent].

send_five() -> [self() ! N || N <- [1, 2, 3, 4, 5]].

selective_receive_keeps_the_others() ->
    send_five(),
    receive 3 -> ok end,
    heard().

selective_receive_takes_the_first_that_fits() ->
    send_five(),
    Two = receive N when N rem 2 =:= 0 -> N end,
    Four = receive M when M rem 2 =:= 0 -> M end,
    [Two, Four | heard()].

save_queue_is_looked_at_from_its_front() ->
    send_five(),
    Five = receive 5 -> 5 end,
    self() ! 6,
    [Five, receive N -> N end, receive M when M > 3 -> M end | heard()].

receive_after_zero_empty() -> [receive N -> N after 0 -> nothing end].

receive_after_zero_fits() ->
    send_five(),
    [receive 2 -> 2 after 0 -> nothing end].

receive_after_zero_fits_none() ->
    send_five(),
    [receive 9 -> 9 after 0 -> nothing end | heard()].

receive_after_keeps_the_others() ->
    send_five(),
    [receive 9 -> 9 after ms(10) -> nothing end | heard()].

%% More than a process takes in one turn.
receive_after_zero_takes_all() ->
    [self() ! N || N <- lists:seq(1, 1000)],
    [count(0) | heard()].

count(N) -> receive Mail when is_integer(Mail) -> count(N + 1) after 0 -> N end.

receive_looks_at_signals_in_order() ->
    trap(),
    Me = self(),
    A = spawn_link(fun() -> Me ! 1, Me ! 2, exit(oops) end),
    settle(),
    First = receive {'EXIT', A, oops} -> exit; 2 -> two end,
    [First | heard()].
