//! Fail points: named places, one at every edge of what must survive a crash, where a test lets the
//! program die.
//!
//! In a build with debug assertions one environment variable arms one of them:
//!
//! ```text
//! REPRISE_FAULT=after-intent=kill      SIGKILL at the first passage: no destructor runs
//! REPRISE_FAULT=before-rename=kill#3   at the third passage
//! REPRISE_FAULT=after-intent=panic     only the task or thread that passes
//! REPRISE_FAULT=trace                  nothing dies; each passage is a line on standard error
//! ```
//!
//! In a release build a point is nothing at all, and the variable is unknown.

/// Every fail point, in the order in which a start, a run, its polls and a shutdown pass them.
pub const POINTS: [&str; 34] = [
    "lock-taken",
    "layout-made",
    "swept",
    "index-open",
    "reconciled",
    "binding-written",
    "before-intent",
    "after-intent",
    "before-send",
    "after-send",
    "answer-head",
    "mid-answer",
    "answer-whole",
    "before-record",
    "blob-begun",
    "blob-finished",
    "file-written",
    "before-rename",
    "after-rename",
    "folder-synced",
    "before-row",
    "after-row",
    "after-record",
    "before-booking",
    "before-line",
    "line-written",
    "after-line",
    "after-booking",
    "before-unlink",
    "after-unlink",
    "after-settle",
    "after-flight",
    "before-note",
    "after-note",
];

/// The variable that arms a point.
pub const VARIABLE: &str = "REPRISE_FAULT";

#[cfg(debug_assertions)]
pub(crate) use armed::point;

/// Passes one of [`POINTS`]: nothing in a release build.
#[cfg(not(debug_assertions))]
#[inline]
pub(crate) const fn point(_name: &'static str) {}

#[cfg(debug_assertions)]
mod armed {
    use std::panic::panic_any;
    use std::process::{Command, exit, id};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{POINTS, VARIABLE};

    /// What the environment asked for. The one global of the program: a point is passed in code
    /// that is handed nothing, and a process dies only once.
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    #[derive(Debug)]
    enum Armed {
        Trace,
        Die { order: Order, passed: AtomicU64 },
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Order {
        point: String,
        action: Action,
        /// Which passage, counted from one.
        passage: u64,
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Action {
        Kill,
        Panic,
    }

    /// Passes one of [`POINTS`]; acts when it is armed and this is the passage.
    pub(crate) fn point(name: &'static str) {
        debug_assert!(POINTS.contains(&name), "{name} is no fail point");
        let armed = ARMED.get_or_init(|| {
            let order = std::env::var(VARIABLE).ok()?;
            if order == "trace" {
                return Some(Armed::Trace);
            }
            let Some(order) = read(&order) else {
                eprintln!("{VARIABLE}={order}: no such fault");
                exit(2);
            };
            let passed = AtomicU64::new(0);
            Some(Armed::Die { order, passed })
        });
        let (order, passed) = match armed {
            None => return,
            Some(Armed::Trace) => return eprintln!("passed {name}"),
            Some(Armed::Die { order, passed }) => (order, passed),
        };
        if order.point != name || passed.fetch_add(1, Ordering::SeqCst) + 1 != order.passage {
            return;
        }
        match order.action {
            Action::Kill => kill(),
            Action::Panic => panic_any(name),
        }
    }

    /// SIGKILL, as `kill -9` sends it; nobody may go on from here.
    fn kill() -> ! {
        let sent = Command::new("kill")
            .args(["-KILL", &id().to_string()])
            .status();
        // Still here: there is no such program. An abort runs no destructor either.
        eprintln!("kill: {sent:?}");
        std::process::abort();
    }

    fn read(order: &str) -> Option<Order> {
        let (point, action) = order.split_once('=')?;
        let (action, passage) = match action.split_once('#') {
            Some((action, passage)) => (action, passage.parse().ok()?),
            None => (action, 1),
        };
        let action = match action {
            "kill" => Action::Kill,
            "panic" => Action::Panic,
            _ => return None,
        };
        let known = POINTS.contains(&point) && passage > 0;
        known.then(|| Order {
            point: point.to_owned(),
            action,
            passage,
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn orders() {
            let order = |point: &str, action, passage| {
                let point = point.to_owned();
                Some(Order {
                    point,
                    action,
                    passage,
                })
            };
            for (text, expected) in [
                ("after-intent=kill", order("after-intent", Action::Kill, 1)),
                ("mid-answer=panic", order("mid-answer", Action::Panic, 1)),
                ("after-row=kill#3", order("after-row", Action::Kill, 3)),
                ("after-row=kill#0", None),
                ("after-row=kill#x", None),
                ("after-row=sleep", None),
                ("nowhere=kill", None),
                ("after-row", None),
                ("", None),
            ] {
                assert_eq!(read(text), expected, "{text}");
            }
        }

        #[test]
        fn a_name_stands_once() {
            for (at, name) in POINTS.iter().enumerate() {
                assert!(!POINTS[at + 1..].contains(name), "{name}");
            }
        }
    }
}
