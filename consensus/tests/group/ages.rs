//! How old a node says that its state is, where that is easily taken for younger.

use quorate_env::{now, sleep};

use super::*;

const WHILE: Duration = Duration::from_millis(500);

async fn all_are_young(groups: &[Group]) {
    for group in groups {
        while group.age() > WHILE {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn who_follows_a_leader_that_lost_its_majority_grows_old_with_it() {
    let town = Town::default();
    let mut groups = BTreeMap::new();
    for id in 1..=5 {
        groups.insert(NodeId(id), open(&town, id, &Remembered::default()).await.0);
    }
    groups[&NodeId(1)].bootstrap(&ids(1..=5)).await.unwrap();
    let all: Vec<Group> = groups.values().cloned().collect();
    let (index, _) = propose(&all, register("till")).await;
    for group in &all {
        group.reached(index).await;
    }
    all_are_young(&all).await;
    let lead = leader(&all).await.leader().unwrap();
    let follower = *groups.keys().find(|node| **node != lead).unwrap();
    for gone in groups.keys().filter(|node| ![lead, follower].contains(node)) {
        town.0.lock().unwrap().remove(gone);
    }
    let cut = now();
    sleep(WHILE).await;
    for node in [lead, follower] {
        let since = now().since(cut);
        assert!(groups[&node].age() >= since, "nobody can have told it anything newer");
    }
    let status = groups[&follower].status();
    assert_eq!(
        (status.role, status.leader),
        (Role::Follower, Some(lead)),
        "it hears it all the time"
    );
}

#[tokio::test]
async fn a_voter_that_begins_again_cannot_say_how_old_its_state_is_before_it_has_heard() {
    let remembered = [1, 2, 3].map(|id| (id, Remembered::default()));
    let town = Town::default();
    let mut groups = Vec::new();
    for (id, remembered) in &remembered {
        groups.push(open(&town, *id, remembered).await.0);
    }
    groups[0].bootstrap(&ids([1, 2, 3])).await.unwrap();
    let (index, _) = propose(&groups, register("till")).await;
    for group in groups {
        group.reached(index).await;
        group.close().await;
    }
    // Nobody else is there yet.
    let town = Town::default();
    let (early, _) = open(&town, 1, &remembered[0].1).await;
    sleep(WHILE).await;
    assert!(early.applied() >= index && early.age() == Duration::MAX, "{:?}", early.age());
    let mut groups = vec![early];
    for (id, remembered) in &remembered[1..] {
        groups.push(open(&town, *id, remembered).await.0);
    }
    propose(&groups, register("tray")).await;
    all_are_young(&groups).await;
}

#[tokio::test]
async fn nobody_stays_with_a_voter_that_is_itself_fed() {
    let town = Town::default();
    let voters = three_voters(&town).await;
    let lead = leader(&voters).await.leader().unwrap();
    let fed = [1, 2, 3].map(NodeId).into_iter().find(|node| *node != lead).unwrap();
    // From the first on, they spread over all three.
    all_are_young(&voters).await;
    let mut followers = Vec::new();
    for id in 4..=12 {
        followers.push(follower(&town, id, &Remembered::default(), &[1, 2, 3]).await);
    }
    let (index, _) = propose(&voters, register("tin")).await;
    for group in &followers {
        group.reached(index).await;
    }
    town.part(lead, fed);
    let (index, _) = propose(&voters, register("till")).await;
    // Its own Raft hears nobody; it takes part all the same.
    voters[fed.0 as usize - 1].reached(index).await;
    let (index, _) = propose(&voters, register("tray")).await;
    for (group, id) in followers.iter().zip(4..) {
        let reached = quorate_env::timeout(Duration::from_secs(20), group.reached(index)).await;
        assert!(reached.is_ok(), "{id} still asks {fed}");
    }
}
