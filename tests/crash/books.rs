//! What the ledger says of a life that was cut short, beside what upstream bills.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::home::Home;
use crate::sort::Sort;

/// A budget that nobody reaches: with one, whatever is sent is noted before.
pub(crate) const BUDGET: (&str, &str) = ("REPRISE_LIMITS__USD_PER_DAY", "1000");

/// Holds the ledger to the bill: no line twice, every paid run once and for what it cost, and what is
/// billed beside those is a run whose outcome nobody knows.
pub(crate) fn check(home: &Home, sort: Sort, named: &str) {
    let mut last = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for line in lines(home) {
        let (outcome, run) = (text(&line, "outcome"), text(&line, "run"));
        if run.is_empty() {
            continue;
        }
        let once = seen.insert((run.clone(), outcome.clone()));
        assert!(once, "{named}: run {run} is {outcome} twice");
        last.insert(run, (outcome, line["usd_spent"].as_f64().unwrap()));
    }
    let of = |wanted: &str| {
        last.values()
            .filter(|(outcome, _)| outcome == wanted)
            .count() as u64
    };
    let (paid, unknown, bill) = (of("paid"), of("unknown"), home.sandbox.bill());
    let told = format!(
        "{named}: paid {paid}, unknown {unknown}, billed {}: {last:?}",
        bill.total()
    );
    assert!(
        paid <= bill.total() && bill.total() <= paid + unknown,
        "{told}"
    );
    let spent: f64 = last.values().map(|(_, usd)| usd).sum();
    if paid == bill.total() && is_told(sort) {
        assert!((spent - bill.usd).abs() < 1e-6, "{told}: {}", bill.usd);
    }
}

/// Whether upstream says in its answer what it bills.
fn is_told(sort: Sort) -> bool {
    matches!(sort, Sort::Video | Sort::Chat | Sort::ChatAsk)
}

fn text(line: &Value, name: &str) -> String {
    line[name].as_str().unwrap_or_default().to_owned()
}

/// Every whole line; a crash may tear one.
pub(crate) fn lines(home: &Home) -> Vec<Value> {
    let Ok(pages) = fs::read_dir(home.launch.data.join("ledger")) else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for page in pages {
        let text = fs::read(page.unwrap().path()).unwrap();
        let whole = text.split(|byte| *byte == b'\n');
        lines.extend(whole.filter_map(|line| serde_json::from_slice::<Value>(line).ok()));
    }
    lines
}
