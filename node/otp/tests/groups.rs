//! Stories of process groups: who is in, who is told, and what survives.

use crate::family;

use std::sync::Arc;

use family::soon;
use quorate_actor::{Actors, Addr, Capacity, Exit, Mailbox, Message, ReplyTo, Spawn};
use quorate_otp::{GroupNews, Groups, GroupsError, Membership, Supervisor};
use quorate_vocab::{NodeId, Pid};
use tokio::sync::mpsc;

/// A process that ends when it is told to.
fn member(actors: &Actors) -> Addr<()> {
    actors.spawn(|mut mailbox: Mailbox<()>| async move {
        mailbox.receive().await;
        Exit::Normal
    })
}

struct News(GroupNews);

impl Message for News {}

/// A process that passes on what it hears.
fn listener(actors: &Actors) -> (Addr<News>, mpsc::Receiver<String>) {
    let (heard, hears) = mpsc::channel(1000);
    let addr = actors.spawn(move |mut mailbox: Mailbox<News>| async move {
        loop {
            let News(GroupNews { group, now, pids, lost }) = mailbox.receive().await;
            let pids: Vec<u64> = pids.iter().map(|pid| pid.serial).collect();
            let lost = if lost > 0 { format!(", {lost} lost") } else { String::new() };
            if heard.send(format!("{group}: {now:?} {pids:?}{lost}")).await.is_err() {
                return Exit::Normal;
            }
        }
    });
    (addr, hears)
}

async fn hear(hears: &mut mpsc::Receiver<String>) -> String {
    soon(hears.recv()).await.expect("it listens")
}

async fn groups(actors: &Actors) -> Groups {
    let groups = Groups::new();
    soon(groups.start(actors)).await.unwrap();
    groups
}

/// Ends a member, and waits until the usher has had the news.
async fn end(actors: &Actors, groups: &Groups, member: &Addr<()>) {
    let ended = actors.ended(member.pid());
    member.send(()).unwrap();
    soon(ended).await;
    // It was told before we were; whatever it is asked now comes later.
    let stranger = groups.leave("nobody's", member.pid());
    assert_eq!(soon(stranger).await, Err(GroupsError::NotJoined(member.pid())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_join_as_often_as_they_like_and_leave_as_often_as_they_joined() {
    let actors = Actors::alone();
    let groups = groups(&actors).await;
    let (a, b) = (member(&actors).pid(), member(&actors).pid());
    for (group, pid) in [("red", a), ("red", b), ("red", a), ("blue", b)] {
        soon(groups.join(group, pid)).await.unwrap();
    }
    assert_eq!(groups.members("red"), [a, a, b]);
    assert_eq!(groups.members("blue"), [b]);
    assert_eq!(groups.members("green"), []);
    assert_eq!(groups.which_groups(), ["blue".into(), "red".into()] as [Arc<str>; 2]);
    assert_eq!(groups.members_on(a.node, "red"), [a, a, b]);
    assert_eq!(groups.members_on(NodeId(a.node.0 + 1), "red"), []);

    assert_eq!(soon(groups.leave("red", a)).await, Ok(()));
    assert_eq!(groups.members("red"), [a, b]);
    assert_eq!(soon(groups.leave("blue", b)).await, Ok(()));
    assert_eq!(soon(groups.leave("blue", b)).await, Err(GroupsError::NotJoined(b)));
    assert_eq!(groups.which_groups(), ["red".into()] as [Arc<str>; 1]);
}

#[tokio::test]
async fn a_member_that_ends_leaves_all_its_groups_and_one_that_had_ended_does_not_stay() {
    let actors = Actors::alone();
    let groups = groups(&actors).await;
    let (a, b) = (member(&actors), member(&actors));
    for (group, member) in [("red", &a), ("red", &b), ("red", &a), ("blue", &a)] {
        soon(groups.join(group, member.pid())).await.unwrap();
    }
    end(&actors, &groups, &a).await;
    assert_eq!(groups.members("red"), [b.pid()]);
    assert_eq!(groups.members("blue"), []);
    soon(groups.join("blue", a.pid())).await.unwrap();
    // The usher's own news of the dead comes before the next request.
    assert_eq!(soon(groups.leave("blue", a.pid())).await, Err(GroupsError::NotJoined(a.pid())));
    assert_eq!(groups.members("blue"), []);
}

#[tokio::test]
async fn a_process_of_another_node_joins_there() {
    let actors = Actors::alone();
    let groups = groups(&actors).await;
    let here = member(&actors).pid();
    let abroad = Pid { node: NodeId(here.node.0 + 1), ..here };
    assert_eq!(soon(groups.join("red", abroad)).await, Err(GroupsError::Abroad(abroad)));
    assert_eq!(groups.members("red"), []);
}

#[tokio::test]
async fn groups_without_an_usher_change_nothing() {
    let (actors, groups) = (Actors::alone(), Groups::new());
    let a = member(&actors).pid();
    assert_eq!(soon(groups.join("red", a)).await, Err(GroupsError::NotStarted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_gets_the_members_and_then_every_change_in_order() {
    let actors = Actors::alone();
    let groups = groups(&actors).await;
    let (a, b) = (member(&actors), member(&actors));
    let (x, y) = (a.pid().serial, b.pid().serial);
    soon(groups.join("red", a.pid())).await.unwrap();
    let (red, mut hears) = listener(&actors);
    let (subscription, members) = soon(groups.subscribe("red", red, News)).await.unwrap();
    assert_eq!(members, [a.pid()]);
    let (all, mut hears_all) = listener(&actors);
    soon(groups.subscribe_all(all, News)).await.unwrap();

    for (group, member) in [("red", &b), ("blue", &b), ("red", &b)] {
        soon(groups.join(group, member.pid())).await.unwrap();
    }
    soon(groups.leave("red", a.pid())).await.unwrap();
    end(&actors, &groups, &b).await;
    let of_red = [
        format!("red: Joined [{y}]"),
        format!("red: Joined [{y}]"),
        format!("red: Left [{x}]"),
        format!("red: Left [{y}, {y}]"),
    ];
    for news in &of_red {
        assert_eq!(hear(&mut hears).await, *news);
    }
    let of_blue = [format!("blue: Joined [{y}]"), format!("blue: Left [{y}]")];
    let [joined, again, left_a, left_b] = of_red;
    for news in [joined, of_blue[0].clone(), again, left_a, of_blue[1].clone(), left_b] {
        assert_eq!(hear(&mut hears_all).await, news);
    }

    assert_eq!(soon(groups.unsubscribe(subscription)).await, Ok(true));
    assert_eq!(soon(groups.unsubscribe(subscription)).await, Ok(false));
    soon(groups.join("red", a.pid())).await.unwrap();
    assert_eq!(hear(&mut hears_all).await, format!("red: Joined [{x}]"));
    assert!(hears.try_recv().is_err(), "who has unsubscribed hears nothing more");
}

/// A process with room for one message, which it takes when it is told to.
fn narrow(actors: &Actors) -> (Addr<Narrow>, mpsc::Sender<ReplyTo<GroupNews>>) {
    let (ask, mut asked) = mpsc::channel::<ReplyTo<GroupNews>>(1);
    let how = Spawn::default().mailbox(Capacity::Reject(1));
    let addr = actors.spawn_with(how, move |mut mailbox: Mailbox<Narrow>| async move {
        while let Some(to) = asked.recv().await {
            let Narrow(news) = mailbox.receive().await;
            to.send(news);
        }
        Exit::Normal
    });
    (addr, ask)
}

struct Narrow(GroupNews);

impl Message for Narrow {}

#[tokio::test]
async fn a_subscriber_without_room_is_told_how_much_it_has_missed() {
    let actors = Actors::alone();
    let groups = groups(&actors).await;
    let a = member(&actors).pid();
    let (narrow, ask) = narrow(&actors);
    soon(groups.subscribe("red", narrow, Narrow)).await.unwrap();
    for _ in 0..4 {
        soon(groups.join("red", a)).await.unwrap();
    }
    assert_eq!(take(&actors, &ask).await.lost, 0, "the first had room");
    soon(groups.leave("red", a)).await.unwrap();
    let next = take(&actors, &ask).await;
    assert_eq!((next.now, next.lost), (Membership::Left, 3));
    soon(groups.leave("red", a)).await.unwrap();
    assert_eq!(take(&actors, &ask).await.lost, 0, "it is told once");
}

/// Has the narrow one take a message, and shows it.
async fn take(actors: &Actors, ask: &mpsc::Sender<ReplyTo<GroupNews>>) -> GroupNews {
    let ask = ask.clone();
    let (told, tells) = tokio::sync::oneshot::channel();
    actors.spawn(move |mailbox: Mailbox<Asking>| async move {
        let me = mailbox.addr();
        let mut mailbox = mailbox;
        let answer = quorate_env::spawn(async move { me.call(family::LONG, Asking).await });
        let Asking(to) = mailbox.receive().await;
        ask.send(to).await.ok();
        told.send(answer.await.unwrap().unwrap()).ok();
        Exit::Normal
    });
    soon(tells).await.unwrap()
}

struct Asking(ReplyTo<GroupNews>);

impl Message for Asking {}

#[tokio::test]
async fn news_that_panic_on_their_way_cost_their_subscriber_alone() {
    let actors = Actors::alone();
    let groups = groups(&actors).await;
    let (bad, mut hears_bad) = listener(&actors);
    let panics = |_| panic!("this is no news");
    let (subscription, _) = soon(groups.subscribe("red", bad, panics)).await.unwrap();
    let (good, mut hears) = listener(&actors);
    // Its own code may look into the groups meanwhile.
    let (own, seen) = (groups.clone(), Arc::new(std::sync::Mutex::new(Vec::new())));
    let sees = seen.clone();
    let looks = move |news: GroupNews| {
        sees.lock().unwrap().extend(own.members(&news.group));
        News(news)
    };
    soon(groups.subscribe("red", good, looks)).await.unwrap();
    let a = member(&actors).pid();
    soon(groups.join("red", a)).await.unwrap();
    assert_eq!(hear(&mut hears).await, format!("red: Joined [{}]", a.serial));
    assert_eq!(*seen.lock().unwrap(), [a]);
    assert!(hears_bad.try_recv().is_err());
    assert_eq!(soon(groups.unsubscribe(subscription)).await, Ok(false), "it is over already");
}

#[tokio::test]
async fn who_is_gone_is_neither_told_nor_watched() {
    let (actors, groups) = (Actors::alone(), Groups::new());
    let usher = soon(groups.start(&actors)).await.unwrap();
    let watched = async || soon(actors.info(usher)).await.expect("it lives").monitors;
    let (a, (listener, _hears)) = (member(&actors).pid(), listener(&actors));
    let (of_red, _) = soon(groups.subscribe("red", listener.clone(), News)).await.unwrap();
    let of_all = soon(groups.subscribe_all(listener.clone(), News)).await.unwrap();
    soon(groups.join("red", a)).await.unwrap();
    soon(groups.join("blue", a)).await.unwrap();
    let mut both = [a, listener.pid()];
    both.sort_unstable();
    soon(groups.leave("red", a)).await.unwrap();
    soon(groups.unsubscribe(of_red)).await.unwrap();
    let mut now = watched().await;
    now.sort_unstable();
    assert_eq!(now, both, "each of them once, and for as long as there is a reason");
    soon(groups.leave("blue", a)).await.unwrap();
    assert_eq!(watched().await, [listener.pid()]);

    let ended = actors.ended(listener.pid());
    actors.kill(listener.pid());
    soon(ended).await;
    assert_eq!(soon(groups.unsubscribe(of_all)).await, Ok(false), "it ended with its process");
    assert_eq!(watched().await, []);
}

#[tokio::test]
async fn an_usher_that_crashes_loses_no_membership_and_no_subscription() {
    let (actors, groups) = (Actors::alone(), Groups::new());
    let tree = Supervisor::one_for_one().child(groups.child("groups").named("groups"));
    let supervisor = soon(tree.start(&actors)).await.unwrap();
    let (a, b) = (member(&actors), member(&actors));
    soon(groups.join("red", a.pid())).await.unwrap();
    soon(groups.join("red", b.pid())).await.unwrap();
    let (all, mut hears) = listener(&actors);
    soon(groups.subscribe_all(all, News)).await.unwrap();

    let usher = actors.whereis("groups").unwrap();
    let ended = actors.ended(usher);
    actors.kill(usher);
    soon(ended).await;
    assert_eq!(soon(supervisor.count_children()).await.unwrap().active, 1);
    assert_eq!(groups.members("red"), [a.pid(), b.pid()]);
    end(&actors, &groups, &a).await;
    assert_eq!(groups.members("red"), [b.pid()], "the new one watches them, too");
    assert_eq!(hear(&mut hears).await, format!("red: Left [{}]", a.pid().serial));
}
