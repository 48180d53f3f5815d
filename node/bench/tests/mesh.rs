//! Rows of the mesh, their probes, and a suite of probes that are programs which only say numbers.

use std::process::Command;
use std::time::Duration;

use quorate_bench::{MESH_ROWS, MeshPlan, MeshProbe, MeshRow, Player, measure_mesh};

const SPAN: Duration = Duration::from_millis(100);

fn parse(text: &str) -> Result<MeshProbe, quorate_bench::BenchError> {
    MeshProbe::parse(text, SPAN, 1024)
}

#[test]
fn a_probe_is_written_as_it_is_read() {
    let players = [Player::Ours, Player::Tcp, Player::TcpApart, Player::Erl];
    let mut read = 0;
    for row in &MESH_ROWS {
        for player in players {
            let probe = MeshProbe { row, player, span: SPAN, large: 1024 };
            if let Ok(again) = parse(&probe.to_string()) {
                assert_eq!((again.row.key, again.player), (row.key, player));
                read += 1;
            }
        }
    }
    assert_eq!(read, 12 + 10 + 9 + 1, "ours everywhere, tcp and erl but for some rows, apart once");
}

#[test]
fn an_unknown_row_or_player_is_refused_with_those_that_are_there() {
    assert!(parse("pingpong").unwrap_err().to_string().contains("ping-pong"));
    assert!(parse("idle/tcp").unwrap_err().to_string().contains("has no side tcp"));
    assert!(parse("stream-ping/x").unwrap_err().to_string().contains("tcp, control apart, erl"));
}

#[test]
fn every_line_has_a_name_of_its_own() {
    let lines = MESH_ROWS.iter().flat_map(|row| row.lines);
    let mut keys: Vec<&str> = lines.map(|line| line.key).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count);
}

fn plan(keys: &[&str], erlang: bool) -> MeshPlan {
    let rows = keys.iter().map(|key| MeshRow::named(key).unwrap()).collect();
    MeshPlan { rows, runs: 3, span: SPAN, large: 1024, erlang }
}

fn says(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[tokio::test]
async fn each_line_of_a_row_gets_its_figures_of_each_player() {
    let command = |probe: &MeshProbe| match probe.player {
        Player::Ours => says("echo 60000; echo 10"),
        _ => says("echo 80000; echo 5"),
    };
    let report = measure_mesh(&plan(&["ping-pong"], false), command, |_| {}).await;
    let [rate, median] = &report.rows[..] else { panic!("{report}") };
    assert_eq!((rate.ours.median, rate.ratio(), rate.is_met()), (6e4, Some(0.75), Some(true)));
    assert_eq!((median.ours.median, median.ratio()), (10.0, Some(0.5)));
    assert_eq!(rate.peers.len(), 1, "Erlang was left out");
    let shown = report.to_string();
    assert!(shown.contains("60.0 k/s") && shown.contains("10.0 us"), "{shown}");
}

#[tokio::test]
async fn a_player_that_says_too_little_fails_its_row_and_no_other() {
    let command = |probe: &MeshProbe| match probe.row.key {
        "ping-pong" => says("echo 1"),
        _ => says("echo 1; echo 2; echo 3; echo 4"),
    };
    let report = measure_mesh(&plan(&["ping-pong", "stream-ping"], true), command, |_| {}).await;
    let [failed] = &report.failed[..] else { panic!("{report}") };
    assert_eq!((failed.row, report.rows.len()), ("ping-pong", 4));
    assert_eq!(report.rows[0].peers.len(), 3, "with Erlang");
}
