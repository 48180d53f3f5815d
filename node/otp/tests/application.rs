//! Stories of applications: what starts after what, and what happens when something does not.

use crate::family;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use family::{Pen, Worker, diary, end, plot, soon, worker};
use quorate_actor::{Actors, Exit, Mailbox};
use quorate_otp::{
    Application, ApplicationError, Applications, Child, RunningApplications, Shutdown, StartError,
    Supervisor, SupervisorAddr,
};

const HOUR: Duration = Duration::from_secs(3600);

fn tree(id: &'static str, pen: &Pen) -> Supervisor {
    Supervisor::one_for_one().intensity(0, HOUR).child(worker(id, pen))
}

/// A shop that needs a store, with two phases; a log that nobody needs.
fn shop(pen: &Pen) -> Applications {
    let note = |line: &'static str| {
        let pen = pen.clone();
        move |_| {
            pen.note(line);
            async { Ok(()) }
        }
    };
    let shop = Application::new("shop", tree("till", pen))
        .needs("store")
        .phase("lights", note("lights on"))
        .phase("door", note("door open"));
    Applications::new()
        .with(shop)
        .with(Application::new("log", tree("log", pen)))
        .with(Application::new("store", tree("shelf", pen)))
}

const OPENING: [&str; 5] = ["log starts", "shelf starts", "till starts", "lights on", "door open"];
const CLOSING: [&str; 3] = ["till stops: shutdown", "shelf stops: shutdown", "log stops: shutdown"];

async fn running(applications: &RunningApplications) -> Vec<String> {
    let which = soon(applications.which()).await.unwrap();
    which.into_iter().map(|(name, _)| name.to_string()).collect()
}

async fn top(applications: &RunningApplications, name: &str) -> SupervisorAddr {
    let which = soon(applications.which()).await.unwrap();
    which.into_iter().find(|(other, _)| &**other == name).expect("it runs").1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applications_start_after_what_they_need_and_stop_before_it() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let applications = soon(shop(&pen).start(&actors)).await.unwrap();
    diary.reads(&OPENING).await;
    assert_eq!(running(&applications).await, ["log", "store", "shop"]);
    soon(applications.stop()).await;
    diary.reads(&CLOSING).await;
    assert_eq!(actors.count(), 0);
}

#[tokio::test]
async fn a_runtime_that_closes_stops_its_applications_in_order_first() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let applications = soon(shop(&pen).start(&actors)).await.unwrap();
    diary.reads(&OPENING).await;
    let ended = applications.ended();
    soon(actors.close()).await;
    assert_eq!(soon(ended).await, Exit::Shutdown);
    diary.reads(&CLOSING).await;
    assert_eq!(diary.rest(), [""; 0]);
}

#[tokio::test]
async fn an_application_that_does_not_start_takes_those_before_it_back() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let mut bad = plot("bad", &pen);
    bad.failures = Arc::new(AtomicU32::new(1));
    let bad = Supervisor::one_for_one().child(Child::server::<Worker>("bad", bad));
    let started = soon(shop(&pen).with(Application::new("bad", bad)).start(&actors)).await;
    let exit = Exit::because("it has a bad day");
    assert_eq!(started.err(), Some(ApplicationError::Start(StartError::Ended { exit })));
    diary.reads(&OPENING).await;
    diary.reads(&["bad fails"]).await;
    diary.reads(&CLOSING).await;
    assert_eq!(actors.count(), 0);
}

#[tokio::test]
async fn a_phase_that_fails_or_panics_takes_its_tree_back_and_those_before_it() {
    let fails: fn() -> Result<(), Exit> = || Err(Exit::because("no key"));
    let panics: fn() -> Result<(), Exit> = || panic!("no lock");
    for (phase, exit) in
        [(fails, Exit::because("no key")), (panics, Exit::Panic("no lock".to_owned()))]
    {
        let (actors, (pen, mut diary)) = (Actors::alone(), diary());
        let later = pen.clone();
        let bank = Application::new("bank", tree("vault", &pen))
            .needs("shop")
            .phase("lock", move |_| async move { phase() })
            .phase("later", move |_| {
                later.note("this comes too late");
                async { Ok(()) }
            });
        let started = soon(shop(&pen).with(bank).start(&actors)).await;
        assert_eq!(started.err(), Some(ApplicationError::Start(StartError::Ended { exit })));
        diary.reads(&OPENING).await;
        diary.reads(&["vault starts", "vault stops: shutdown"]).await;
        diary.reads(&CLOSING).await;
        assert_eq!((diary.rest(), actors.count()), (vec![], 0));
    }
}

#[tokio::test]
async fn a_phase_reaches_the_tree_that_it_completes() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let guest = worker("guest", &pen);
    let inn = Application::new("inn", Supervisor::dynamic()).phase("guests", move |tree| {
        let guest = guest.clone();
        async move {
            let started = tree.start_child(guest).await;
            started.map(drop).map_err(|error| Exit::because(error.to_string()))
        }
    });
    let applications = soon(Applications::new().with(inn).start(&actors)).await.unwrap();
    diary.reads(&["guest starts"]).await;
    soon(applications.stop()).await;
}

#[tokio::test]
async fn the_end_of_an_application_is_its_own_matter_unless_it_is_essential() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let core = Application::new("core", tree("core", &pen)).essential();
    let applications = soon(shop(&pen).with(core).start(&actors)).await.unwrap();
    diary.reads(&OPENING).await;
    diary.reads(&["core starts"]).await;

    end(&actors, &top(&applications, "log").await, "log", Exit::because("full")).await;
    let log = actors.ended(top(&applications, "store").await.pid());
    diary.reads(&["log stops: full"]).await;
    assert!(soon(applications.stop_one("store")).await);
    assert_eq!(soon(log).await, Exit::Shutdown);
    diary.reads(&["shelf stops: shutdown"]).await;
    assert!(!soon(applications.stop_one("store")).await);
    assert_eq!(running(&applications).await, ["shop", "core"]);

    let ended = applications.ended();
    end(&actors, &top(&applications, "core").await, "core", Exit::because("worn")).await;
    assert_eq!(soon(ended).await, Exit::Shutdown);
    diary.reads(&["core stops: worn", "till stops: shutdown"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_application_that_does_not_stop_in_its_time_is_killed() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let deaf = Child::body("deaf", |mut mailbox: Mailbox<()>| async move {
        mailbox.trap_exit(true);
        loop {
            mailbox.next().await;
        }
    });
    let slow = Supervisor::one_for_one().child(deaf.shutdown(Shutdown::After(HOUR)));
    let slow = Application::new("slow", slow).stop_within(Duration::from_secs(1));
    let applications = soon(shop(&pen).with(slow).start(&actors)).await.unwrap();
    diary.reads(&OPENING).await;
    let slow = actors.ended(top(&applications, "slow").await.pid());
    soon(applications.stop()).await;
    assert_eq!(slow.await, Exit::Killed);
    diary.reads(&CLOSING).await;
}

#[tokio::test]
async fn applications_that_cannot_be_ordered_start_nothing() {
    let (actors, (pen, mut diary)) = (Actors::alone(), diary());
    let bank = |needs| Application::new("bank", tree("vault", &pen)).needs(needs);
    let missing = soon(shop(&pen).with(bank("mint")).start(&actors)).await;
    let expected = ApplicationError::Missing { name: "bank".into(), needs: "mint".into() };
    assert_eq!(missing.err(), Some(expected));
    let circle = soon(shop(&pen).with(bank("bank")).start(&actors)).await;
    assert_eq!(circle.err(), Some(ApplicationError::Circle { among: vec!["bank".into()] }));
    assert_eq!((diary.rest(), actors.count()), (vec![], 0));
}
