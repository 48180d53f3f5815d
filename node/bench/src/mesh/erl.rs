//! The third side: two nodes of the Erlang that is in PATH, playing the same games in `mesh.erl`.
//!
//! They need no epmd, which would stay behind: the far node listens on a port that is known, and the near one
//! does not listen. Both end when their stdin closes.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use quorate_env::dice;
use rand::Rng;

use super::far::Far;
use super::game::{Game, PATIENCE, PAUSE, Terms, lost};
use crate::error::BenchError;

const SOURCE: &str = include_str!("erl/mesh.erl");

/// Whether there is an Erlang in PATH that can compile and run the games.
pub fn is_installed() -> bool {
    let exits = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status()
    };
    // The compiler has no way to be asked for nothing; that it starts is enough.
    exits("erl", &["-noshell", "-eval", "halt(0)."]).is_ok_and(|status| status.success())
        && exits("erlc", &["--help"]).is_ok()
}

pub(crate) async fn play(terms: Terms) -> Result<Vec<f64>, BenchError> {
    prepare(&terms.dir)?;
    let port = free_port()?;
    let far = Far::start(erlang(&terms.dir, "far", port), "").await?;
    let (senders, size) = match terms.game {
        Game::OneWay { senders, bytes } => (senders, bytes),
        _ => (1, terms.large),
    };
    let clients = if let Game::Call(clients) = terms.game { clients } else { 1 };
    let game = match terms.game {
        Game::PingPong => "ping_pong",
        Game::PingIdle => "ping_idle",
        Game::Call(_) => "call",
        Game::OneWay { .. } => "one_way",
        Game::Stream => "stream",
        Game::PingUnderStream => "ping_under_stream",
        Game::ControlUnderStream | Game::Idle => return Err(BenchError::NoFigure),
    };
    let mut near = erlang(&terms.dir, "near", port);
    let span = terms.span.as_millis();
    near.args(["-extra", game, &span.to_string(), &senders.to_string(), &size.to_string()]);
    near.args([clients.to_string(), PAUSE.as_millis().to_string()]);
    let mut near = Far::start(near, "").await?;
    let said = near.line_within(terms.span * 3 + PATIENCE).await?;
    near.end().await;
    far.end().await;
    let figures: Result<Vec<f64>, _> = said.split_whitespace().map(str::parse).collect();
    figures.map_err(|_| lost("figures of Erlang"))
}

/// Writes the games and the secret down, and compiles the former.
fn prepare(dir: &Path) -> Result<(), BenchError> {
    let preparing = || BenchError::system("preparing the games for Erlang");
    let source = dir.join("mesh.erl");
    fs::write(&source, SOURCE).map_err(preparing())?;
    let mut open = fs::OpenOptions::new();
    let cookie = open.write(true).create_new(true).mode(0o400).open(dir.join(".erlang.cookie"));
    let secret = format!("{:016x}", dice().next_u64());
    cookie.and_then(|mut file| file.write_all(secret.as_bytes())).map_err(preparing())?;
    let mut compiler = Command::new("erlc");
    compiler.arg("-o").arg(dir).arg(&source).stdin(Stdio::null()).stdout(Stdio::null());
    match compiler.status().map_err(preparing())?.success() {
        true => Ok(()),
        false => Err(lost("erlc")),
    }
}

fn erlang(dir: &Path, name: &str, port: u16) -> Command {
    let mut command = Command::new("erl");
    command
        .current_dir(dir)
        // The secret lies where Erlang looks for it.
        .env("HOME", dir)
        .env("ERL_CRASH_DUMP", "/dev/null")
        .args(["-noshell", "-name", &format!("{name}@127.0.0.1"), "-start_epmd", "false"])
        .args(["-erl_epmd_port", &port.to_string()])
        .args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}"])
        // What a busy node is given: as many schedulers as the others have workers.
        .args(["+S", "2:2", "-pa"])
        .arg(dir)
        .args(["-s", "mesh", name]);
    if name == "near" {
        command.args(["-dist_listen", "false"]);
    }
    command
}

/// A port that nobody listens on at the moment. Another may take it before it is used; then the start fails.
fn free_port() -> Result<u16, BenchError> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    Ok(bound.map_err(BenchError::system("looking for a free port"))?.port())
}
