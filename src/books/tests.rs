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
    /// Its line was written, and its end was not kept.
    booked: bool,
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
    next: u8,
}

#[derive(Clone, Debug)]
enum Step {
    Ask { dollars: u64 },
    Advance(usize),
    Fail(usize),
    Doubt(usize),
    Submit(usize),
    JobEnds { nth: usize, well: bool, kept: bool },
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
        2 => (nth.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(nth, well, kept)| Step::JobEnds { nth, well, kept }),
        1 => nth.prop_map(Step::Resolve),
        1 => Just(Step::Crash),
    ]
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
    books.take_up(&store, &spent).unwrap();
    // As the proxy does next.
    for intent in store.intents().unwrap() {
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
            next: 0,
        }
    }

    fn store(&self) -> &DiskStore {
        self.store.as_ref().expect("it is open")
    }

    /// What is held, in dollars.
    fn held(&self) -> u64 {
        let runs = self.runs.iter().filter(|run| run.phase != Phase::Booked);
        let jobs = self.jobs.iter().filter(|job| !job.booked);
        runs.map(|run| run.dollars).sum::<u64>()
            + jobs.map(|job| job.dollars).sum::<u64>()
            + self.doubts.iter().map(|(_, dollars)| dollars).sum::<u64>()
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
                        booked: false,
                    });
                }
            }
            Step::JobEnds { nth, well, kept } => self.job_ends(nth, (well, kept)),
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
    fn job_ends(&mut self, nth: usize, (well, kept): (bool, bool)) {
        let Some(nth) = nth.checked_rem(self.jobs.len()) else {
            return;
        };
        let mut job = self.jobs.swap_remove(nth);
        // What was booked as paid does not fail afterwards.
        let well = well || job.booked;
        let end = End {
            key: job.record.key,
            task_id: job.record.task.as_ref().expect("a job").id.clone(),
            outcome: if well {
                crate::jobs::Outcome::Succeeded
            } else {
                crate::jobs::Outcome::Failed
            },
            poll_path: "/v1/videos/x".to_owned(),
            answer: None,
        };
        let mut record = job.record.clone();
        self.books.before(&end, &mut record).unwrap();
        if well && !job.booked {
            self.paid += job.dollars;
        }
        if !well {
            self.store().remove(&record.key).unwrap();
        } else if kept {
            if let Some(task) = &mut record.task {
                task.state = TaskState::Succeeded;
            }
            self.keep(record);
        } else {
            job.booked = true;
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
        self.store = None;
        let (store, books) = start(self.dir.path(), &self.clock);
        (self.store, self.books) = (Some(store), books);
    }

    fn check(&self) {
        let budgets = self.books.limits.budgets();
        let (spent, held) = budgets.standing("alice", Period::Day, self.clock.now());
        let expected = (self.paid * DOLLAR, self.held() * DOLLAR);
        assert_eq!((spent.billionths(), held.billionths()), expected);
        assert!(self.paid + self.held() <= BUDGET);
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
