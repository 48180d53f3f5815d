//! Process groups.

use quorate_otp::{GroupNews, Groups, GroupsError, Membership};
use quorate_vocab::Pid;

use crate::stage::{Events, Note, Stage, Subject, all, finish, oops, scenarios, words};

scenarios![
    group_join_and_leave,
    group_of_nobody,
    group_joined_twice_counts_twice,
    group_left_once_of_twice,
    group_left_by_a_stranger,
    group_left_at_death,
    group_left_twice_at_death,
    group_of_several,
    groups_with_members,
    group_news,
];

async fn groups(on: &Stage) -> Groups {
    let groups = Groups::new();
    groups.start(&on.actors()).await.expect("the keeper starts");
    groups
}

async fn join(groups: &Groups, subject: &Subject) -> String {
    said(groups.join("tellers", subject.pid()).await)
}

async fn leave(groups: &Groups, subject: &Subject) -> String {
    said(groups.leave("tellers", subject.pid()).await)
}

fn said(done: Result<(), GroupsError>) -> String {
    match done {
        Ok(()) => "ok".to_owned(),
        Err(GroupsError::NotJoined(_)) => "not_joined".to_owned(),
        Err(other) => other.to_string(),
    }
}

/// How often each of the processes is a member, by its letter.
fn members(groups: &Groups, named: &[(Pid, &str)]) -> String {
    let letter =
        |pid: Pid| named.iter().find(|(known, _)| *known == pid).map_or("?", |(_, name)| name);
    let mut letters: Vec<&str> = groups.members("tellers").into_iter().map(letter).collect();
    letters.sort_unstable();
    format!("members [{}]", letters.join(" "))
}

async fn group_join_and_leave(mut on: Stage) -> Events {
    let (s, a) = (groups(&on).await, on.subject().await);
    let joined = join(&s, &a).await;
    let there = members(&s, &[(a.pid(), "a")]);
    vec![joined, there, leave(&s, &a).await, members(&s, &[])]
}

async fn group_of_nobody(on: Stage) -> Events {
    vec![members(&groups(&on).await, &[])]
}

async fn group_joined_twice_counts_twice(mut on: Stage) -> Events {
    let (s, a) = (groups(&on).await, on.subject().await);
    join(&s, &a).await;
    join(&s, &a).await;
    vec![members(&s, &[(a.pid(), "a")])]
}

async fn group_left_once_of_twice(mut on: Stage) -> Events {
    let (s, a) = (groups(&on).await, on.subject().await);
    join(&s, &a).await;
    join(&s, &a).await;
    leave(&s, &a).await;
    vec![members(&s, &[(a.pid(), "a")])]
}

async fn group_left_by_a_stranger(mut on: Stage) -> Events {
    let (s, a) = (groups(&on).await, on.subject().await);
    vec![leave(&s, &a).await]
}

async fn group_left_at_death(mut on: Stage) -> Events {
    let (s, a, b) = (groups(&on).await, on.subject().await, on.subject().await);
    join(&s, &a).await;
    join(&s, &b).await;
    finish(&a, oops());
    on.fate(&a).await;
    vec![members(&s, &[(b.pid(), "b")])]
}

async fn group_left_twice_at_death(mut on: Stage) -> Events {
    let (s, a) = (groups(&on).await, on.subject().await);
    join(&s, &a).await;
    join(&s, &a).await;
    finish(&a, oops());
    on.fate(&a).await;
    vec![members(&s, &[])]
}

async fn group_of_several(mut on: Stage) -> Events {
    let (s, a, b) = (groups(&on).await, on.subject().await, on.subject().await);
    for subject in [&a, &b, &a] {
        join(&s, subject).await;
    }
    vec![members(&s, &[(a.pid(), "a"), (b.pid(), "b")])]
}

async fn groups_with_members(mut on: Stage) -> Events {
    let (s, a, b) = (groups(&on).await, on.subject().await, on.subject().await);
    join(&s, &a).await;
    s.join("guards", b.pid()).await.expect("it lives");
    let mut before = words(s.which_groups());
    before.sort();
    s.leave("guards", b.pid()).await.expect("it had joined");
    all([before, words(["then"]), words(s.which_groups())])
}

async fn group_news(mut on: Stage) -> Events {
    let (s, a) = (groups(&on).await, on.subject().await);
    let pid = a.pid();
    let note = move |news: GroupNews| {
        let what = if news.now == Membership::Joined { "joined" } else { "left" };
        let whose = if news.pids == [pid] { "" } else { " by another" };
        Note::Log(format!("{what} {}{whose}", news.group))
    };
    let (_, before) = s.subscribe("tellers", on.me.addr(), note).await.expect("the keeper lives");
    assert_eq!(before, []);
    join(&s, &a).await;
    s.join("guards", pid).await.expect("it lives");
    finish(&a, oops());
    on.settle().await;
    on.logged().await
}
