//! Sums, groups, doubts, and what a start finds out.

use super::*;

fn names(statistics: &Statistics) -> Vec<&str> {
    let groups = statistics.groups.iter();
    groups.map(|group| group.name.as_str()).collect()
}

#[test]
fn groups_are_by_client_model_kind_and_day() {
    let home = Home::new();
    let (ledger, _) = home.open();
    let mut bob = line(Outcome::Paid, 500);
    bob.client = "bob \"the\" \u{1f3ac}".to_owned();
    bob.model = None;
    bob.key = key(2);
    bob.kind = Kind::Video;
    bob.time = time("2026-10-31T23:59:59.5Z");
    bob.unpriced = true;
    for line in [
        line(Outcome::Paid, 100),
        line(Outcome::Hit, 200),
        line(Outcome::Joined, 300),
        line(Outcome::Failed, 1),
        line(Outcome::Unknown, 1),
        bob,
    ] {
        ledger.commit_blocking(line).unwrap();
    }
    for (by, expected) in [
        (By::Client, ["bob \"the\" \u{1f3ac}", "alice"]),
        (By::Model, ["(none)", "grok-imagine-image"]),
        (By::Kind, ["video", "images"]),
        (By::Day, ["2026-10-31", "2026-11-21"]),
    ] {
        let statistics = home.statistics(by);
        assert_eq!(names(&statistics), expected, "{by}");
        let [first, second] = statistics.groups.as_slice() else {
            panic!("{statistics:?}");
        };
        assert_eq!((first.tally.paid, first.tally.unpriced), (1, 1), "{by}");
        let mut sum = first.tally;
        sum.add(&second.tally);
        assert_eq!(sum, statistics.total, "{by}");
    }
    let json = serde_json::to_value(home.statistics(By::Kind)).unwrap();
    let expected = serde_json::json!({
        "paid": 2, "hit": 1, "joined": 1, "failed": 1, "unknown": 1,
        "possible_double_payments": 0, "unpriced": 1, "usd_spent": 6.0, "usd_saved": 5.0,
        "groups": [
            {
                "name": "video", "paid": 1, "hit": 0, "joined": 0, "failed": 0, "unknown": 0,
                "possible_double_payments": 0, "unpriced": 1, "usd_spent": 5.0, "usd_saved": 0.0
            },
            {
                "name": "images", "paid": 1, "hit": 1, "joined": 1, "failed": 1, "unknown": 1,
                "possible_double_payments": 0, "unpriced": 0, "usd_spent": 1.0, "usd_saved": 5.0
            },
        ]
    });
    assert_eq!(json, expected);
    let back: Statistics = serde_json::from_value(json).unwrap();
    assert_eq!(back, home.statistics(By::Kind));
}

#[test]
fn only_what_was_asked_for_since_counts() {
    let home = Home::new();
    let (ledger, _) = home.open();
    for time_of in [
        "2026-09-30T00:00:00Z",
        "2026-11-14T11:59:59Z",
        "2026-11-14T12:00:00Z",
    ] {
        let mut paid = line(Outcome::Paid, 1);
        paid.time = time(time_of);
        ledger.commit_blocking(paid).unwrap();
    }
    for (text, expected) in [("7d", 1), ("2026-11-14", 2), ("2026-09-30", 3), ("1h", 0)] {
        let since = Some(since(text, time(NOON)).unwrap());
        let by = By::Day;
        let found = Statistics::of_files(home.path(), &Question { by, since }).unwrap();
        assert_eq!(found.total.paid, expected, "{text}");
    }
}

#[test]
fn of_the_lines_of_one_run_the_last_counts() {
    let home = Home::new();
    let (ledger, _) = home.open();
    for (n, outcome, cents) in [
        (1, Outcome::Unknown, 0),
        (2, Outcome::Paid, 10),
        (1, Outcome::Joined, 7),
        (1, Outcome::Paid, 5),
        (3, Outcome::Unknown, 0),
        (3, Outcome::Failed, 0),
        (1, Outcome::Joined, 7),
    ] {
        let mut line = line(outcome, cents);
        line.run = run(n);
        // The second is another generation.
        line.key = key(u8::try_from(n).unwrap());
        ledger.commit_blocking(line).unwrap();
    }
    let total = home.statistics(By::Client).total;
    assert_eq!(
        (total.paid, total.joined, total.failed, total.unknown),
        (2, 2, 1, 0)
    );
    let (ledger, spent) = home.open();
    assert_eq!(
        spent.clients["alice"].day,
        Usd::from_billionths(150_000_000)
    );
    assert!(spent.unknown.is_empty(), "{spent:?}");
    let booked = ledger
        .booked_blocking(time("2026-11-21T00:00:00Z"))
        .unwrap();
    let of = |n| booked.get(&run(n).unwrap()).copied();
    assert_eq!(of(1), Some(Outcome::Paid));
    assert_eq!(of(2), Some(Outcome::Paid));
    assert_eq!(of(3), Some(Outcome::Failed));
    assert_eq!(booked.len(), 3);
    let later = ledger
        .booked_blocking(time("2026-11-21T12:00:01Z"))
        .unwrap();
    assert!(later.is_empty(), "{later:?}");
}

#[test]
fn a_day_and_a_month_end_at_midnight_in_utc() {
    let home = Home::new();
    let (ledger, _) = home.open();
    for (at, cents) in [
        ("2026-11-21T00:00:00Z", 1),
        ("2026-11-20T23:59:59.999Z", 2),
        ("2026-11-01T00:00:00Z", 4),
        ("2026-10-31T23:59:59Z", 8),
        // A clock that was set back: it is this month's all the same.
        ("2026-11-30T00:00:00Z", 16),
    ] {
        let mut paid = line(Outcome::Paid, cents);
        paid.time = time(at);
        ledger.commit_blocking(paid).unwrap();
    }
    let mut bob = line(Outcome::Paid, 32);
    bob.client = "bob".to_owned();
    ledger.commit_blocking(bob).unwrap();
    let (_, spent) = home.open();
    let sums = |client: &str| {
        let Sums { day, month } = spent.clients[client];
        (
            day.billionths() / 10_000_000,
            month.billionths() / 10_000_000,
        )
    };
    assert_eq!(sums("alice"), (1, 23));
    assert_eq!(sums("bob"), (32, 32));
}

/// By the last line of each run of this month, whatever stood before it.
#[test]
fn what_a_doubt_holds_is_read_back() {
    let home = Home::new();
    let (ledger, _) = home.open();
    let dollar = Usd::from_billionths(1_000_000_000);
    let doubt = |n, at: &str| Line {
        time: time(at),
        run: run(n),
        usd_held: dollar,
        ..line(Outcome::Unknown, 0)
    };
    for n in [1, 2] {
        ledger
            .commit_blocking(doubt(n, "2026-11-02T00:00:00Z"))
            .unwrap();
    }
    ledger
        .commit_blocking(doubt(3, "2026-10-31T23:59:59Z"))
        .unwrap();
    let paid = Line {
        time: time("2026-11-02T00:00:00Z"),
        run: run(2),
        ..line(Outcome::Paid, 7)
    };
    ledger.commit_blocking(paid).unwrap();
    ledger
        .commit_blocking(Line {
            run: run(4),
            ..line(Outcome::Unknown, 0)
        })
        .unwrap();
    let text = home.text("2026-11.jsonl");
    assert_eq!(
        text.matches("usd_held").count(),
        2,
        "where it applies: {text}"
    );
    let held = Held {
        run: Uuid::from_u128(1),
        client: "alice".to_owned(),
        usd: dollar,
        at: time("2026-11-02T00:00:00Z"),
    };
    assert_eq!(home.open().1.held, [held]);
}

/// Over restarts, and when the doubt is a month old.
#[test]
fn a_payment_after_an_unknown_outcome_is_doubtful_once() {
    let home = Home::new();
    let commit = |n: u128, outcome, time_of: &str| {
        let (ledger, spent) = home.open();
        let mut line = line(outcome, 1);
        line.run = run(n);
        line.time = time(time_of);
        ledger.commit_blocking(line).unwrap();
        spent.unknown.contains(&key(1))
    };
    assert!(!commit(1, Outcome::Unknown, "2026-09-01T00:00:00Z"));
    assert!(commit(2, Outcome::Hit, NOON), "no run, no doubt answered");
    assert!(
        commit(3, Outcome::Failed, NOON),
        "neither is it by a run that failed"
    );
    assert!(commit(4, Outcome::Paid, NOON));
    assert!(!commit(5, Outcome::Paid, NOON), "it is doubtful once");
    let total = home.statistics(By::Client).total;
    assert_eq!((total.paid, total.possible_double_payments), (2, 1));
    assert!(
        home.text("2026-11.jsonl")
            .contains("\"possible_double_payment\":true")
    );
    // A doubt that was resolved into a run that was paid for doubles nothing.
    commit(6, Outcome::Unknown, NOON);
    commit(6, Outcome::Paid, NOON);
    commit(7, Outcome::Paid, NOON);
    let total = home.statistics(By::Client).total;
    assert_eq!((total.paid, total.possible_double_payments), (4, 1));
}

/// A rerun of what is in doubt may be the second payment, also when nobody knows how it ended.
#[test]
fn a_rerun_of_unknown_outcome_is_doubtful_too() {
    for restarts in [false, true] {
        let home = Home::new();
        let mut ledger = home.open().0;
        let mut commit = |n: u128, outcome| {
            let mut line = line(outcome, 1);
            line.run = run(n);
            ledger.commit_blocking(line).unwrap();
            if restarts {
                ledger = home.open().0;
            }
            let total = home.statistics(By::Client).total;
            (total.unknown, total.paid, total.possible_double_payments)
        };
        assert_eq!(commit(1, Outcome::Unknown), (1, 0, 0), "{restarts}");
        assert_eq!(commit(2, Outcome::Unknown), (2, 0, 1), "{restarts}");
        assert_eq!(commit(3, Outcome::Unknown), (3, 0, 2), "{restarts}");
        // The last one makes this one doubtful, and nothing the next.
        assert_eq!(commit(4, Outcome::Paid), (3, 1, 3), "{restarts}");
        assert_eq!(commit(5, Outcome::Paid), (3, 2, 3), "{restarts}");
        // What becomes known of a rerun changes nothing about that, unless it is that it cost nothing.
        assert_eq!(commit(3, Outcome::Paid), (2, 3, 3), "{restarts}");
        assert_eq!(commit(2, Outcome::Failed), (1, 3, 2), "{restarts}");
    }
}

/// Whoever is dropped with its call cannot wait for its line.
#[test]
fn a_doubt_that_was_only_noted_is_one() {
    let home = Home::new();
    let (ledger, _) = home.open();
    for (n, outcome) in [(1, Outcome::Unknown), (2, Outcome::Paid)] {
        let mut line = line(outcome, 1);
        line.run = run(n);
        if outcome == Outcome::Unknown {
            ledger.note(&line);
        } else {
            ledger.commit_blocking(line).unwrap();
        }
    }
    let total = home.statistics(By::Client).total;
    assert_eq!((total.paid, total.possible_double_payments), (1, 1));
}

#[test]
fn names_without_end_are_one_group() {
    let home = Home::new();
    let mut file = String::new();
    for n in 0..10_500 {
        let mut paid = line(Outcome::Paid, 1);
        paid.model = Some(format!("model-{n}"));
        file += &text(&paid);
    }
    home.put("2026-11.jsonl", file);
    let statistics = home.statistics(By::Model);
    assert_eq!(statistics.groups.len(), 10_001);
    assert_eq!(statistics.groups[0].name, "(others)");
    assert_eq!(statistics.groups[0].tally.paid, 500);
    assert_eq!(statistics.total.paid, 10_500);
}
