//! A suite of probes, each a program of its own: here programs that only say a number, or do not.

use std::process::Command;

use quorate_bench::{Plan, Probe, Row, Side, measure};

fn says(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn plan(keys: &[&str]) -> Plan {
    let rows = keys.iter().map(|key| Row::named(key).unwrap()).collect();
    Plan { rows, runs: 3, n: Some(10) }
}

#[tokio::test]
async fn each_side_of_each_row_is_probed_in_turn() {
    let asked = std::cell::RefCell::new(Vec::new());
    let command = |probe: &Probe| {
        assert_eq!(probe.n, 10);
        asked.borrow_mut().push(probe.to_string());
        says(if probe.side == Side::Ours { "echo 8" } else { "echo 2.5" })
    };
    let mut told = Vec::new();
    let report = measure(&plan(&["ring"]), command, |row| told.push(row.key)).await;
    assert_eq!(told, ["ring"]);
    let turn = ["ring", "ring/tokio"];
    assert_eq!(*asked.borrow(), [turn, turn, turn].concat());
    let [ring] = &report.rows[..] else { panic!("{report}") };
    assert_eq!((ring.ours.median, ring.ratio()), (8.0, Some(3.2)));
}

#[tokio::test]
async fn a_row_that_fails_is_told_and_the_others_are_measured() {
    for broken in ["echo 7; exit 3", "echo lost >&2; exit 1", "echo many", "kill -9 $$", "echo inf"]
    {
        let command = |probe: &Probe| says(if probe.row.key == "ring" { broken } else { "echo 1" });
        let report = measure(&plan(&["ring", "spawn"]), command, |_| {}).await;
        let measured: Vec<&str> = report.rows.iter().map(|row| row.line.key).collect();
        assert_eq!(measured, ["spawn"], "{broken}");
        let [failed] = &report.failed[..] else { panic!("{broken}: {report}") };
        assert_eq!(failed.row, "ring");
        assert!(report.to_string().contains("ring FAILED: "), "{report}");
        if broken.contains("lost") {
            assert!(failed.why.contains("lost"), "{}", failed.why);
        }
    }
}
