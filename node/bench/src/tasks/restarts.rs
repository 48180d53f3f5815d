//! A task that starts another again whenever it has ended.

use quorate_env::now;

use super::{stage, task};
use crate::error::BenchError;
use crate::latch::Latch;
use crate::probe::{Size, rate};

pub(crate) fn restarts(size: Size) -> Result<f64, BenchError> {
    stage(size, |size| async move {
        let latch = Latch::new(size.n);
        let begun = now();
        loop {
            let latch = latch.clone();
            if task(async move { latch.hit() }).await.map_err(|_| BenchError::NoFigure)? {
                return Ok(rate(size.n, now().since(begun)));
            }
        }
    })
}
