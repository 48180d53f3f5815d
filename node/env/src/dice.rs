//! The dice.

use std::convert::Infallible;

use rand::{Rng, TryRng};

use crate::Life;

/// Draws from the seed of the current [`Life`], else from the system's entropy (fit for secrets).
#[derive(Clone, Debug)]
pub struct Dice(Option<Life>);

/// The dice of whoever calls.
pub fn dice() -> Dice {
    Dice(Life::current())
}

impl Dice {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn with<R>(&mut self, draw: impl FnOnce(&mut dyn Rng) -> R) -> R {
        match &self.0 {
            Some(life) => life.draw(|rng| draw(rng)),
            None => draw(&mut rand::rng()),
        }
    }
}

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.with(|rng| rng.next_u32()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.with(|rng| rng.next_u64()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.with(|rng| rng.fill_bytes(bytes));
        Ok(())
    }
}
