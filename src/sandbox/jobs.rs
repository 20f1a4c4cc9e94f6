//! Video jobs: when they began, how far they are, how they end.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::bill::billionths;
use super::locked;

/// Jobs that are remembered; the oldest are forgotten.
const JOBS: usize = 100_000;

/// What was accepted at submit.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// `task_` and 32 letters and digits.
    pub(super) id: String,
    /// The gateway's row, which polls show as `data.id`.
    pub(super) row: u64,
    /// The gateway's own upstream task.
    pub(super) ark_id: String,
    pub(super) model: String,
    pub(super) seconds: u32,
    pub(super) size: String,
    pub(super) metadata: Map<String, Value>,
    pub(super) remixed_from: Option<String>,
    pub(super) tokens: u64,
    pub(super) usd: f64,
    pub(super) fails: bool,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Written down, not sent on.
    NotStarted,
    Submitted,
    Queued,
    Running,
    Succeeded,
    Failed,
}

/// A job at one moment.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) order: Order,
    pub(super) phase: Phase,
    /// Per cent.
    pub(super) progress: u8,
    pub(super) created_at: Timestamp,
    /// When it ended, on the wall and on the stopwatch.
    pub(super) ended: Option<(Timestamp, Instant)>,
}

#[derive(Debug)]
struct Job {
    order: Order,
    created_at: Timestamp,
    began: Instant,
    /// How long it runs; `None` when it has no end of its own.
    takes: Option<Duration>,
}

/// All jobs.
#[derive(Debug)]
pub(super) struct Jobs(Mutex<Table>);

#[derive(Debug)]
struct Table {
    by_id: HashMap<String, Job>,
    in_order: VecDeque<String>,
    job_time: Duration,
}

impl Jobs {
    pub(super) fn new(job_time: Duration) -> Self {
        let table = Table {
            by_id: HashMap::new(),
            in_order: VecDeque::new(),
            job_time,
        };
        Self(Mutex::new(table))
    }

    /// How long jobs take that are submitted from now on.
    pub(super) fn set_job_time(&self, job_time: Duration) {
        locked(&self.0).job_time = job_time;
    }

    /// Starts a job.
    pub(super) fn add(&self, order: Order, now: Timestamp) {
        let mut table = locked(&self.0);
        if table.in_order.len() >= JOBS
            && let Some(oldest) = table.in_order.pop_front()
        {
            table.by_id.remove(&oldest);
        }
        let began = Instant::now();
        let job_time = table.job_time;
        let takes = began.checked_add(job_time).map(|_| job_time);
        table.in_order.push_back(order.id.clone());
        table.by_id.insert(
            order.id.clone(),
            Job {
                order,
                created_at: now,
                began,
                takes,
            },
        );
    }

    /// Ends every running job now.
    pub(super) fn finish(&self) {
        let now = Instant::now();
        for job in locked(&self.0).by_id.values_mut() {
            let spent = now.duration_since(job.began);
            job.takes = Some(job.takes.map_or(spent, |takes| takes.min(spent)));
        }
    }

    /// A job as it stands now.
    pub(super) fn look(&self, id: &str) -> Option<Look> {
        locked(&self.0)
            .by_id
            .get(id)
            .map(|job| job.look(Instant::now()))
    }

    /// What failed jobs have given back, in billionths of a dollar.
    pub(super) fn refunded(&self) -> u64 {
        let now = Instant::now();
        let failed = |job: &&Job| job.order.fails && job.has_ended(now);
        locked(&self.0)
            .by_id
            .values()
            .filter(failed)
            .map(|job| billionths(job.order.usd))
            .sum()
    }
}

impl Job {
    fn has_ended(&self, now: Instant) -> bool {
        self.takes
            .is_some_and(|takes| now.duration_since(self.began) >= takes)
    }

    fn look(&self, now: Instant) -> Look {
        let spent = now.duration_since(self.began);
        let per_cent = match self.takes {
            Some(takes) => spent.as_millis() * 100 / takes.as_millis().max(1),
            None => spent.as_secs().min(99).into(),
        };
        let (phase, progress) = match (self.has_ended(now), per_cent) {
            (true, _) if self.order.fails => (Phase::Failed, 100),
            (true, _) => (Phase::Succeeded, 100),
            (false, 0..5) => (Phase::NotStarted, 0),
            (false, 5..10) => (Phase::Submitted, 10),
            (false, 10..20) => (Phase::Queued, 20),
            (false, part) => (
                Phase::Running,
                u8::try_from(part).unwrap_or(99).clamp(30, 99),
            ),
        };
        let takes = self
            .takes
            .filter(|_| phase == Phase::Succeeded || phase == Phase::Failed);
        let ended = takes.map(|takes| {
            let span = jiff::SignedDuration::try_from(takes).unwrap_or_default();
            (
                self.created_at.checked_add(span).unwrap_or(self.created_at),
                self.began + takes,
            )
        });
        let (order, created_at) = (self.order.clone(), self.created_at);
        Look {
            order,
            phase,
            progress,
            created_at,
            ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(id: &str, fails: bool) -> Order {
        Order {
            id: id.into(),
            row: 1,
            ark_id: "cgt-1".into(),
            model: "m".into(),
            seconds: 5,
            size: "1280x720".into(),
            metadata: Map::new(),
            remixed_from: None,
            tokens: 108_000,
            usd: 0.5,
            fails,
        }
    }

    fn job(fails: bool, takes: Option<Duration>) -> Job {
        let created_at = Timestamp::UNIX_EPOCH;
        Job {
            order: order("a", fails),
            created_at,
            began: Instant::now(),
            takes,
        }
    }

    #[test]
    fn a_job_rises_to_its_end() {
        let job = job(false, Some(Duration::from_secs(100)));
        for (second, phase, progress) in [
            (0, Phase::NotStarted, 0),
            (6, Phase::Submitted, 10),
            (12, Phase::Queued, 20),
            (25, Phase::Running, 30),
            (60, Phase::Running, 60),
            (99, Phase::Running, 99),
            (100, Phase::Succeeded, 100),
            (999, Phase::Succeeded, 100),
        ] {
            let look = job.look(job.began + Duration::from_secs(second));
            assert_eq!(
                (look.phase, look.progress),
                (phase, progress),
                "after {second} s"
            );
            let ended = look.ended.map(|(at, _)| at.as_second());
            assert_eq!(ended, (second >= 100).then_some(100), "after {second} s");
        }
    }

    #[test]
    fn a_failing_job_runs_first() {
        let job = job(true, Some(Duration::from_secs(100)));
        let phase = |second| job.look(job.began + Duration::from_secs(second)).phase;
        assert_eq!((phase(50), phase(100)), (Phase::Running, Phase::Failed));
    }

    #[test]
    fn a_job_without_an_end_runs_on() {
        let job = job(false, None);
        assert_eq!(
            job.look(job.began + Duration::from_secs(1_000_000)).phase,
            Phase::Running
        );
    }

    #[test]
    fn an_endless_job_ends_when_told() {
        let jobs = Jobs::new(Duration::MAX);
        jobs.add(order("a", true), Timestamp::UNIX_EPOCH);
        assert_eq!(jobs.look("a").unwrap().phase, Phase::NotStarted);
        assert_eq!(jobs.refunded(), 0);
        jobs.finish();
        assert_eq!(jobs.look("a").unwrap().phase, Phase::Failed);
        assert_eq!(jobs.refunded(), 500_000_000);
        jobs.set_job_time(Duration::ZERO);
        jobs.add(order("b", false), Timestamp::UNIX_EPOCH);
        assert_eq!(jobs.look("b").unwrap().phase, Phase::Succeeded);
        assert!(jobs.look("c").is_none());
    }
}
