//! Numbers that a seed repeats, on every machine and for good.

/// A seeded source of numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

/// Numbers that decoders stumble over.
const ODD: [u64; 20] = [
    0,
    1,
    2,
    7,
    8,
    0x7f,
    0x80,
    0xfa,
    0xfb,
    0xff,
    0x100,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 41,
    1 << 60,
    u64::MAX - 1,
    u64::MAX,
];

impl Dice {
    /// The dice of one run.
    pub fn new(seed: u64, run: u64) -> Self {
        let mut dice = Self(seed);
        // Two seeds whose sequences overlap would share their runs otherwise.
        dice.0 = dice.number() ^ run.wrapping_mul(0xA076_1D64_78BD_642F);
        dice
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        b ^ (b >> 31)
    }

    /// A number below `sides`; 0 when there are none.
    pub fn below(&mut self, sides: usize) -> usize {
        let number = u128::from(self.number()) * sides as u128;
        (number >> 64) as usize
    }

    /// Whether something happens that happens once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A number at an edge of something.
    pub fn odd_number(&mut self) -> u64 {
        *self.pick(&ODD)
    }

    /// A part of `0..len`; short parts are more likely than long ones.
    pub fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let from = self.below(len + 1);
        let longest = match self.below(4) {
            0 => len - from,
            1 => 64,
            _ => 8,
        };
        from..from + self.below((len - from).min(longest) + 1)
    }
}
