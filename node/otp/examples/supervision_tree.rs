//! A shop as a tree: when the till crashes, what depends on it starts again, and nothing else does.
//!
//! ```text
//!   shop (rest for one)
//!    ├── stock       a server
//!    ├── till        a server that needs the stock
//!    └── counters    a supervisor (one for one) of what needs the till
//!         ├── left
//!         └── right
//! ```

use std::io::{self, Write};
use std::time::Duration;

use quorate_actor::{Actors, Exit, Message};
use quorate_otp::{Child, ChildInfo, Context, Flow, Server, Supervisor, SupervisorAddr};
use tokio::sync::mpsc;

/// What the story is told through: a line at a time.
#[derive(Clone)]
struct Voice(mpsc::Sender<String>);

impl Voice {
    fn say(&self, line: String) {
        self.0.try_send(line).expect("the story is short and somebody listens");
    }
}

/// Somebody who works here.
struct Clerk {
    name: &'static str,
    voice: Voice,
}

/// What a clerk may be told.
enum Word {
    Fail,
}

impl Message for Word {}

impl Server for Clerk {
    type Message = Word;
    type Args = (&'static str, Voice);

    async fn init((name, voice): Self::Args, cx: &mut Context<Word>) -> Result<Self, Exit> {
        // So that `terminate` is called when the supervisor stops us.
        cx.trap_exit(true);
        voice.say(format!("  {name} opens"));
        Ok(Self { name, voice })
    }

    async fn handle(&mut self, Word::Fail: Word, _: &mut Context<Word>) -> Flow {
        Flow::Stop(Exit::because("a coin is stuck"))
    }

    async fn terminate(&mut self, exit: &Exit, _: &mut Context<Word>) {
        self.voice.say(format!("  {} closes: {exit}", self.name));
    }
}

fn clerk(name: &'static str, voice: &Voice) -> Child {
    Child::server::<Clerk>(name, (name, voice.clone())).named(name)
}

fn shop(voice: &Voice) -> Supervisor {
    let counters = Supervisor::one_for_one()
        .intensity(1, Duration::from_secs(3600))
        .child(clerk("left", voice))
        .child(clerk("right", voice));
    Supervisor::rest_for_one()
        .intensity(3, Duration::from_secs(3600))
        .child(clerk("stock", voice))
        .child(clerk("till", voice))
        .child(Child::supervisor("counters", counters))
}

/// Makes the clerk of this name fail, and waits until both supervisors are done with it.
async fn fail(actors: &Actors, shop: &SupervisorAddr, name: &str) {
    let children = shop.which_children().await.expect("the shop is open");
    let counters = children.last().and_then(ChildInfo::pid).expect("the counters are open");
    let clerk = actors.whereis(name).expect("everybody is at work");
    // Watched before anything ends, so that no end is missed.
    let (closed, left) = (actors.ended(counters), actors.ended(clerk));
    actors.addr(clerk).send(Word::Fail).expect("the clerk is at work");
    left.await;
    // The supervisor of who has ended is told first. So it answers when it is done with that, or ends.
    if SupervisorAddr::of(actors, counters).count_children().await.is_err() {
        closed.await;
    }
    shop.count_children().await.expect("the shop is open");
}

/// Tells the story.
pub(crate) async fn tell(out: &mut impl Write) -> io::Result<()> {
    let actors = Actors::alone();
    let (voice, mut lines) = mpsc::channel(100);
    let voice = Voice(voice);

    voice.say("The shop opens:".to_owned());
    let shop = shop(&voice).start(&actors).await.expect("nothing fails today");
    voice.say("A clerk at a counter fails, which is nobody else's business:".to_owned());
    fail(&actors, &shop, "left").await;
    voice.say("The till fails, and what was opened after it starts again:".to_owned());
    fail(&actors, &shop, "till").await;
    voice.say("The left counter fails too often, so the shop opens all counters again:".to_owned());
    fail(&actors, &shop, "left").await;
    fail(&actors, &shop, "left").await;
    voice.say("The shop closes, last opened first:".to_owned());
    let closed = actors.ended(shop.pid());
    actors.exit(shop.pid(), Exit::Shutdown);
    voice.say(format!("It has ended: {}.", closed.await));

    drop(voice);
    actors.close().await;
    while let Ok(line) = lines.try_recv() {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Prints it.
#[tokio::main]
pub(crate) async fn main() -> io::Result<()> {
    tell(&mut io::stdout()).await
}
