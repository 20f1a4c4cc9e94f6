//! How many connections the system lets us have, and how many threads for them.

use std::num::NonZero;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for the store, the log and whatever else is open all the time, the threads that serve
/// connections apart.
const RESERVE: u64 = 32;

/// What each of those waits with, and the fewest that are left for all.
const EACH_WORKER: u64 = 4;
const FEWEST_WORKERS: u64 = 8;

/// What one connection may need at once: its own, one to upstream, and the file of its answer.
const EACH: u64 = 3;

/// The fewest connections that are served, whatever the system says.
const FEWEST: u64 = 8;

/// So many of the connections `asked` for as the system has descriptors for, after asking it for more:
/// the limit that a process is born with is mostly meant for `select` (1024), and it may raise it up
/// to another one. Changes the limit of the whole process.
pub fn connections(asked: usize) -> usize {
    let reserve = reserve(workers().get());
    let needed = needed(asked, reserve);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        let most = limit.maximum.unwrap_or(u64::MAX);
        let raised = Rlimit {
            current: Some(needed.min(most)),
            maximum: limit.maximum,
        };
        // Where it may not be raised, what there is has to do.
        let _ = setrlimit(Resource::Nofile, raised);
        limit = getrlimit(Resource::Nofile);
    }
    let fitting = limit
        .current
        .map_or(asked, |current| fitting(current, asked, reserve));
    if fitting < asked {
        tracing::warn!(
            open_files = limit.current,
            "at most {fitting} connections are served at once, and not the {asked} of \
             server.max_connections: the system allows no more open files (ulimit -n)"
        );
    }
    fitting
}

/// How many threads serve connections: one for each processor that this process may use, as long as
/// they take no more than a quarter of the descriptors.
pub fn workers() -> NonZero<usize> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let limit = getrlimit(Resource::Nofile).current;
    limit
        .map_or(processors, |limit| serving(limit, processors))
        .try_into()
        .unwrap_or(NonZero::<usize>::MIN)
}

fn serving(descriptors: u64, processors: usize) -> usize {
    let most = usize::try_from(descriptors / 4 / EACH_WORKER).unwrap_or(usize::MAX);
    processors.min(most)
}

fn reserve(workers: usize) -> u64 {
    let workers = u64::try_from(workers).unwrap_or(u64::MAX);
    let workers = workers.max(FEWEST_WORKERS);
    workers.saturating_mul(EACH_WORKER).saturating_add(RESERVE)
}

fn needed(connections: usize, reserve: u64) -> u64 {
    let connections = u64::try_from(connections).unwrap_or(u64::MAX);
    connections.saturating_mul(EACH).saturating_add(reserve)
}

fn fitting(descriptors: u64, asked: usize, reserve: u64) -> usize {
    let most = (descriptors.saturating_sub(reserve) / EACH).max(FEWEST);
    usize::try_from(most).unwrap_or(usize::MAX).min(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_take_a_quarter_at_most() {
        for (descriptors, processors, workers) in [
            (1024, 1, 1),
            (1024, 64, 64),
            (1024, 65, 64),
            (256, 64, 16),
            (16, 2, 1),
            (u64::MAX, 300, 300),
        ] {
            assert_eq!(serving(descriptors, processors), workers, "{descriptors}");
        }
        assert!(workers().get() > 0);
    }

    #[test]
    fn descriptors_are_left_for_the_store() {
        for (descriptors, asked, connections) in [
            (1024, 4096, 320),
            (256, 4096, 64),
            (256, 10, 10),
            (20, 4096, 8),
            (1_048_576, 4096, 4096),
            (
                u64::MAX,
                usize::MAX,
                usize::try_from((u64::MAX - 64) / 3).unwrap(),
            ),
        ] {
            let few = reserve(2);
            assert_eq!(
                fitting(descriptors, asked, few),
                connections,
                "{descriptors}"
            );
        }
        for (processors, connections) in [(1, 320), (8, 320), (64, 245)] {
            let reserve = reserve(processors);
            assert_eq!(fitting(1024, 4096, reserve), connections, "{processors}");
            assert_eq!(fitting(needed(4096, reserve), 4096, reserve), 4096);
        }
    }
}
