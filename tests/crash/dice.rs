//! Chance that can be had again.

/// `SplitMix64`: the same seed, the same throws.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap();
        usize::try_from(self.throw() % limit).unwrap()
    }

    pub(crate) fn one<T: Clone>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())].clone()
    }
}

/// The seeds of so many trials: the one that was asked for, or as many new ones.
pub(crate) fn seeds(trials: usize) -> Vec<u64> {
    if let Ok(seed) = std::env::var("REPRISE_SEED") {
        return vec![seed.parse().expect("REPRISE_SEED is a number")];
    }
    let mut dice = Dice::new(u64::from(std::process::id()) ^ now());
    (0..trials).map(|_| dice.throw()).collect()
}

fn now() -> u64 {
    let now = jiff::Timestamp::now().as_nanosecond();
    u64::try_from(now & i128::from(u64::MAX)).unwrap_or_default()
}
