use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn usd(dollars: f64) -> Usd {
    Usd::from_dollars(dollars)
}

fn budgets(day: f64, month: f64) -> Budgets {
    let common = Allowance {
        day: (day > 0.0).then(|| usd(day)),
        month: (month > 0.0).then(|| usd(month)),
    };
    Budgets(Arc::new(Mutex::new(Accounts {
        common,
        ..Accounts::default()
    })))
}

fn run(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

const NOON: &str = "2026-11-30T12:00:00Z";

#[test]
fn a_refusal_says_everything() {
    let budgets = budgets(10.0, 0.0);
    budgets.book("alice", usd(6.5), at(NOON));
    let held = budgets.hold("alice", (run(1), usd(2.0)), at(NOON)).unwrap();
    let over = budgets.hold("alice", (run(2), usd(1.75)), at(NOON));
    assert_eq!(
        over.unwrap_err().to_string(),
        "This generation is estimated at $1.75, and your budget usd_per_day has $1.50 left of $10.00 \
         ($6.50 spent, $2.00 held for runs under way). Nothing was sent. It resets at \
         2026-12-01T00:00:00Z."
    );
    // Others have budgets of their own, and what is exactly left may be held.
    drop(budgets.hold("bob", (run(3), usd(10.0)), at(NOON)).unwrap());
    drop(budgets.hold("alice", (run(4), usd(1.5)), at(NOON)).unwrap());
    held.settle(usd(0.5));
    drop(budgets.hold("alice", (run(5), usd(3.0)), at(NOON)).unwrap());
    assert!(
        budgets
            .hold("alice", (run(6), usd(3.01)), at(NOON))
            .is_err()
    );
}

#[test]
fn the_budget_that_lasts_longer_is_named() {
    let budgets = budgets(1.0, 1.0);
    let over = budgets
        .hold("alice", (run(1), usd(2.0)), at(NOON))
        .unwrap_err();
    assert_eq!(over.period, Period::Month);
    let budgets = self::budgets(1.0, 9.0);
    let over = budgets
        .hold("alice", (run(1), usd(2.0)), at("2026-12-31T23:59:59Z"))
        .unwrap_err();
    assert_eq!(over.period, Period::Day);
    assert_eq!(over.resets_at, at("2027-01-01T00:00:00Z"));
}

#[test]
fn what_costs_nothing_is_never_refused() {
    let budgets = budgets(1.0, 1.0);
    budgets.book("alice", usd(5.0), at(NOON));
    assert!(
        budgets
            .hold("alice", (run(1), usd(0.01)), at(NOON))
            .is_err()
    );
    drop(
        budgets
            .hold("alice", (run(1), Usd::ZERO), at(NOON))
            .unwrap(),
    );
}

#[test]
fn a_run_is_booked_on_the_day_it_was_asked_for() {
    let budgets = budgets(10.0, 12.0);
    let held = budgets.hold("alice", (run(1), usd(8.0)), at(NOON)).unwrap();
    let next = at("2026-12-01T00:00:01Z");
    drop(budgets.hold("alice", (run(2), usd(9.0)), next).unwrap());
    // It ends after midnight: nothing of it counts in the new day or month.
    held.settle(usd(9.0));
    assert_eq!(
        budgets.standing("alice", Period::Day, next),
        (Usd::ZERO, Usd::ZERO)
    );
    assert_eq!(
        budgets.standing("alice", Period::Month, next),
        (Usd::ZERO, Usd::ZERO)
    );
    assert_eq!(
        budgets.standing("alice", Period::Day, at(NOON)),
        (usd(9.0), Usd::ZERO)
    );
    // The clock is set back: that day's money is still spent.
    let back = at("2026-11-30T23:00:00Z");
    let over = budgets.hold("alice", (run(3), usd(1.5)), back).unwrap_err();
    assert_eq!((over.period, over.left()), (Period::Day, usd(1.0)));
}

#[test]
fn a_hold_that_is_kept_goes_by_its_run() {
    let budgets = budgets(10.0, 0.0);
    budgets
        .hold("alice", (run(1), usd(8.0)), at(NOON))
        .unwrap()
        .keep();
    assert_eq!(
        budgets.standing("alice", Period::Day, at(NOON)),
        (Usd::ZERO, usd(8.0))
    );
    // The same run once more is the same money.
    budgets.take_up("alice", (run(1), usd(8.0)), at(NOON));
    assert_eq!(budgets.standing("alice", Period::Day, at(NOON)).1, usd(8.0));
    assert!(budgets.settle(run(1), usd(7.0)));
    assert!(!budgets.settle(run(1), usd(7.0)), "a run is settled once");
    budgets.give_back(run(1));
    assert_eq!(
        budgets.standing("alice", Period::Day, at(NOON)),
        (usd(7.0), Usd::ZERO)
    );
}

#[test]
fn fifty_threads_hold_no_more_than_there_is() {
    let budgets = budgets(10.0, 0.0);
    let held = std::thread::scope(|scope| {
        let holding: Vec<_> = (0..50)
            .map(|n| {
                let budgets = budgets.clone();
                scope.spawn(move || budgets.hold("alice", (run(n), usd(1.0)), at(NOON)).ok())
            })
            .collect();
        let held = holding.into_iter().map(|thread| thread.join().unwrap());
        held.flatten().collect::<Vec<_>>()
    });
    assert_eq!(held.len(), 10);
    drop(held);
    assert_eq!(
        budgets.standing("alice", Period::Day, at(NOON)),
        (Usd::ZERO, Usd::ZERO)
    );
}

#[derive(Clone, Debug)]
enum Step {
    Hold { hour: i64, cents: u32 },
    Settle { which: usize, part: u32 },
    GiveBack { which: usize },
    Keep { which: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..8_usize;
    prop::collection::vec(
        prop_oneof![
            3 => (0..72_i64, 0..700_u32).prop_map(|(hour, cents)| Step::Hold { hour, cents }),
            2 => (which.clone(), 0..=100_u32).prop_map(|(which, part)| Step::Settle { which, part }),
            1 => which.clone().prop_map(|which| Step::GiveBack { which }),
            1 => which.prop_map(|which| Step::Keep { which }),
        ],
        0..80,
    )
}

proptest! {
    /// Whatever the order, and however the clock jumps: spent and held are the sums of what is, by
    /// day and month, and never more than the budget.
    #[test]
    fn the_sums_are_those_of_a_list(steps in steps()) {
        let budgets = budgets(20.0, 30.0);
        let start = at("2026-11-29T00:00:00Z");
        let mut open: Vec<(Option<Hold>, Uuid, u64, Timestamp)> = Vec::new();
        let mut spent: Vec<(Timestamp, u64)> = Vec::new();
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Hold { hour, cents } => {
                    let at = start + jiff::SignedDuration::from_hours(hour);
                    let parts = u64::from(cents) * 10_000_000;
                    let stake = (run(n as u128), Usd::from_billionths(parts));
                    if let Ok(hold) = budgets.hold("alice", stake, at) {
                        open.push((Some(hold), stake.0, parts, at));
                    }
                }
                Step::Settle { which, part } if which < open.len() => {
                    let (hold, run, held, at) = open.swap_remove(which);
                    let cost = held / 100 * u64::from(part);
                    match hold {
                        Some(hold) => hold.settle(Usd::from_billionths(cost)),
                        None => prop_assert!(budgets.settle(run, Usd::from_billionths(cost))),
                    }
                    spent.push((at, cost));
                }
                Step::GiveBack { which } if which < open.len() => {
                    let (hold, run, ..) = open.swap_remove(which);
                    if hold.is_none() {
                        budgets.give_back(run);
                    }
                }
                Step::Keep { which } if which < open.len() => {
                    if let Some(hold) = open[which].0.take() {
                        hold.keep();
                    }
                }
                Step::Settle { .. } | Step::GiveBack { .. } | Step::Keep { .. } => {}
            }
            for day in 0..3 {
                let at = start + jiff::SignedDuration::from_hours(24 * day);
                for (period, limit) in [(Period::Day, 20.0), (Period::Month, 30.0)] {
                    let same = |other: Timestamp| {
                        period.first(date_of(other)) == period.first(date_of(at))
                    };
                    let held: u64 = open.iter().filter(|one| same(one.3)).map(|one| one.2).sum();
                    let paid: u64 = spent.iter().filter(|one| same(one.0)).map(|one| one.1).sum();
                    let sums = (Usd::from_billionths(paid), Usd::from_billionths(held));
                    prop_assert_eq!(budgets.standing("alice", period, at), sums);
                    prop_assert!(sums.0 + sums.1 <= usd(limit));
                }
            }
        }
    }
}

#[test]
fn what_is_used_up_is_told_to_whoever_cannot_be_estimated() {
    let budgets = budgets(1.0, 0.0);
    assert!(budgets.check_left("alice", at(NOON)).is_ok());
    let held = budgets
        .hold("alice", (run(1), usd(0.75)), at(NOON))
        .unwrap();
    assert!(budgets.check_left("alice", at(NOON)).is_ok());
    budgets.book("alice", usd(0.25), at(NOON));
    let over = budgets.check_left("alice", at(NOON)).unwrap_err();
    assert_eq!((over.estimate, over.left()), (Usd::ZERO, Usd::ZERO));
    assert!(budgets.check_left("bob", at(NOON)).is_ok());
    drop(held);
    assert!(budgets.check_left("alice", at(NOON)).is_ok());
}

#[test]
fn holds_of_long_ago_are_let_go() {
    let budgets = budgets(1.0, 0.0);
    for (n, day) in ["2026-09-30", "2026-10-01", "2026-11-30"]
        .iter()
        .enumerate()
    {
        let then = at(&format!("{day}T12:00:00Z"));
        let held = budgets.hold("alice", (run(n as u128), usd(0.5)), then);
        held.unwrap().keep();
    }
    let mut left: Vec<Uuid> = budgets.lock().holds.keys().copied().collect();
    left.sort();
    assert_eq!(left, [run(1), run(2)]);
    let (_, held) = budgets.standing("alice", Period::Day, at(NOON));
    assert_eq!(held, usd(0.5));
}
