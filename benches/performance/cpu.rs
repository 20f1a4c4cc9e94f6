//! CPU time of a process and of its children, as the kernel counts it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// A tick of `/proc/PID/stat`: a hundredth of a second on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// What was used up to a moment.
#[derive(Debug)]
pub(crate) struct Used {
    /// By each thread, in nanoseconds. A thread that ends takes its share along.
    fine: BTreeMap<String, u64>,
    /// By all threads that ever were, in ticks.
    coarse: u32,
}

impl Used {
    /// By a process and those that it started.
    pub(crate) fn by(pid: u32) -> Self {
        let mut used = Self {
            fine: BTreeMap::new(),
            coarse: 0,
        };
        for pid in family(pid) {
            used.coarse += ticks(&pid).unwrap_or(0);
            for task in names(&format!("/proc/{pid}/task")) {
                let said = fs::read_to_string(format!("/proc/{pid}/task/{task}/schedstat"));
                let nanos = said.ok().and_then(|said| {
                    let first = said.split_whitespace().next()?;
                    first.parse().ok()
                });
                used.fine.insert(task, nanos.unwrap_or(0));
            }
        }
        used
    }

    /// What was used since an earlier moment: by the nanosecond, unless a thread has ended meanwhile.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        if before.fine.keys().any(|task| !self.fine.contains_key(task)) {
            return TICK * (self.coarse - before.coarse);
        }
        let nanos = self.fine.iter().map(|(task, nanos)| {
            let earlier = before.fine.get(task).copied().unwrap_or(0);
            nanos - earlier
        });
        Duration::from_nanos(nanos.sum())
    }
}

/// A process and all below it.
pub(crate) fn family(pid: u32) -> Vec<String> {
    let all: Vec<(String, String)> = names("/proc")
        .into_iter()
        .filter(|name| name.bytes().all(|digit| digit.is_ascii_digit()))
        .filter_map(|pid| Some((stat(&pid)?.get(1)?.clone(), pid)))
        .collect();
    let mut family = vec![pid.to_string()];
    let mut next = 0;
    while let Some(parent) = family.get(next).cloned() {
        let children = all.iter().filter(|(above, _)| *above == parent);
        family.extend(children.map(|(_, pid)| pid.clone()));
        next += 1;
    }
    family
}

fn ticks(pid: &str) -> Option<u32> {
    let stat = stat(pid)?;
    Some(stat.get(11)?.parse::<u32>().ok()? + stat.get(12)?.parse::<u32>().ok()?)
}

/// The fields of `/proc/PID/stat` behind the name, which may have blanks in it: state, parent, …
fn stat(pid: &str) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
