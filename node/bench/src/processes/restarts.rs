//! A supervisor that has much to do.

use std::time::Duration;

use quorate_actor::{Exit, Mailbox};
use quorate_env::now;
use quorate_otp::{Child, Supervisor};

use super::stage;
use crate::error::BenchError;
use crate::latch::Latch;
use crate::probe::{Size, rate};

/// A child that ends as soon as it is there, and is started again.
pub(crate) fn restarts(size: Size) -> Result<f64, BenchError> {
    stage(size, move |mut main| async move {
        let (latch, done) = (Latch::new(size.n), main.addr());
        let worker = Child::body("worker", move |mut own: Mailbox<u64>| {
            let (is_last, done) = (latch.hit(), done.clone());
            async move {
                if is_last {
                    done.send(0).expect("it waits for this");
                    own.receive().await;
                }
                Exit::Normal
            }
        });
        // Never too many: what giving up costs is another question.
        let supervisor = Supervisor::one_for_one().intensity(u32::MAX, Duration::from_millis(1));
        let begun = now();
        supervisor.child(worker).start(main.actors()).await.map_err(|_| BenchError::NoFigure)?;
        main.receive().await;
        Ok(rate(size.n, now().since(begun)))
    })
}
