//! A closed loop: every connection asks as soon as it has its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::asking::Asking;
use crate::cpu::Used;
use crate::line::Line;
use crate::process::Process;

/// How long the machine gets used to a load before it counts.
const WARM: Duration = Duration::from_millis(150);

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// CPU time of the system for each request, in microseconds.
    pub(crate) cpu: f64,
    /// Requests in a second.
    pub(crate) rate: f64,
    /// Half of the answers took no longer, in microseconds.
    pub(crate) p50: f64,
    /// 99 of 100 took no longer, in microseconds.
    pub(crate) p99: f64,
}

/// What the askers and whoever watches them share.
#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    counts: AtomicBool,
    answered: AtomicU64,
}

/// Has `connections` ask `process` for so long.
pub(crate) async fn run(
    process: &Process,
    asking: &Asking,
    (connections, length): (usize, Duration),
) -> Heard {
    let shared = Arc::<Shared>::default();
    let (address, asking, ours) = (process.address, asking.clone(), shared.clone());
    let crowd = tokio::task::spawn_blocking(move || crowd(address, &asking, (connections, &ours)));
    tokio::time::sleep(WARM.min(length)).await;
    let (used, answered, begun) = (Used::by(process.pid()), shared.answered(), Instant::now());
    shared.counts.store(true, Ordering::Relaxed);
    tokio::time::sleep(length).await;
    // A turn that is shorter than an answer goes on until there is one.
    while shared.answered() == answered && begun.elapsed() < PATIENCE {
        tokio::time::sleep(length).await;
    }
    shared.counts.store(false, Ordering::Relaxed);
    let (seconds, answered) = (begun.elapsed().as_secs_f64(), shared.answered() - answered);
    let used = Used::by(process.pid()).since(&used);
    shared.over.store(true, Ordering::Relaxed);
    let mut took = crowd.await.unwrap();
    took.sort_unstable();
    assert!(answered > 0, "nothing was answered within {PATIENCE:?}");
    Heard {
        cpu: used.as_secs_f64() * 1e6 / count(answered),
        rate: count(answered) / seconds,
        p50: at(&took, 0.5),
        p99: at(&took, 0.99),
    }
}

impl Shared {
    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}

/// The quantile of sorted nanoseconds, in microseconds.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index below the length"
)]
pub(crate) fn at(sorted: &[u32], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let index = (last as f64 * part).round() as usize;
    sorted.get(index).map_or(0.0, |took| f64::from(*took) / 1e3)
}

/// All connections on one thread, so that the others are the system's; how long answers took, in nanoseconds.
fn crowd(
    address: SocketAddr,
    asking: &Asking,
    (connections, shared): (usize, &Arc<Shared>),
) -> Vec<u32> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let askers = (0..connections).map(|nth| {
            let (asking, shared) = (asking.clone(), shared.clone());
            tokio::spawn(async move { ask_on(address, &asking, (nth, &shared)).await })
        });
        let mut took = Vec::new();
        for asker in askers.collect::<Vec<_>>() {
            took.extend(asker.await.unwrap());
        }
        took
    })
}

async fn ask_on(address: SocketAddr, asking: &Asking, (nth, shared): (usize, &Shared)) -> Vec<u32> {
    let mut line = Line::to(address).await.unwrap();
    let mut request = asking.request.clone();
    let mut dice = 0x9E37_79B9_7F4A_7C15 ^ (nth as u64 + 1);
    let mut took = Vec::with_capacity(64 * 1024);
    let len = asking.answer.len() as u64;
    while !shared.over.load(Ordering::Relaxed) {
        asking.turn_over(&mut request, &mut dice);
        let begun = Instant::now();
        let seen = line.ask(&request, asking.says).await.unwrap();
        let right = seen.ok && seen.says && seen.len.is_none_or(|said| said == len);
        assert!(right, "a wrong answer under load: {seen:?}");
        shared.answered.fetch_add(1, Ordering::Relaxed);
        if shared.counts.load(Ordering::Relaxed) {
            took.push(u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
    }
    took
}
