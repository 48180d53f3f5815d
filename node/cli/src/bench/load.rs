//! Load: clients that each ask for the next fresh name as soon as the last was answered.

use std::future::Future;
use std::time::Duration;

use quorate_env::{now, spawn};
use quorate_http::code;

use crate::fail::Fail;

/// Takes a name that nobody has, and returns when that is acknowledged.
pub(crate) trait Taker: Send + 'static {
    fn take(&mut self, name: &str) -> impl Future<Output = Result<(), String>> + Send;
}

/// What one run came to. Times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    pub(crate) errors: u64,
}

/// Runs all takers at once for a span, after a fifth of it that does not count.
pub(crate) async fn run<T: Taker>(
    takers: Vec<T>,
    run: &str,
    span: Duration,
) -> Result<Sample, Fail> {
    let counted = now() + span / 5;
    let until = counted + span;
    let mut tasks = Vec::new();
    for (client, mut taker) in takers.into_iter().enumerate() {
        let prefix = format!("bench/{run}/{client}");
        tasks.push(spawn(async move {
            let (mut took, mut errors, mut first) = (Vec::<u32>::new(), 0_u64, None);
            for number in 0_u64.. {
                let began = now();
                if began >= until {
                    break;
                }
                match taker.take(&format!("{prefix}/{number}")).await {
                    Ok(()) if began >= counted => {
                        let micros = now().since(began).as_micros();
                        took.push(u32::try_from(micros).unwrap_or(u32::MAX));
                    }
                    Ok(()) => {}
                    Err(why) => {
                        errors += 1;
                        first.get_or_insert(why);
                    }
                }
            }
            (took, errors, first)
        }));
    }
    let (mut took, mut errors, mut first) = (Vec::new(), 0, None);
    for task in tasks {
        let (mut more, failed, why) =
            task.await.map_err(|e| Fail::new(code::BENCH_FAILED, format!("{run}: {e}")))?;
        took.append(&mut more);
        errors += failed;
        first = first.or(why);
    }
    sample(took, span, errors).ok_or_else(|| {
        let why = first.unwrap_or_else(|| "nothing was answered in the time".to_owned());
        Fail::new(code::BENCH_FAILED, format!("{run}: {why}"))
    })
}

/// What came of requests that were answered within a span, each after so many microseconds; none if none was.
pub(crate) fn sample(mut took: Vec<u32>, span: Duration, errors: u64) -> Option<Sample> {
    took.sort_unstable();
    let last = took.len().checked_sub(1)?;
    let at = |share: f64| f64::from(took[(last as f64 * share).round() as usize]) / 1000.0;
    let rate = took.len() as f64 / span.as_secs_f64();
    Some(Sample { rate, p50: at(0.50), p99: at(0.99), max: at(1.0), errors })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Slow;

    impl Taker for Slow {
        async fn take(&mut self, name: &str) -> Result<(), String> {
            quorate_env::sleep(Duration::from_millis(5)).await;
            if name.ends_with('3') { Err("three".to_owned()) } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn a_run_counts_what_was_answered_in_its_time() {
        // So long that a busy machine cannot stand still for all of it.
        let sample = run(vec![Slow, Slow], "test", Duration::from_secs(4)).await.unwrap();
        assert!(sample.rate > 20.0 && sample.rate <= 400.0, "{sample:?}");
        assert!(sample.p50 >= 5.0 && sample.p50 <= sample.p99 && sample.p99 <= sample.max);
        assert!(sample.errors >= 2);
    }
}
