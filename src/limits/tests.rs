//! What a client has, over any order of calls, jobs, ends and new configurations.

use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::config::{Client, OwnLimits, Sources};

const CLIENTS: [&str; 3] = ["alice", "bob", "local"];
const TASKS: [&str; 4] = ["t0", "t1", "t2", "t3"];

/// A configuration with these limits for all, and with those for `alice`.
fn config(common: config::Limits, alice: OwnLimits) -> Config {
    let sources = Sources {
        data_dir: Some("/nowhere".into()),
        cwd: "/nowhere".into(),
        ..Sources::default()
    };
    let mut config = config::load(&sources).expect("defaults").config;
    config.limits = common;
    for (name, limits) in [("alice", alice), ("bob", OwnLimits::default())] {
        let key_hash = blake3::hash(name.as_bytes());
        let client = Client { key_hash, limits };
        config.clients.insert(name.to_owned(), client);
    }
    config
}

fn at_once(most: u32) -> config::Limits {
    config::Limits {
        concurrent_generations: most,
        ..config::Limits::default()
    }
}

fn same(common: config::Limits) -> Config {
    config(common, OwnLimits::default())
}

/// One thing that happens. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Ask(usize),
    /// A call ends, or the one who had it panics.
    Drop(usize),
    /// A call brings a job, which is kept or not.
    Job(usize, usize, bool),
    /// The end of a job is told, between its noting and its keeping too.
    End(usize),
    /// A job is found to run: at the start, in an import, by hand.
    Found(usize, usize),
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..CLIENTS.len()).prop_map(Step::Ask),
        2 => (0..8_usize).prop_map(Step::Drop),
        3 => (0..8_usize, 0..TASKS.len(), any::<bool>()).prop_map(|(call, task, kept)| Step::Job(call, task, kept)),
        2 => (0..TASKS.len()).prop_map(Step::End),
        1 => (0..CLIENTS.len(), 0..TASKS.len()).prop_map(|(client, task)| Step::Found(client, task)),
        1 => Just(Step::Reload),
    ]
}

/// What there has to be: written down without slots that give themselves back.
#[derive(Default)]
struct Model {
    calls: Vec<(usize, Slot)>,
    jobs: HashMap<usize, usize>,
}

impl Model {
    fn has(&self, client: usize) -> usize {
        let calls = self.calls.iter().filter(|(whose, _)| *whose == client);
        let jobs = self.jobs.values().filter(|whose| **whose == client);
        calls.count() + jobs.count()
    }

    fn call(&mut self, nth: usize) -> Option<(usize, Slot)> {
        let nth = nth.checked_rem(self.calls.len())?;
        Some(self.calls.swap_remove(nth))
    }

    fn go(&mut self, limits: &Limits, most: u32, step: &Step) {
        match *step {
            Step::Ask(client) => {
                let had = self.has(client);
                let slot = limits.generation(CLIENTS[client]);
                assert_eq!(slot.is_ok(), had < most as usize, "{had} of {most}");
                self.calls.extend(slot.ok().map(|slot| (client, slot)));
            }
            Step::Drop(nth) => drop(self.call(nth)),
            Step::Job(nth, task, kept) => {
                let Some((client, mut slot)) = self.call(nth) else {
                    return;
                };
                let known = self.jobs.contains_key(&task);
                slot.for_job(TASKS[task]);
                if kept {
                    slot.stay();
                    self.jobs.entry(task).or_insert(client);
                } else {
                    // Dropped by its owner or ended before: either way once.
                    if !known && task % 2 == 0 {
                        limits.job_ended(TASKS[task]);
                    }
                    drop(slot);
                }
            }
            Step::End(task) => {
                limits.job_ended(TASKS[task]);
                self.jobs.remove(&task);
            }
            Step::Found(client, task) => {
                limits.jobs_running([(TASKS[task], CLIENTS[client])]);
                self.jobs.entry(task).or_insert(client);
            }
            Step::Reload => limits.reload(&same(at_once(most))),
        }
    }
}

proptest! {
    #[test]
    fn slots_are_given_back_exactly_once(most in 1..4_u32, steps in prop::collection::vec(step(), 0..80)) {
        let limits = Limits::new(&same(at_once(most)));
        let mut model = Model::default();
        for step in &steps {
            model.go(&limits, most, step);
            for (nth, client) in CLIENTS.iter().enumerate() {
                prop_assert_eq!(limits.under_way(client), model.has(nth), "{:?} after {:?}", client, step);
            }
        }
        model.calls.clear();
        for task in TASKS {
            limits.job_ended(task);
            limits.job_ended(task);
        }
        for client in CLIENTS {
            prop_assert_eq!(limits.under_way(client), 0);
        }
    }
}

#[test]
fn however_many_ask_at_once_no_more_get_a_slot() {
    const MOST: usize = 3;
    let limits = Limits::new(&same(at_once(3)));
    let (now, peak, got) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..500 {
                    let Ok(slot) = limits.generation("alice") else {
                        continue;
                    };
                    peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                    got.fetch_add(1, Ordering::SeqCst);
                    drop(slot);
                }
            });
        }
    });
    assert!(peak.load(Ordering::SeqCst) <= MOST, "{peak:?}");
    assert_eq!(limits.under_way("alice"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_refused_a_slot_keeps_its_minute() {
    let limits = Limits::new(&same(config::Limits {
        generations_per_minute: 2,
        ..at_once(1)
    }));
    let first = limits.generation("alice").expect("the first");
    for _ in 0..10 {
        let refused = limits.generation("alice").map(drop);
        assert_eq!(refused, Err(Refusal::Concurrent { most: 1 }));
    }
    drop(first);
    drop(limits.generation("alice").expect("the second"));
    let refusal = limits
        .generation("alice")
        .map(drop)
        .expect_err("two were paid");
    assert_eq!(refusal.limit(), Limit::Generations);
    assert_eq!(limits.under_way("alice"), 0, "a refused one holds no slot");
    limits.generation("bob").map(drop).expect("somebody else");
}

#[tokio::test(start_paused = true)]
async fn what_stays_the_same_keeps_its_state_over_a_reload() {
    let common = config::Limits {
        requests_per_minute: 2,
        generations_per_minute: 2,
        ..at_once(2)
    };
    let limits = Limits::new(&same(common));
    let left = |name: &str| (0..9).take_while(|_| limits.request(name).is_ok()).count();
    assert_eq!((left("alice"), left("bob"), left("local")), (2, 2, 2));
    let slot = limits.generation("alice").expect("a slot");
    drop(limits.generation("bob").expect("a slot"));
    let alice = OwnLimits {
        requests_per_minute: Some(3),
        concurrent_generations: Some(1),
        ..OwnLimits::default()
    };
    limits.reload(&config(common, alice));
    assert_eq!((left("alice"), left("bob"), left("local")), (3, 0, 0));
    // Her slot counts against her new number; when it is free, one generation is left of two.
    assert_eq!(
        limits.generation("alice").map(drop),
        Err(Refusal::Concurrent { most: 1 })
    );
    drop(slot);
    limits.generation("alice").map(drop).expect("the other one");
    let refusal = limits
        .generation("alice")
        .map(drop)
        .expect_err("her minute is used up");
    assert_eq!(refusal.limit(), Limit::Generations);
    limits.generation("bob").map(drop).expect("one is left");
    assert!(limits.generation("bob").is_err());
    limits.reload(&same(config::Limits::default()));
    assert_eq!(limits.request("alice"), Ok(None));
    let slots: Vec<_> = (0..100)
        .map(|_| limits.generation("alice").is_ok())
        .collect();
    assert!(slots.iter().all(|got| *got));
}

/// One that is about to hear 429 must not make another hear 402.
#[test]
fn nothing_is_held_for_one_that_gets_no_slot() {
    let mut numbers = at_once(1);
    numbers.usd_per_day = 1.0;
    let limits = Limits::new(&same(numbers));
    let now = Timestamp::now();
    let reserve = |n: u128| limits.hold("bob", (Uuid::from_u128(n), Usd::from_dollars(1.0)), now);
    let (slot, held) = limits.generation_with("bob", || reserve(1)).unwrap();
    drop(held);
    let refused = limits.generation_with("bob", || -> Result<Hold, Refusal> {
        unreachable!("there is no slot")
    });
    assert!(matches!(refused, Err(Refusal::Concurrent { most: 1 })));
    drop(slot);
    let held = reserve(2).unwrap();
    let refused = limits.generation_with("bob", || reserve(3));
    assert!(matches!(refused, Err(Refusal::Budget(_))));
    assert_eq!(limits.under_way("bob"), 0, "given back");
    drop(held);
}

/// Who is refused for one reason holds something for a moment, which must refuse nobody for another: a 402
/// is not asked again, a 429 is.
#[test]
fn one_that_is_refused_refuses_nobody_else() {
    let limits = config::Limits {
        generations_per_minute: 1,
        usd_per_day: 1.0,
        ..config::Limits::default()
    };
    let limits = &Limits::new(&same(limits));
    let now = Timestamp::now();
    let hold = || {
        let run = crate::generation::new_run(now);
        limits.hold("alice", (run, Usd::from_dollars(1.0)), now)
    };
    drop(limits.generation("alice").expect("the first"));
    let (inside, arrived) = std::sync::mpsc::channel();
    let (over, second_is_over) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let first = scope.spawn(move || {
            let refused = limits.generation_with("alice", || {
                let hold = hold();
                inside.send(()).expect("somebody waits");
                // Long enough for another to come by.
                let _ = second_is_over.recv_timeout(std::time::Duration::from_millis(200));
                hold
            });
            matches!(refused, Err(Refusal::Generations { .. }))
        });
        arrived.recv().expect("it holds");
        let second = limits.generation_with("alice", hold);
        drop(over);
        assert!(matches!(second, Err(Refusal::Generations { .. })));
        assert!(first.join().expect("no panic"));
    });
}
