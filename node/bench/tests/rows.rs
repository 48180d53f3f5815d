//! Every row can be measured, on every side, and whoever asks for another is told what there is.
//!
//! Small, and without a word on speed: what a figure is worth is seen where many are taken.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use quorate_bench::{BenchError, Probe, ROWS, Side};

/// Takes a probe, aside: one that waits for ever must not keep the test from saying which it was.
fn taken(probe: Probe) -> Result<f64, BenchError> {
    let (tell, told) = mpsc::channel();
    let aside = thread::Builder::new().spawn(move || tell.send(probe.take()));
    aside.expect("a thread can be had");
    told.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|e| panic!("{probe}: {e}"))
}

#[test]
fn every_row_gives_a_figure_on_every_side() {
    for row in &ROWS {
        for side in std::iter::once(Side::Ours).chain(row.peers().map(Side::Peer)) {
            let mut probe = Probe::new(row, side);
            probe.n = 2_000;
            let figure = taken(probe).unwrap_or_else(|e| panic!("{probe}: {e}"));
            assert!(figure.is_finite() && figure >= 0.0, "{probe}: {figure}");
        }
    }
}

#[test]
fn a_probe_is_written_as_it_is_read() {
    for row in &ROWS {
        for side in std::iter::once(Side::Ours).chain(row.peers().map(Side::Peer)) {
            let written = Probe::new(row, side).to_string();
            let read = Probe::parse(&written).unwrap();
            assert_eq!((read.row.key, read.side), (row.key, side), "{written}");
        }
    }
}

#[test]
fn an_unknown_row_or_side_is_refused_with_those_that_are_there() {
    let refused = |text: &str| Probe::parse(text).unwrap_err().to_string();
    assert!(refused("pingpong").contains("ping-pong"));
    assert!(refused("spawn/erlang").contains("tokio"));
}
