//! A disk that fails loses no line and doubles none.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::super::folder::{Folder, Paper};
use super::super::month::Month;
use super::writing::wait_for;
use super::*;

/// A disk that is full when it is told to be.
struct Small {
    folder: Folder,
    full: Arc<AtomicBool>,
    tried: Arc<AtomicUsize>,
}

impl Paper for Small {
    fn append(&mut self, month: Month, lines: &[u8], durable: bool) -> Result<(), LedgerError> {
        self.tried.fetch_add(1, Ordering::SeqCst);
        if self.full.load(Ordering::SeqCst) {
            let full = io::Error::from(io::ErrorKind::StorageFull);
            return Err(LedgerError::io("write", Path::new("it"))(full));
        }
        self.folder.append(month, lines, durable)
    }
}

struct Disk {
    ledger: Arc<Ledger>,
    full: Arc<AtomicBool>,
    tried: Arc<AtomicUsize>,
}

fn disk(home: &Home) -> Disk {
    let (full, tried) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let paper = Small {
        folder: Folder::of(home.path()),
        full: full.clone(),
        tried: Arc::clone(&tried),
    };
    let ledger = Arc::new(Ledger::on(Box::new(paper), home.path()));
    Disk {
        ledger,
        full,
        tried,
    }
}

#[tokio::test]
async fn lines_wait_for_a_full_disk_and_stand_there_once() {
    let home = Home::new();
    let Disk { ledger, full, .. } = disk(&home);
    for n in 0..5 {
        let mut paid = line(Outcome::Paid, 1);
        paid.run = run(n);
        let error = ledger.commit(paid).await.unwrap_err();
        assert!(matches!(error, LedgerError::Io { .. }), "{error}");
        ledger.note(&line(Outcome::Hit, 1));
    }
    assert!(ledger.is_behind());
    let seen = ledger.statistics(Question::default()).await.unwrap();
    assert_eq!(
        seen,
        Statistics::default(),
        "what is not written is not counted"
    );

    full.store(false, Ordering::SeqCst);
    let running = CancellationToken::new();
    let task = tokio::spawn(ledger.clone().run(running.clone()));
    wait_for(|| !ledger.is_behind()).await;
    running.cancel();
    task.await.unwrap();
    let total = home.statistics(By::Client).total;
    assert_eq!((total.paid, total.hit), (5, 5));
    let order: Vec<bool> = home
        .text("2026-11.jsonl")
        .lines()
        .map(|line| line.contains("\"paid\""))
        .collect();
    assert_eq!(
        order,
        [true, false].repeat(5),
        "in the order in which they came"
    );
    ledger.commit(line(Outcome::Paid, 1)).await.unwrap();
    assert_eq!(home.text("2026-11.jsonl").lines().count(), 11);
}

#[test]
fn what_waits_is_bounded_and_money_has_the_most_room() {
    let home = Home::new();
    let Disk {
        ledger,
        full,
        tried,
    } = disk(&home);
    let mut long = line(Outcome::Hit, 1);
    long.model = Some("m".repeat(200_000));
    for _ in 0..100 {
        ledger.note(&long);
    }
    assert_eq!(
        tried.load(Ordering::SeqCst),
        0,
        "a note never writes by itself"
    );
    let noted = ledger.lines_waiting();
    assert!((15..30).contains(&noted), "{noted}");
    long.outcome = Outcome::Paid;
    let mut kept = 0;
    while !matches!(ledger.commit_blocking(long.clone()), Err(LedgerError::Full)) {
        kept += 1;
        assert!(kept < 500, "it has no bound");
    }
    assert!(kept > 100, "{kept}");
    full.store(false, Ordering::SeqCst);
    ledger.flush_blocking().unwrap();
    let lines = home.text("2026-11.jsonl").lines().count() as u64;
    assert_eq!(lines, noted + kept);
}

/// The real folder: where the month's file should be, there is something else.
#[test]
fn a_file_that_cannot_be_opened_is_told_by_its_name() {
    let home = Home::new();
    let (ledger, _) = home.open();
    std::fs::create_dir_all(home.page("2026-11.jsonl")).unwrap();
    let error = ledger.commit_blocking(line(Outcome::Paid, 1)).unwrap_err();
    assert!(error.to_string().contains("2026-11.jsonl"), "{error}");
    let mut other = line(Outcome::Paid, 1);
    other.time = time("2026-12-01T00:00:00Z");
    ledger.commit_blocking(other).unwrap_err();
    std::fs::remove_dir(home.page("2026-11.jsonl")).unwrap();
    ledger.commit_blocking(line(Outcome::Paid, 1)).unwrap();
    assert_eq!(home.text("2026-11.jsonl").lines().count(), 2);
    assert_eq!(home.text("2026-12.jsonl").lines().count(), 1);
    assert!(!ledger.is_behind());
}

/// Panics once.
struct Panicking {
    folder: Folder,
    armed: bool,
}

impl Paper for Panicking {
    fn append(&mut self, month: Month, lines: &[u8], durable: bool) -> Result<(), LedgerError> {
        assert!(!std::mem::take(&mut self.armed), "as told");
        self.folder.append(month, lines, durable)
    }
}

#[tokio::test]
async fn a_panic_loses_no_line() {
    let home = Home::new();
    let paper = Panicking {
        folder: Folder::of(home.path()),
        armed: true,
    };
    let ledger = Arc::new(Ledger::on(Box::new(paper), home.path()));
    ledger.note(&line(Outcome::Hit, 1));
    let error = ledger.commit(line(Outcome::Paid, 1)).await.unwrap_err();
    assert!(matches!(error, LedgerError::Panicked(_)), "{error}");
    ledger.commit(line(Outcome::Paid, 1)).await.unwrap();
    let total = home.statistics(By::Client).total;
    assert_eq!((total.hit, total.paid), (1, 2));
}
