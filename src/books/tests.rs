//! Any order of runs, ends, decisions and crashes, on a real ledger and a real store: what is spent and
//! held is what a list says, never more than the budget, and the ledger's sum is what was paid.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::config::{self, Price, Sources};
use crate::generation::{Extent, Fingerprint, Kind};
use crate::jobs::{End, Ends};
use crate::limits::Period;
use crate::once::is_settled;
use crate::store::{
    DiskStore, Entry, Intent, IntentState, Payload, Record, Store, Task, TaskState,
};

const BUDGET: u64 = 20;
const DOLLAR: u64 = 1_000_000_000;

/// Where a run is on its way. Each step is an edge that a crash may fall on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its note is durable, and it may have been sent.
    Noted,
    /// Its answer is durable.
    Kept,
    /// Its line is.
    Booked,
}

struct Run {
    stake: Option<Stake>,
    intent: Intent,
    dollars: u64,
    phase: Phase,
}

struct Job {
    record: Record,
    dollars: u64,
    /// How its line was written, when its end was not kept.
    booked: Option<Outcome>,
}

/// One process, and what a list says of it.
struct Desk {
    dir: TempDir,
    clock: Clock,
    store: Option<DiskStore>,
    books: Arc<Books>,
    runs: Vec<Run>,
    jobs: Vec<Job>,
    /// Notes whose run nobody knows the end of.
    doubts: Vec<(Intent, u64)>,
    paid: u64,
    /// What was paid, or is held again, after it was given back: the budget could not know.
    late: u64,
    /// What jobs hold that were given up.
    given_up: u64,
    next: u8,
}

#[derive(Clone, Debug)]
enum Step {
    Ask {
        dollars: u64,
    },
    Advance(usize),
    Fail(usize),
    Doubt(usize),
    Submit(usize),
    JobEnds {
        nth: usize,
        how: crate::jobs::Outcome,
        kept: bool,
    },
    Resolve(usize),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let nth = 0..6_usize;
    prop_oneof![
        5 => (1..6_u64).prop_map(|dollars| Step::Ask { dollars }),
        5 => nth.clone().prop_map(Step::Advance),
        1 => nth.clone().prop_map(Step::Fail),
        1 => nth.clone().prop_map(Step::Doubt),
        2 => nth.clone().prop_map(Step::Submit),
        3 => (nth.clone(), how(), any::<bool>())
            .prop_map(|(nth, how, kept)| Step::JobEnds { nth, how, kept }),
        1 => nth.prop_map(Step::Resolve),
        1 => Just(Step::Crash),
    ]
}

fn how() -> impl Strategy<Value = crate::jobs::Outcome> {
    use crate::jobs::Outcome::{Failed, GivenUp, Succeeded};
    prop_oneof![2 => Just(Succeeded), 1 => Just(Failed), 1 => Just(GivenUp)]
}

fn start(dir: &Path, clock: &Clock) -> (DiskStore, Arc<Books>) {
    let sources = Sources {
        data_dir: Some(dir.to_owned()),
        ..Sources::default()
    };
    let mut config = config::load(&sources).expect("defaults").config;
    config.limits.usd_per_day = 20.0;
    for dollars in 1..6_u32 {
        let price = Price {
            per_request: Some(f64::from(dollars)),
            ..Price::default()
        };
        config.prices.insert(format!("m{dollars}"), price);
    }
    let (store, _) = DiskStore::open(dir, clock.clone()).unwrap();
    let (ledger, spent) = Ledger::open(dir, clock).unwrap();
    let limits = Arc::new(Limits::new(&config));
    let books = Books::new(&config, (ledger, limits), clock.clone());
    let booked = books.take_up(&store, &spent).unwrap();
    // As the proxy does next.
    for intent in store.intents().unwrap() {
        if !booked {
            break;
        }
        let kept = store.get(&intent.key).unwrap();
        if kept.is_some_and(|entry| is_settled(&intent, &entry.record)) {
            store.remove_intent(&intent.key).unwrap();
        }
    }
    (store, books)
}

impl Desk {
    fn new() -> Self {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::system());
        let (store, books) = start(dir.path(), &clock);
        Self {
            dir,
            clock,
            store: Some(store),
            books,
            runs: Vec::new(),
            jobs: Vec::new(),
            doubts: Vec::new(),
            paid: 0,
            late: 0,
            given_up: 0,
            next: 0,
        }
    }

    fn store(&self) -> &DiskStore {
        self.store.as_ref().expect("it is open")
    }

    /// What is held, in dollars.
    fn held(&self) -> u64 {
        let runs = self.runs.iter().filter(|run| run.phase != Phase::Booked);
        let in_doubt = |job: &&Job| matches!(job.booked, None | Some(Outcome::Unknown));
        let jobs = self.jobs.iter().filter(in_doubt);
        runs.map(|run| run.dollars).sum::<u64>()
            + jobs.map(|job| job.dollars).sum::<u64>()
            + self.doubts.iter().map(|(_, dollars)| dollars).sum::<u64>()
            + self.given_up
    }

    fn ask(&mut self, dollars: u64) {
        self.next += 1;
        let claim = Claim {
            client: "alice".to_owned(),
            kind: Kind::Video,
            model: Some(format!("m{dollars}")),
            key: Fingerprint::from_bytes([self.next; 32]),
            extent: Extent::default(),
        };
        let key = claim.key;
        let fits = self.paid + self.held() + dollars <= BUDGET;
        let opened = self.books.open(claim);
        assert_eq!(opened.is_ok(), fits, "{dollars} more");
        let Ok(mut stake) = opened else {
            return;
        };
        let intent = Intent {
            key,
            kind: Kind::Video,
            path: "/v1/videos".to_owned(),
            model: Some(format!("m{dollars}")),
            client: "alice".to_owned(),
            started_at: self.clock.now(),
            state: IntentState::Pending,
            reason: None,
            run: Some(stake.run()),
            usd: stake.expected(),
            extent: None,
            beside: Vec::new(),
            passed_by: None,
        };
        self.store().put_intent(&intent).unwrap();
        stake.sent(true);
        self.runs.push(Run {
            stake: Some(stake),
            intent,
            dollars,
            phase: Phase::Noted,
        });
    }

    fn record(&self, run: &Run, task: Option<&str>) -> Record {
        let now = self.clock.now();
        Record {
            key: run.intent.key,
            kind: Kind::Video,
            path: "/v1/videos".to_owned(),
            model: run.intent.model.clone(),
            client: "alice".to_owned(),
            status: 200,
            headers: Vec::new(),
            created_at: now,
            elapsed_ms: 1,
            usd: Some(run.intent.usd.dollars()),
            run: run.intent.run,
            extent: None,
            previous: None,
            media: Vec::new(),
            passed_by: None,
            task: task.map(|id| Task {
                id: id.to_owned(),
                state: TaskState::Running,
                started_at: now,
                ended_at: None,
                total_tokens: None,
                polls: Vec::new(),
            }),
        }
    }

    fn keep(&self, record: Record) {
        let body = Payload::Bytes(Bytes::from_static(b"{}"));
        let polls = Vec::new();
        let entry = Entry {
            record,
            body,
            polls,
        };
        self.store().put(&entry).unwrap();
    }

    async fn advance(&mut self, nth: usize) {
        let Some(mut run) = self.take(nth) else {
            return;
        };
        match run.phase {
            Phase::Noted => {
                self.keep(self.record(&run, None));
                run.phase = Phase::Kept;
            }
            Phase::Kept => {
                let stake = run.stake.take().expect("it is not booked");
                stake
                    .paid(Usd::from_billionths(run.dollars * DOLLAR))
                    .await
                    .unwrap();
                self.paid += run.dollars;
                run.phase = Phase::Booked;
            }
            Phase::Booked => {
                self.store().remove_intent(&run.intent.key).unwrap();
                return;
            }
        }
        self.runs.push(run);
    }

    fn take(&mut self, nth: usize) -> Option<Run> {
        let nth = nth.checked_rem(self.runs.len())?;
        Some(self.runs.swap_remove(nth))
    }

    /// One that was only sent, for an end that is no answer.
    fn take_sent(&mut self, nth: usize) -> Option<Run> {
        let run = self.take(nth)?;
        if run.phase == Phase::Noted {
            return Some(run);
        }
        self.runs.push(run);
        None
    }

    async fn go(&mut self, step: &Step) {
        match *step {
            Step::Ask { dollars } => self.ask(dollars),
            Step::Advance(nth) => self.advance(nth).await,
            Step::Fail(nth) => {
                if let Some(mut run) = self.take_sent(nth) {
                    run.stake.take().expect("a stake").failed();
                    self.store().remove_intent(&run.intent.key).unwrap();
                }
            }
            Step::Doubt(nth) => {
                if let Some(mut run) = self.take_sent(nth) {
                    run.stake.take().expect("a stake").unknown().await;
                    self.doubts.push((run.intent, run.dollars));
                }
            }
            Step::Submit(nth) => {
                if let Some(mut run) = self.take_sent(nth) {
                    let record = self.record(&run, Some(&format!("task_{}", run.intent.key)));
                    self.keep(record.clone());
                    run.stake.take().expect("a stake").job();
                    self.store().remove_intent(&run.intent.key).unwrap();
                    self.jobs.push(Job {
                        record,
                        dollars: run.dollars,
                        booked: None,
                    });
                }
            }
            Step::JobEnds { nth, how, kept } => self.job_ends(nth, (how, kept)),
            Step::Resolve(nth) => {
                if let Some(nth) = nth.checked_rem(self.doubts.len()) {
                    let (intent, _) = self.doubts.swap_remove(nth);
                    self.store().remove_intent(&intent.key).unwrap();
                    self.books.give_back(&intent.stakes());
                }
            }
            Step::Crash => self.crash(),
        }
    }

    /// Its line is written; its end is kept, or told once more later.
    fn job_ends(&mut self, nth: usize, (how, kept): (crate::jobs::Outcome, bool)) {
        let Some(nth) = nth.checked_rem(self.jobs.len()) else {
            return;
        };
        let mut job = self.jobs.swap_remove(nth);
        // What was booked as paid does not fail afterwards.
        let booked_as = match how {
            crate::jobs::Outcome::Succeeded => Outcome::Paid,
            crate::jobs::Outcome::Failed | crate::jobs::Outcome::Cancelled => Outcome::Failed,
            crate::jobs::Outcome::GivenUp => Outcome::Unknown,
        };
        let was_paid = job.booked == Some(Outcome::Paid);
        let well = was_paid || booked_as == Outcome::Paid;
        let end = End {
            key: job.record.key,
            task_id: job.record.task.as_ref().expect("a job").id.clone(),
            outcome: if well {
                crate::jobs::Outcome::Succeeded
            } else {
                how
            },
            poll_path: "/v1/videos/x".to_owned(),
            answer: None,
        };
        let mut record = job.record.clone();
        self.books.before(&end, &mut record).unwrap();
        if well && !was_paid {
            self.paid += job.dollars;
            if job.booked == Some(Outcome::Failed) {
                self.late += job.dollars;
            }
        }
        if kept && !well {
            self.store().remove(&record.key).unwrap();
            if booked_as == Outcome::Unknown && job.booked != Some(Outcome::Failed) {
                self.given_up += job.dollars;
            }
        } else if kept {
            if let Some(task) = &mut record.task {
                task.state = TaskState::Succeeded;
            }
            self.keep(record);
        } else {
            job.booked = match (job.booked, booked_as) {
                (Some(Outcome::Paid), _) | (_, Outcome::Paid) => Some(Outcome::Paid),
                (Some(Outcome::Failed), _) | (_, Outcome::Failed) => Some(Outcome::Failed),
                (Some(_) | None, _) => Some(Outcome::Unknown),
            };
            self.jobs.push(job);
        }
    }

    /// Nothing that is only in memory survives; no destructor runs.
    fn crash(&mut self) {
        for mut run in std::mem::take(&mut self.runs) {
            std::mem::forget(run.stake.take());
            match run.phase {
                Phase::Noted => self.doubts.push((run.intent, run.dollars)),
                Phase::Kept => self.paid += run.dollars,
                Phase::Booked => {}
            }
        }
        for job in &mut self.jobs {
            // Nobody knows how it ended, and it runs: it was held all the time.
            if job.booked == Some(Outcome::Unknown) {
                job.booked = None;
            }
        }
        self.store = None;
        let (store, books) = start(self.dir.path(), &self.clock);
        (self.store, self.books) = (Some(store), books);
    }

    fn check(&self) {
        let budgets = self.books.limits.budgets();
        let (spent, held) = budgets.standing("alice", Period::Day, self.clock.now());
        let expected = (self.paid * DOLLAR, self.held() * DOLLAR);
        assert_eq!((spent.billionths(), held.billionths()), expected);
        assert!(self.paid + self.held() <= BUDGET + self.late);
    }

    /// The sum of the last lines of all runs; no line stands twice.
    fn ledger_sum(&self) -> u64 {
        let mut last: HashMap<Uuid, Line> = HashMap::new();
        let mut paid = std::collections::HashSet::new();
        for page in std::fs::read_dir(self.dir.path().join("ledger")).unwrap() {
            let text = std::fs::read_to_string(page.unwrap().path()).unwrap();
            for line in text.lines() {
                let line: Line = serde_json::from_str(line).unwrap();
                let run = line.run.expect("every line has a run here");
                assert!(
                    line.outcome != Outcome::Paid || paid.insert(run),
                    "twice: {run}"
                );
                last.insert(run, line);
            }
        }
        last.values().map(|line| line.usd_spent.billionths()).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_money_is_that_of_a_list(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut desk = Desk::new();
            for step in &steps {
                desk.go(step).await;
                desk.check();
            }
            desk.crash();
            desk.check();
            if desk.dir.path().join("ledger").exists() {
                assert_eq!(desk.ledger_sum(), desk.paid * DOLLAR);
            } else {
                assert_eq!(desk.paid, 0);
            }
        });
    }
}

#[tokio::test]
async fn a_job_that_was_given_up_and_succeeds_is_booked_as_paid() {
    use crate::jobs::Outcome::{Failed, GivenUp, Succeeded};
    for first in [GivenUp, Failed] {
        let mut desk = Desk::new();
        desk.ask(5);
        desk.go(&Step::Submit(0)).await;
        for (how, kept) in [
            (first, false),
            (Succeeded, false),
            (Failed, false),
            (Succeeded, true),
        ] {
            desk.go(&Step::JobEnds { nth: 0, how, kept }).await;
            desk.check();
        }
        assert_eq!((desk.paid, desk.ledger_sum()), (5, 5 * DOLLAR), "{first:?}");
        desk.crash();
        desk.check();
    }
}

#[tokio::test]
async fn what_was_sent_stays_held_with_a_note_or_without() {
    let mut desk = Desk::new();
    for noted in [true, false] {
        desk.ask(5);
        let mut run = desk.take_sent(0).unwrap();
        let mut stake = run.stake.take().unwrap();
        stake.sent(noted);
        stake.unknown().await;
        desk.doubts.push((run.intent, run.dollars));
        desk.check();
        // A client that hangs up.
        desk.ask(5);
        let mut run = desk.take_sent(0).unwrap();
        run.stake.as_mut().unwrap().sent(noted);
        drop(run.stake.take());
        desk.doubts.push((run.intent, run.dollars));
        desk.check();
    }
    // All of it is gone.
    desk.ask(1);
    assert!(desk.runs.is_empty());
}

#[tokio::test]
async fn a_payment_that_nobody_waits_for_is_no_doubt() {
    let mut desk = Desk::new();
    desk.ask(5);
    let stake = desk.runs[0].stake.take().unwrap();
    {
        let paying = std::pin::pin!(stake.paid(Usd::from_billionths(5 * DOLLAR)));
        let _ = futures_util::poll!(paying);
    }
    desk.books.ledger.flush().await.unwrap();
    (desk.paid, desk.runs[0].phase) = (5, Phase::Booked);
    desk.check();
    let page = std::fs::read_dir(desk.dir.path().join("ledger"))
        .unwrap()
        .next();
    let text = std::fs::read_to_string(page.unwrap().unwrap().path()).unwrap();
    let outcomes: Vec<Outcome> = text
        .lines()
        .map(|line| serde_json::from_str::<Line>(line).unwrap().outcome)
        .collect();
    assert_eq!(outcomes, [Outcome::Paid]);
}

/// The file of this month is a folder, so nothing can be written.
#[tokio::test]
async fn a_start_goes_on_although_the_ledger_takes_nothing() {
    let mut desk = Desk::new();
    desk.ask(5);
    desk.ask(2);
    desk.go(&Step::Advance(1)).await;
    let month = desk.clock.now().strftime("%Y-%m.jsonl").to_string();
    let page = desk.dir.path().join("ledger").join(month);
    std::fs::create_dir_all(&page).unwrap();
    desk.crash();
    assert_eq!((desk.paid, desk.held()), (2, 5));
    desk.check();
    assert!(desk.books.check_writable().await.is_err());
    std::fs::remove_dir(&page).unwrap();
    desk.books.check_writable().await.unwrap();
    assert_eq!(desk.ledger_sum(), 2 * DOLLAR);
    desk.check();
}

impl Desk {
    /// Every line of the ledger.
    fn lines(&self) -> Vec<Line> {
        let pages = std::fs::read_dir(self.dir.path().join("ledger")).unwrap();
        let texts = pages.map(|page| std::fs::read_to_string(page.unwrap().path()).unwrap());
        let texts: Vec<String> = texts.collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The note of the run that was asked for last, changed and written.
    fn note_last(&mut self, change: impl FnOnce(&mut Intent)) -> Intent {
        let intent = &mut self.runs.last_mut().unwrap().intent;
        change(intent);
        let intent = intent.clone();
        self.store().put_intent(&intent).unwrap();
        intent
    }
}

/// What a crash cuts leaves a line about its generation and holds its money, under a key of its own.
#[tokio::test]
async fn a_run_that_was_passed_by_is_found_by_its_note() {
    let generation = Fingerprint::from_bytes([99; 32]);
    let pass = |intent: &mut Intent| intent.passed_by = Some(generation);
    let mut desk = Desk::new();
    desk.ask(5);
    let cut = desk.note_last(pass);
    for _ in 0..2 {
        desk.crash();
        desk.check();
        let lines = desk.lines();
        assert_eq!(lines.len(), 1, "once");
        assert_eq!(lines[0].outcome, Outcome::Unknown);
        assert_eq!((lines[0].key, lines[0].run), (generation, cut.run));
        assert_eq!(desk.store().intent(&cut.key).unwrap(), Some(cut.clone()));
    }
    // One that is booked, and one that has become a job which holds its money, need no note.
    desk.ask(3);
    let paid = desk.note_last(pass);
    let mut run = desk.take(0).unwrap();
    let stake = run.stake.take().unwrap();
    stake.paid(Usd::from_billionths(3 * DOLLAR)).await.unwrap();
    desk.paid += 3;
    desk.ask(2);
    let submitted = desk.note_last(pass);
    desk.go(&Step::Submit(0)).await;
    desk.store().put_intent(&submitted).unwrap();
    desk.crash();
    desk.check();
    for intent in [paid, submitted] {
        assert_eq!(desk.store().intent(&intent.key).unwrap(), None);
    }
    assert_eq!(desk.lines().len(), 2, "none of the job before its end");
}

/// A job that was submitted while another run of the same was under way stands in the note of that one.
#[tokio::test]
async fn a_note_holds_nothing_for_a_job_beside_it() {
    use crate::jobs::Outcome::{Failed, Succeeded};
    for how in [Succeeded, Failed] {
        let mut desk = Desk::new();
        desk.ask(5);
        let beside = desk.runs[0].intent.stakes();
        desk.go(&Step::Submit(0)).await;
        desk.ask(4);
        let other = desk.note_last(|intent| intent.beside = beside);
        desk.crash();
        desk.check();
        let lines = desk.lines();
        assert_eq!(lines.len(), 1, "the job has not ended: {lines:?}");
        assert_eq!(lines[0].run, other.run);
        // Its end is booked, and the note says what it said.
        for kept in [false, true] {
            desk.go(&Step::JobEnds { nth: 0, how, kept }).await;
            desk.crash();
            desk.check();
        }
        assert_eq!(desk.held(), 4);
    }
}

/// A job of which the start did not know: a look at everything has brought it, or an import.
#[test]
fn a_job_that_is_found_late_is_held_once_and_booked_once() {
    let mut desk = Desk::new();
    desk.ask(5);
    let mut run = desk.take(0).expect("it was asked for");
    let mut record = desk.record(&run, Some("task_late"));
    // Another one's run: of this one nothing stays.
    desk.store().remove_intent(&run.intent.key).unwrap();
    drop(run.stake.take());
    desk.books.give_back(&run.intent.stakes());
    record.run = Some(new_run(desk.clock.now()));
    let standing = |desk: &Desk| {
        let budgets = desk.books.limits.budgets();
        let (spent, held) = budgets.standing("alice", Period::Day, desk.clock.now());
        (spent.billionths() / DOLLAR, held.billionths() / DOLLAR)
    };
    let (before, _) = standing(&desk);
    let jobs = [record.clone()];
    for _ in 0..2 {
        desk.books.found(&jobs);
        assert_eq!(standing(&desk), (before, 5));
    }
    let end = End {
        key: record.key,
        task_id: "task_late".to_owned(),
        outcome: crate::jobs::Outcome::Succeeded,
        poll_path: "/v1/videos/x".to_owned(),
        answer: None,
    };
    desk.books.before(&end, &mut record.clone()).unwrap();
    assert_eq!(standing(&desk), (before + 5, 0));
    // Whoever looked had seen it run.
    desk.books.found(&jobs);
    assert_eq!(standing(&desk), (before + 5, 0));
    // Its end was booked and not kept; the next process finds it as late.
    desk.crash();
    desk.books.found(&jobs);
    assert_eq!(standing(&desk), (before + 5, 0));
    desk.books.before(&end, &mut record).unwrap();
    assert_eq!(standing(&desk), (before + 5, 0));
    assert_eq!(desk.ledger_sum(), (before + 5) * DOLLAR);
}
