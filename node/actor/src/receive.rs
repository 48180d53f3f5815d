//! `receive!`: selective receive, as Erlang writes it.

/// Waits for the first item in the mailbox that fits one of the patterns, and leaves the others there, in
/// order.
///
/// The patterns are over [`Incoming`](crate::Incoming), whose variants `Mail`, `Down`, `Exited` and `Timeout`
/// are in scope in them. Guards see what the pattern binds by reference. An arm may `return`, `break`,
/// `continue` or `?`: no loop of this macro stands around it.
///
/// ```
/// # use quorate_actor::{Actors, Exit, Message, receive};
/// # use std::time::Duration;
/// enum Job { Small(u32), Large(u32) }
/// impl Message for Job {}
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let actors = Actors::alone();
/// let worker = actors.spawn(|mut mail| async move {
///     // The large job first, however many small ones came before it.
///     let size = receive!(mail, {
///         Mail(Job::Large(size)) if *size > 100 => size,
///         after Duration::from_secs(60) => 0,
///     });
///     let Job::Small(first) = mail.receive().await else { return Exit::because("no small job") };
///     Exit::because(format!("{size}, then {first}"))
/// });
/// let ended = actors.ended(worker.pid());
/// for job in [Job::Small(1), Job::Small(2), Job::Large(500)] {
///     worker.send(job).unwrap();
/// }
/// assert_eq!(ended.await, Exit::because("500, then 1"));
/// # }
/// ```
#[macro_export]
macro_rules! receive {
    ($mailbox:expr, { $($arms:tt)* }) => {
        $crate::__receive!(@arms $mailbox, (), (0usize), $($arms)*)
    };
}

/// Gathers the arms of [`receive!`], numbers them, and writes the two matches: one that looks, one that
/// takes.
#[doc(hidden)]
#[macro_export]
macro_rules! __receive {
    // after …, the last arm.
    (@arms $mailbox:expr, ($($arm:tt)*), ($n:expr), after $after:expr => $late:expr $(,)?) => {
        $crate::__receive!(@done $mailbox, ($($arm)*), Some($after), $late)
    };
    // An arm in braces needs no comma.
    (
        @arms $mailbox:expr, ($($arm:tt)*), ($n:expr),
        $pattern:pat $(if $guard:expr)? => $body:block, $($rest:tt)*
    ) => {
        $crate::__receive!(
            @arms $mailbox,
            ($($arm)* [($n) ($pattern) ($($guard)?) ($body)]), ($n + 1), $($rest)*
        )
    };
    (
        @arms $mailbox:expr, ($($arm:tt)*), ($n:expr),
        $pattern:pat $(if $guard:expr)? => $body:block $($rest:tt)*
    ) => {
        $crate::__receive!(
            @arms $mailbox,
            ($($arm)* [($n) ($pattern) ($($guard)?) ($body)]), ($n + 1), $($rest)*
        )
    };
    (
        @arms $mailbox:expr, ($($arm:tt)*), ($n:expr),
        $pattern:pat $(if $guard:expr)? => $body:expr, $($rest:tt)*
    ) => {
        $crate::__receive!(
            @arms $mailbox,
            ($($arm)* [($n) ($pattern) ($($guard)?) ($body)]), ($n + 1), $($rest)*
        )
    };
    (
        @arms $mailbox:expr, ($($arm:tt)*), ($n:expr),
        $pattern:pat $(if $guard:expr)? => $body:expr
    ) => {
        $crate::__receive!(
            @arms $mailbox,
            ($($arm)* [($n) ($pattern) ($($guard)?) ($body)]), ($n + 1),
        )
    };
    (@arms $mailbox:expr, ($($arm:tt)*), ($n:expr),) => {
        $crate::__receive!(@done $mailbox, ($($arm)*), None, unreachable!("it waits without end"))
    };
    (
        @done $mailbox:expr,
        ($([($n:expr) ($pattern:pat) ($($guard:expr)?) ($body:expr)])*), $after:expr, $late:expr
    ) => {{
        #[allow(unused_imports, reason = "few receives name all kinds")]
        use $crate::Incoming::{Down, Exited, Mail, Timeout};
        #[allow(unused_variables, unreachable_patterns, reason = "this match looks, the next takes")]
        let selected = $mailbox
            .select(
                |incoming| match incoming {
                    $($pattern $(if $guard)? => ::std::option::Option::Some($n),)*
                    _ => ::std::option::Option::None,
                },
                $after,
            )
            .await;
        #[allow(unused_variables, unreachable_patterns, reason = "the look decided which arm it is")]
        match selected {
            $(::std::option::Option::Some((arm, $pattern)) if arm == $n => $body,)*
            ::std::option::Option::Some(_) => unreachable!("the look found an arm"),
            ::std::option::Option::None => $late,
        }
    }};
}
