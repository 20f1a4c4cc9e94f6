//! A crash tears the last line at any byte; what stands beside it stays.

use proptest::prelude::*;

use super::*;

#[test]
fn a_torn_line_costs_itself_alone_at_every_byte() {
    let home = Home::new();
    let lines: Vec<String> = (0..3)
        .map(|n| {
            let mut paid = line(Outcome::Paid, 1);
            paid.run = run(n);
            text(&paid)
        })
        .collect();
    let whole = lines.concat();
    let last = whole.len() - lines[2].len();
    for cut in (0..3).chain(last - 3..=whole.len()) {
        home.put("2026-11.jsonl", &whole[..cut]);
        let ends: Vec<usize> = (1..=3).map(|n| lines[..n].concat().len()).collect();
        // A line that lacks nothing but its newline is whole.
        let left = ends.iter().filter(|end| **end <= cut + 1).count() as u64;
        let clean = cut == 0 || ends.iter().any(|end| *end == cut || *end == cut + 1);
        let torn = u64::from(!clean);
        let before = home.statistics(By::Client);
        assert_eq!(
            (before.total.paid, before.unreadable),
            (left, torn),
            "{cut}"
        );

        let (ledger, spent) = home.open();
        let known = spent
            .clients
            .get("alice")
            .map_or(Usd::ZERO, |sums| sums.month);
        assert_eq!(known, Usd::from_billionths(left * 10_000_000), "{cut}");
        let mut next = line(Outcome::Paid, 1);
        next.run = run(9);
        ledger.commit_blocking(next).unwrap();
        let after = home.statistics(By::Client);
        assert_eq!(
            (after.total.paid, after.unreadable),
            (left + 1, torn),
            "{cut}"
        );
        assert!(
            home.text("2026-11.jsonl").starts_with(&whole[..cut]),
            "nothing is deleted"
        );
    }
}

#[test]
fn what_is_no_line_is_counted_and_left_out() {
    let home = Home::new();
    let good = text(&line(Outcome::Paid, 1));
    let odd = [
        "\u{0}\u{0}\u{0}\n",
        "{}\n",
        "null\n",
        "[1,2]\n",
        &good.replace("\"paid\"", "\"stolen\""),
        &good.replace("2026-11-21T", "yesterday"),
        &good.replace("\"images\"", "\"films\""),
        &good.replace("0.01", "\"much\""),
        &good.replacen('{', "{{", 1),
    ];
    let mut file = format!("\n{}\n\n", good.trim_end());
    for odd in odd {
        file += odd;
        file += &good;
    }
    let mut file = file.into_bytes();
    file.extend_from_slice(b"\xff\xfe\n");
    home.put("2026-11.jsonl", file);
    // What a newer version adds is no harm.
    let newer = good.replacen('{', "{\"colour\":{\"a\":[1]},", 1);
    home.put("2026-10.jsonl", newer);
    home.put("notes.jsonl", "mine");
    let statistics = home.statistics(By::Client);
    assert_eq!(statistics.unreadable, odd.len() as u64 + 1);
    assert_eq!(statistics.total.paid, odd.len() as u64 + 2);
    let json = serde_json::to_value(&statistics).unwrap();
    assert_eq!(json["unreadable"], odd.len() as u64 + 1);
}

/// One step of a story: lines, and the death of the process at some byte of the file.
#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(u8, Outcome, u64)>),
    Tear(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = proptest::sample::select(Outcome::ALL.to_vec());
    let lines = proptest::collection::vec((0..4_u8, outcome, 0..500_u64), 1..6);
    prop_oneof![
        3 => lines.prop_map(Step::Commit),
        1 => (0..300_u16).prop_map(Step::Tear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever happens, sums are those of the lines that stand whole in the file, each run by its
    /// last; read forwards and simply, they are the same.
    #[test]
    fn sums_are_those_of_what_stands_there(steps in proptest::collection::vec(step(), 1..12)) {
        let home = Home::new();
        let (mut ledger, _) = home.open();
        for step in steps {
            match step {
                Step::Commit(lines) => {
                    for (n, outcome, cents) in lines {
                        let mut line = line(outcome, cents);
                        line.run = run(n.into()).filter(|_| n > 0);
                        ledger.commit_blocking(line).unwrap();
                    }
                }
                Step::Tear(bytes) => {
                    drop(ledger);
                    if let Ok(whole) = std::fs::read(home.page("2026-11.jsonl")) {
                        let left = whole.len().saturating_sub(bytes.into());
                        home.put("2026-11.jsonl", &whole[..left]);
                    }
                    (ledger, _) = home.open();
                }
            }
        }
        let (total, spent) = (home.statistics(By::Kind).total, home.open().1);
        let simple = simply(&home);
        prop_assert_eq!(total, simple);
        let sums = spent.clients.get("alice").copied().unwrap_or_default();
        prop_assert_eq!(sums.day, simple.usd_spent);
        prop_assert_eq!(sums.month, simple.usd_spent);
    }
}

/// The same sums, as anybody would make them.
fn simply(home: &Home) -> Tally {
    let file = std::fs::read_to_string(home.page("2026-11.jsonl")).unwrap_or_default();
    let lines = file
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let mut counted: Vec<Line> = Vec::new();
    for line in lines {
        let ran = !matches!(line.outcome, Outcome::Hit | Outcome::Joined);
        if let Some(run) = line.run.filter(|_| ran) {
            let same = |other: &Line| {
                other.run == Some(run) && !matches!(other.outcome, Outcome::Hit | Outcome::Joined)
            };
            counted.retain(|other| !same(other));
        }
        counted.push(line);
    }
    let count = |outcome| {
        counted
            .iter()
            .filter(|line| line.outcome == outcome)
            .count() as u64
    };
    let doubtful = counted.iter().filter(|line| line.possible_double_payment);
    Tally {
        paid: count(Outcome::Paid),
        hit: count(Outcome::Hit),
        joined: count(Outcome::Joined),
        failed: count(Outcome::Failed),
        unknown: count(Outcome::Unknown),
        possible_double_payments: doubtful.count() as u64,
        unpriced: 0,
        usd_spent: counted.iter().map(|line| line.usd_spent).sum(),
        usd_saved: counted.iter().map(|line| line.usd_saved).sum(),
    }
}
