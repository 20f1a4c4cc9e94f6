//! What `reprise stats` prints: for people on a terminal, else for programs.

use super::spark;
use crate::cli::admin::printable;
use crate::cli::table;
use crate::ledger::{By, Group, Statistics, Tally};
use crate::price::Usd;

/// An amount without its sign.
pub(super) fn dollars(amount: Usd) -> String {
    amount.to_string().trim_start_matches('$').to_owned()
}

/// An amount for people: whole cents, or four digits after the point where it is less than a dollar;
/// as it is where that would show nothing.
pub(super) fn short(amount: Usd) -> String {
    let parts = amount.billionths();
    let step = if parts < 1_000_000_000 {
        100_000
    } else {
        10_000_000
    };
    let rounded = parts.saturating_add(step / 2) / step * step;
    match rounded {
        0 => amount.to_string(),
        rounded => Usd::from_billionths(rounded).to_string(),
    }
}

/// With tabs: name, paid, hit, joined, failed, unknown, possible double payments, unpriced, dollars
/// spent, dollars saved. The first line is the total.
pub(super) fn columns(statistics: &Statistics) -> String {
    let total = row("total", &statistics.total, dollars);
    let groups = &statistics.groups;
    let groups = groups
        .iter()
        .map(|group| row(&group.name, &group.tally, dollars));
    table::tabbed(&std::iter::once(total).chain(groups).collect::<Vec<_>>())
}

fn row(name: &str, tally: &Tally, money: fn(Usd) -> String) -> [String; 10] {
    [
        name.to_owned(),
        tally.paid.to_string(),
        tally.hit.to_string(),
        tally.joined.to_string(),
        tally.failed.to_string(),
        tally.unknown.to_string(),
        tally.possible_double_payments.to_string(),
        tally.unpriced.to_string(),
        money(tally.usd_spent),
        money(tally.usd_saved),
    ]
}

/// A table, what was spent each day, and what one should know.
pub(super) fn table(by: By, statistics: &Statistics, days: &[Group]) -> String {
    let Statistics {
        total,
        groups,
        unreadable,
    } = statistics;
    if groups.is_empty() && *unreadable == 0 {
        return "Nothing was asked for.\n".to_owned();
    }
    let mut rows: Vec<_> = groups
        .iter()
        .map(|group| cells(&group.name, &group.tally))
        .collect();
    if rows.len() != 1 {
        rows.push(cells("total", total));
    }
    let name = by.as_str().to_uppercase();
    let head = [
        name.as_str(),
        "PAID",
        "AVOIDED",
        "HIT",
        "JOINED",
        "FAILED",
        "UNKNOWN",
        "SPENT",
        "SAVED",
    ];
    let bars = spark::line(days).map(|line| format!("\nspent a day  {line}\n"));
    let remarks = remarks(total, *unreadable).into_iter();
    let loud = remarks.map(|line| format!("\n\u{1b}[1m{line}\u{1b}[0m\n"));
    let table = figures(&head.map(str::to_owned), &rows);
    std::iter::once(table).chain(bars).chain(loud).collect()
}

fn cells(name: &str, tally: &Tally) -> [String; 9] {
    [
        name.to_owned(),
        tally.paid.to_string(),
        tally.avoided().to_string(),
        tally.hit.to_string(),
        tally.joined.to_string(),
        tally.failed.to_string(),
        tally.unknown.to_string(),
        short(tally.usd_spent),
        short(tally.usd_saved),
    ]
}

/// What makes the sums wrong, or costs money.
fn remarks(total: &Tally, unreadable: u64) -> Vec<String> {
    let told = [
        (
            total.unpriced,
            "UNPRICED",
            "of models without a price, counted as $0.00: give them one under [prices] in proxy.toml",
        ),
        (
            total.possible_double_payments,
            "POSSIBLY PAID TWICE",
            "after a run of unknown outcome: compare with upstream's bill",
        ),
    ];
    let runs = |count: u64| if count == 1 { "paid run" } else { "paid runs" };
    let told = told.into_iter().filter(|(count, _, _)| *count > 0);
    let mut lines: Vec<_> = told
        .map(|(count, what, why)| format!("{what}: {count} {} {why}", runs(count)))
        .collect();
    if unreadable > 0 {
        lines.push(format!(
            "UNREADABLE: {unreadable} lines of the ledger, which no sum has"
        ));
    }
    lines
}

/// Columns as wide as their longest cell: the first to the left, figures to the right.
fn figures<const N: usize>(head: &[String; N], rows: &[[String; N]]) -> String {
    let clean = |row: &[String; N]| {
        row.each_ref()
            .map(|cell| printable(cell).replace('\n', "?"))
    };
    let rows: Vec<_> = std::iter::once(head).chain(rows).map(clean).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        for (nth, (width, cell)) in widths.iter().zip(row).enumerate() {
            let cell = match nth {
                0 => format!("{cell:width$}"),
                _ => format!("  {cell:>width$}"),
            };
            text.push_str(&cell);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics() -> Statistics {
        let alice = Tally {
            paid: 12,
            hit: 30,
            joined: 3,
            failed: 1,
            unknown: 2,
            possible_double_payments: 1,
            unpriced: 2,
            usd_spent: Usd::from_billionths(12_345_678_900),
            usd_saved: Usd::from_billionths(36_840_000),
        };
        let bob = Tally {
            hit: 1,
            ..Tally::default()
        };
        let group = |name: &str, tally| Group {
            name: name.to_owned(),
            tally,
        };
        Statistics {
            total: Tally { hit: 31, ..alice },
            groups: vec![group("alice", alice), group("b\u{1b}[2Jb", bob)],
            unreadable: 0,
        }
    }

    #[test]
    fn people_see_figures_in_columns_and_what_is_wrong_with_them() {
        let day = Group {
            name: "2026-11-21".to_owned(),
            tally: statistics().total,
        };
        let text = table(By::Client, &statistics(), &[day]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..4],
            [
                "CLIENT  PAID  AVOIDED  HIT  JOINED  FAILED  UNKNOWN   SPENT    SAVED",
                "alice     12       33   30       3       1        2  $12.35  $0.0368",
                "b?[2Jb     0        1    1       0       0        0   $0.00    $0.00",
                "total     12       34   31       3       1        2  $12.35  $0.0368",
            ],
            "{text}"
        );
        assert_eq!(
            lines[5],
            "spent a day  █  2026-11-21, at most $12.35 on 2026-11-21"
        );
        assert!(
            text.contains("\u{1b}[1mUNPRICED: 2 paid runs of models"),
            "{text}"
        );
        assert!(
            text.contains("POSSIBLY PAID TWICE: 1 paid run after"),
            "{text}"
        );
        assert!(!text.contains("UNREADABLE"), "{text}");
        let nothing = table(By::Client, &Statistics::default(), &[]);
        assert_eq!(nothing, "Nothing was asked for.\n");
    }

    #[test]
    fn programs_get_whole_amounts() {
        assert_eq!(
            columns(&statistics()),
            "total\t12\t31\t3\t1\t2\t1\t2\t12.3456789\t0.03684\n\
             alice\t12\t30\t3\t1\t2\t1\t2\t12.3456789\t0.03684\n\
             b?[2Jb\t0\t1\t0\t0\t0\t0\t0\t0.00\t0.00\n"
        );
    }

    #[test]
    fn an_amount_is_as_long_as_it_needs() {
        for (parts, shown) in [
            (0, "$0.00"),
            (12_345_678_900, "$12.35"),
            (999_999_999, "$1.00"),
            (36_840_000, "$0.0368"),
            (49_999, "$0.000049999"),
            (u64::MAX, "$18446744073.70"),
        ] {
            assert_eq!(short(Usd::from_billionths(parts)), shown);
        }
    }
}
