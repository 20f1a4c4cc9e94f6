//! Money, in whole billionths of a US dollar: sums of it are exact in any order.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Billionths in a dollar.
const PARTS: f64 = 1e9;

/// An amount of US dollars, never below zero.
///
/// In JSON it is a number of dollars. Amounts that a number with a fraction can tell apart to the
/// billionth (up to four million dollars) come back as they were written; more is held, not wrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(u64);

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many billionths of a dollar.
    pub const fn from_billionths(parts: u64) -> Self {
        Self(parts)
    }

    /// The same in billionths of a dollar.
    pub const fn billionths(self) -> u64 {
        self.0
    }

    /// The nearest amount; what is no number, or below zero, is nothing.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and below zero is nothing"
    )]
    pub fn from_dollars(dollars: f64) -> Self {
        Self((dollars * PARTS).round() as u64)
    }

    /// The same as a number of dollars.
    #[expect(clippy::cast_precision_loss, reason = "exact to four million dollars")]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / PARTS
    }

    /// What is left after `less` is taken away, at least nothing.
    #[must_use]
    pub const fn saturating_sub(self, less: Self) -> Self {
        Self(self.0.saturating_sub(less.0))
    }
}

impl Add for Usd {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, more: Self) {
        *self = *self + more;
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// Dollars with at least two digits after the point, and no more than it takes: `$8.75`, `$0.0368`.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, parts) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let digits = format!("{parts:09}");
        let digits = digits.trim_end_matches('0');
        write!(f, "${whole}.{digits:0<2}")
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.dollars())
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        f64::deserialize(from).map(Self::from_dollars)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_shown_as_people_write_it() {
        for (parts, shown) in [
            (0, "$0.00"),
            (8_750_000_000, "$8.75"),
            (36_800_000, "$0.0368"),
            (1, "$0.000000001"),
            (1_200_000_000_000, "$1200.00"),
        ] {
            assert_eq!(Usd::from_billionths(parts).to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_amount_is_nothing() {
        for odd in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            assert_eq!(Usd::from_dollars(odd), Usd::ZERO);
        }
        assert_eq!(Usd::from_dollars(f64::INFINITY).billionths(), u64::MAX);
        let most = Usd::from_billionths(u64::MAX);
        assert_eq!(most + Usd::from_billionths(1), most);
    }

    proptest! {
        #[test]
        fn it_comes_back_from_json(parts in 0..4_000_000_000_000_000_u64) {
            let amount = Usd::from_billionths(parts);
            let text = serde_json::to_string(&amount)?;
            prop_assert_eq!(serde_json::from_str::<Usd>(&text)?, amount);
        }
    }
}
