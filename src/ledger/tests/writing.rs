//! What is committed is in its file, in its month, once.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::super::folder::{Folder, Paper};
use super::super::month::Month;
use super::*;

#[test]
fn a_line_is_what_people_read_with_jq() {
    let home = Home::new();
    let (ledger, spent) = home.open();
    assert_eq!(spent, Spent::default());
    assert!(
        !home.path().join("ledger").exists(),
        "opening makes nothing"
    );
    let mut paid = line(Outcome::Paid, 875);
    paid.run = run(7);
    paid.task = Some("task_1".to_owned());
    ledger.commit_blocking(paid.clone()).unwrap();
    let expected = format!(
        "{{\"time\":\"2026-11-21T12:00:00Z\",\"client\":\"alice\",\"kind\":\"images\",\
         \"model\":\"grok-imagine-image\",\"key\":\"{}\",\"outcome\":\"paid\",\"usd_spent\":8.75,\
         \"usd_saved\":0.0,\"run\":\"00000000-0000-0000-0000-000000000007\",\"task\":\"task_1\"}}\n",
        "01".repeat(32)
    );
    assert_eq!(home.text("2026-11.jsonl"), expected);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home.page("2026-11.jsonl")), 0o600);
    assert_eq!(mode(&home.path().join("ledger")), 0o700);
}

#[test]
fn a_month_has_a_file_of_its_own_however_late_its_line_comes() {
    let home = Home::new();
    let (ledger, _) = home.open();
    let mut late = line(Outcome::Paid, 1);
    late.time = time("2026-10-31T23:59:59Z");
    for line in [line(Outcome::Paid, 2), late, line(Outcome::Paid, 3)] {
        ledger.commit_blocking(line).unwrap();
    }
    assert_eq!(home.text("2026-10.jsonl").lines().count(), 1);
    assert_eq!(home.text("2026-11.jsonl").lines().count(), 2);
    let (_, spent) = home.open();
    let cents = |cents: u64| Usd::from_billionths(cents * 10_000_000);
    let sums = Sums {
        day: cents(5),
        month: cents(5),
    };
    assert_eq!(
        spent.clients["alice"], sums,
        "another month is another budget"
    );
}

/// Counts the writes, and lets each wait for a permit.
struct Slow {
    folder: Folder,
    writes: Arc<Mutex<Vec<(usize, bool)>>>,
    gate: Arc<Semaphore>,
}

impl Paper for Slow {
    fn append(&mut self, month: Month, lines: &[u8], durable: bool) -> Result<(), LedgerError> {
        let count = std::str::from_utf8(lines).unwrap().lines().count();
        self.writes.lock().unwrap().push((count, durable));
        let permit = tokio::runtime::Handle::current().block_on(self.gate.acquire());
        permit.unwrap().forget();
        self.folder.append(month, lines, durable)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_commit_at_once_share_a_sync() {
    let home = Home::new();
    let (writes, gate) = (Arc::default(), Arc::new(Semaphore::new(0)));
    let slow = Slow {
        folder: Folder::of(home.path()),
        writes: Arc::clone(&writes),
        gate: gate.clone(),
    };
    let ledger = Arc::new(Ledger::on(Box::new(slow), home.path()));
    let commit = |n: u128| {
        let ledger = ledger.clone();
        let mut paid = line(Outcome::Paid, 1);
        paid.run = run(n);
        tokio::spawn(async move { ledger.commit(paid).await })
    };
    let first = commit(0);
    wait_for(|| writes.lock().unwrap().len() == 1).await;
    let rest: Vec<_> = (1..50).map(commit).collect();
    wait_for(|| ledger.lines_waiting() == 49).await;
    gate.add_permits(2);
    first.await.unwrap().unwrap();
    for commit in rest {
        commit.await.unwrap().unwrap();
    }
    assert_eq!(*writes.lock().unwrap(), [(1, true), (49, true)]);
    let text = home.text("2026-11.jsonl");
    let lines: HashSet<&str> = text.lines().collect();
    assert_eq!((lines.len(), text.lines().count()), (50, 50));
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_written() {
    let home = Home::new();
    let (ledger, _) = home.open();
    let mut commit = Box::pin(ledger.commit(line(Outcome::Paid, 1)));
    // Begun, and dropped.
    assert!((&mut commit).now_or_never().is_none());
    drop(commit);
    ledger.flush().await.unwrap();
    assert_eq!(home.statistics(By::Client).total.paid, 1);
}

#[tokio::test]
async fn what_is_noted_is_written_soon_and_at_the_end() {
    let home = Home::new();
    let (ledger, _) = home.open();
    let stop = CancellationToken::new();
    let running = tokio::spawn(ledger.clone().run(stop.clone()));
    for _ in 0..1_000 {
        ledger.note(&line(Outcome::Hit, 1));
    }
    wait_for(|| home.statistics(By::Client).total.hit == 1_000).await;
    stop.cancel();
    running.await.unwrap();
    ledger.note(&line(Outcome::Joined, 1));
    ledger.flush().await.unwrap();
    let total = home.statistics(By::Client).total;
    assert_eq!((total.hit, total.joined), (1_000, 1));
    assert_eq!(total.usd_saved, Usd::from_billionths(10_010_000_000));
}

/// Whoever asks for statistics sees what was noted before.
#[tokio::test]
async fn statistics_of_an_open_ledger_have_everything() {
    let home = Home::new();
    let (ledger, _) = home.open();
    ledger.note(&line(Outcome::Hit, 1));
    let statistics = ledger.statistics(Question::default()).await.unwrap();
    assert_eq!(statistics.total.hit, 1);
    assert_eq!(statistics, home.statistics(By::Client));
}

pub(super) async fn wait_for(ready: impl Fn() -> bool) {
    let waiting = async {
        while !ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect("it took too long");
}
