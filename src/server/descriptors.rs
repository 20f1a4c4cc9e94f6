//! How many connections the system lets us have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for the store, the log and whatever else is open all the time.
const RESERVE: u64 = 64;

/// What one connection may need at once: its own, one to upstream, and the file of its answer.
const EACH: u64 = 3;

/// The fewest connections that are served, whatever the system says.
const FEWEST: u64 = 8;

/// So many of the connections `asked` for as the system has descriptors for, after asking it for more:
/// the limit that a process is born with is mostly meant for `select` (1024), and it may raise it up
/// to another one. Changes the limit of the whole process.
pub fn connections(asked: usize) -> usize {
    let needed = needed(asked);
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
        .map_or(asked, |current| fitting(current, asked));
    if fitting < asked {
        tracing::warn!(
            open_files = limit.current,
            "at most {fitting} connections are served at once, and not the {asked} of \
             server.max_connections: the system allows no more open files (ulimit -n)"
        );
    }
    fitting
}

fn needed(connections: usize) -> u64 {
    let connections = u64::try_from(connections).unwrap_or(u64::MAX);
    connections.saturating_mul(EACH).saturating_add(RESERVE)
}

fn fitting(descriptors: u64, asked: usize) -> usize {
    let most = (descriptors.saturating_sub(RESERVE) / EACH).max(FEWEST);
    usize::try_from(most).unwrap_or(usize::MAX).min(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(fitting(descriptors, asked), connections, "{descriptors}");
        }
        assert_eq!(fitting(needed(4096), 4096), 4096);
    }
}
