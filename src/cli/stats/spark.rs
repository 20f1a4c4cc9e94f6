//! What was spent each day, as a line of bars.

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::ledger::Group;
use crate::price::Usd;

/// The bars, from the lowest.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// A day on which nothing was spent.
const NOTHING: char = '·';
/// The most days that are shown: the last ones.
const MOST: usize = 60;

/// A line of bars from the first of `days` to the last, days without a line in between included;
/// `None` when nothing was spent on them.
pub(super) fn line(days: &[Group]) -> Option<String> {
    let dated = |day: &Group| Some((day.name.parse::<Date>().ok()?, day.tally.usd_spent));
    let days: BTreeMap<Date, Usd> = days.iter().filter_map(dated).collect();
    let ((first, _), (last, _)) = (days.first_key_value()?, days.last_key_value()?);
    let back = std::iter::successors(Some(*last), |day| day.yesterday().ok());
    let mut shown: Vec<(Date, Usd)> = back
        .take_while(|day| day >= first)
        .take(MOST)
        .map(|day| (day, days.get(&day).copied().unwrap_or_default()))
        .collect();
    shown.reverse();
    let (first, last) = (shown.first()?.0, *last);
    let (dearest, most) = *shown.iter().max_by_key(|(_, spent)| *spent)?;
    if most == Usd::ZERO {
        return None;
    }
    let bars: String = shown.iter().map(|(_, spent)| bar(*spent, most)).collect();
    let span = if first == last {
        first.to_string()
    } else {
        format!("{first} to {last}")
    };
    Some(format!(
        "{bars}  {span}, at most {} on {dearest}",
        super::print::short(most)
    ))
}

fn bar(spent: Usd, most: Usd) -> char {
    let (spent, most) = (
        u128::from(spent.billionths()),
        u128::from(most.billionths()),
    );
    // From just above nothing to the most in eight steps of one size.
    let step = (spent * BARS.len() as u128).div_ceil(most.max(1));
    let place = step
        .checked_sub(1)
        .and_then(|place| usize::try_from(place).ok());
    place
        .and_then(|place| BARS.get(place))
        .copied()
        .unwrap_or(NOTHING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Tally;

    fn day(name: &str, cents: u64) -> Group {
        let tally = Tally {
            usd_spent: Usd::from_billionths(cents * 10_000_000),
            ..Tally::default()
        };
        let name = name.to_owned();
        Group { name, tally }
    }

    #[test]
    fn each_day_has_a_bar() {
        let days = [
            day("2026-10-31", 100),
            day("2026-11-01", 0),
            day("2026-11-03", 800),
            day("2026-11-04", 1),
        ];
        let shown = line(&days).unwrap();
        assert_eq!(
            shown,
            "▁··█▁  2026-10-31 to 2026-11-04, at most $8.00 on 2026-11-03"
        );
        let one = line(&days[..1]).unwrap();
        assert_eq!(one, "█  2026-10-31, at most $1.00 on 2026-10-31");
        assert_eq!(line(&days[1..2]), None);
        assert_eq!(line(&[]), None);
    }

    #[test]
    fn a_long_time_shows_its_end() {
        let days = [
            day("-004000-01-01", 900),
            day("2026-01-01", 300),
            day("2026-11-03", 800),
            day("2026-11-04", 1),
        ];
        let shown = line(&days).unwrap();
        assert!(shown.contains("at most $8.00 on 2026-11-03"), "{shown}");
        let bars = shown.split(' ').next().unwrap();
        assert!(bars.chars().count() <= MOST, "{shown}");
        assert!(bars.ends_with("█▁"), "{shown}");
    }
}
