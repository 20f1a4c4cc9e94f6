//! What the commands about jobs print: for people on a terminal, else for programs.

use std::io::IsTerminal;

use crate::cli::admin::printable;
use crate::cli::output::print;
use crate::cli::{Failure, table};
use crate::console::{Action, Callback, File, Job, JobDetail, JobState, Resolved};

/// A table; one line a job, with tabs, where nobody looks.
pub(super) fn list(jobs: &[Job]) -> Result<(), Failure> {
    let head = [
        "KEY", "STATE", "KIND", "MODEL", "CLIENT", "STARTED", "CALLERS", "TASK",
    ];
    let rows: Vec<_> = jobs.iter().map(row).collect();
    if !std::io::stdout().is_terminal() {
        return print(&table::tabbed(&rows));
    }
    if rows.is_empty() {
        return print("Nothing runs, and no outcome is unknown.\n");
    }
    print(&table::aligned(head, &rows))
}

fn row(job: &Job) -> [String; 8] {
    [
        job.key.short(),
        job.state.as_str().to_owned(),
        job.kind.to_string(),
        job.model.clone().unwrap_or_else(|| "-".to_owned()),
        job.client.clone(),
        format!("{:.0}", job.started_at),
        job.callers.to_string(),
        job.task_id.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

/// Of a run beside the cache.
const PASSED_BY: &str = "by what is kept; nobody who asks for the same is asked about it";

/// One line for each thing that is known.
pub(super) fn job(detail: &JobDetail) -> Result<(), Failure> {
    let JobDetail {
        job,
        path,
        ended_at,
        reason,
        passed_by,
        age_seconds,
        progress,
        next_poll_at,
        callbacks,
        media,
    } = detail;
    let lines = [
        ("key", Some(job.key.to_string())),
        ("state", Some(job.state.as_str().to_owned())),
        ("reason", reason.clone()),
        ("passed", passed_by.then(|| PASSED_BY.to_owned())),
        ("task", job.task_id.clone()),
        ("kind", Some(job.kind.to_string())),
        ("path", Some(path.clone())),
        ("model", job.model.clone()),
        ("client", Some(job.client.clone())),
        ("started", Some(format!("{:.0}", job.started_at))),
        ("ended", ended_at.map(|at| format!("{at:.0}"))),
        ("age", Some(span(*age_seconds))),
        ("progress", progress.map(|percent| format!("{percent} %"))),
        ("asked", next_poll_at.map(|at| format!("again at {at:.0}"))),
        ("callers", Some(job.callers.to_string())),
    ];
    let callbacks = callbacks.iter().map(|callback| {
        let Callback {
            host,
            state,
            attempts,
        } = callback;
        (
            "callback",
            Some(format!("{host} {state}, {attempts} attempts")),
        )
    });
    let files = media.iter().map(|file| ("file", Some(line_of(file))));
    let known = lines
        .into_iter()
        .chain(files)
        .chain(callbacks)
        .filter_map(|(name, value)| {
            let value = printable(&value?).replace('\n', "?");
            Some(format!("{name:8} {value}\n"))
        });
    let advice = (job.state == JobState::Unknown).then(|| {
        let key = job.key.short();
        format!("\nDecide with `reprise jobs resolve {key}` and --rerun, --task ID or --forget.\n")
    });
    let text: String = known.chain(advice).collect();
    print(&text)
}

/// What became of a file that the result links to.
fn line_of(file: &File) -> String {
    let File {
        host,
        state,
        bytes,
        content_type,
        link,
        reason,
    } = file;
    let bytes = bytes.map(|bytes| format!("{bytes} bytes"));
    let known = [content_type.clone(), bytes, link.clone(), reason.clone()];
    let known = known.into_iter().flatten().collect::<Vec<_>>().join(", ");
    format!("{state} from {host} {known}").trim_end().to_owned()
}

/// A length of time in its two largest units.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// What comes of a decision.
pub(super) fn done(done: &Resolved) -> Result<(), Failure> {
    let key = done.key.short();
    let task = done.task_id.as_deref().unwrap_or_default();
    print(&match done.action {
        Action::Rerun => format!(
            "{key}: resolved; unless an older answer is kept, the next identical request runs again.\n"
        ),
        Action::Forget => format!(
            "{key}: forgotten; unless an older answer is kept, the next identical request runs.\n"
        ),
        Action::Task => format!(
            "{key}: task {task} stands for it; polls show how it is, an identical request joins it.\n"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_its_two_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3_599, "59 min 59 s"),
            (7_260, "2 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
