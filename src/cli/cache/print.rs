//! What the commands about what is kept print: for people on a terminal, else for programs.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use crate::cli::admin::printable;
use crate::cli::output::print;
use crate::cli::progress::size;
use crate::cli::{Failure, table};
use crate::console::cache::{Detail, Listed, Removed};
use crate::store::{Exported, Imported, Purged, TaskState, VerifyReport};

const HEAD: [&str; 8] = [
    "KEY",
    "KIND",
    "STATUS",
    "SIZE",
    "CREATED",
    "LAST USED",
    "MODEL",
    "PATH",
];

/// The rows of a listing: a table when all are there, else one line each as they come.
pub(super) struct Rows {
    out: BufWriter<StdoutLock<'static>>,
    /// For a table, which has to know its widest cells.
    waiting: Option<Vec<[String; 8]>>,
}

impl Rows {
    pub(super) fn new() -> Self {
        let out = io::stdout();
        let waiting = out.is_terminal().then(Vec::new);
        let out = BufWriter::new(out.lock());
        Self { out, waiting }
    }

    pub(super) fn add(&mut self, listed: &Listed) -> io::Result<()> {
        let bytes = match self.waiting {
            Some(_) => size(listed.bytes),
            None => listed.bytes.to_string(),
        };
        let row = row(listed, bytes);
        if let Some(waiting) = &mut self.waiting {
            waiting.push(row);
            Ok(())
        } else {
            self.out.write_all(table::tabbed(&[row]).as_bytes())
        }
    }

    pub(super) fn end(mut self) -> io::Result<()> {
        let text = match self.waiting {
            None => String::new(),
            Some(rows) if rows.is_empty() => "Nothing is kept.\n".to_owned(),
            Some(rows) => table::aligned(HEAD, &rows),
        };
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

fn row(listed: &Listed, bytes: String) -> [String; 8] {
    [
        listed.key.short(),
        listed.kind.to_string(),
        listed.status.to_string(),
        bytes,
        format!("{:.0}", listed.created_at),
        format!("{:.0}", listed.last_used_at),
        listed.model.clone().unwrap_or_else(|| "-".to_owned()),
        listed.path.clone(),
    ]
}

/// One line for each thing that is known.
pub(super) fn detail(detail: &Detail) -> Result<(), Failure> {
    let listed = &detail.listed;
    let mut lines = vec![
        ("key", listed.key.to_string()),
        ("kind", listed.kind.to_string()),
        ("path", listed.path.clone()),
    ];
    let model = listed.model.iter().map(|model| ("model", model.clone()));
    lines.extend(model);
    lines.push(("client", detail.client.clone()));
    lines.push(("status", listed.status.to_string()));
    lines.push(("created", format!("{:.0}", listed.created_at)));
    lines.push(("used", format!("{:.0}", listed.last_used_at)));
    lines.push(("took", format!("{} ms", detail.elapsed_ms)));
    lines.extend(detail.usd.map(|usd| ("cost", format!("${usd}"))));
    lines.push(("size", size(listed.bytes)));
    lines.push(("file", detail.file.clone()));
    let blob = detail.body.file.as_deref().unwrap_or("in its own file");
    lines.push(("body", format!("{}, {blob}", size(detail.body.bytes))));
    for (name, value) in &detail.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        lines.push(("header", format!("{name}: {value}")));
    }
    lines.extend(task_lines(detail));
    for file in &detail.media {
        let bytes = file.bytes.map(size).into_iter();
        let known = bytes.chain(file.link.clone()).chain(file.reason.clone());
        let known: Vec<String> = known.collect();
        let line = format!("{} from {} {}", file.state, file.host, known.join(", "));
        lines.push(("medium", line.trim_end().to_owned()));
    }
    let lines = lines.iter().map(|(name, value)| {
        let value = printable(value).replace('\n', "?");
        format!("{name:8} {value}\n")
    });
    print(&lines.collect::<String>())
}

fn task_lines(detail: &Detail) -> Vec<(&'static str, String)> {
    let Some(task) = &detail.task else {
        return Vec::new();
    };
    let mut lines = vec![
        ("task", task.id.clone()),
        ("state", task.state.as_str().to_owned()),
        ("started", format!("{:.0}", task.started_at)),
    ];
    lines.extend(task.ended_at.map(|at| ("ended", format!("{at:.0}"))));
    lines.extend(task.total_tokens.map(|count| ("tokens", count.to_string())));
    for poll in &task.polls {
        let (path, status, bytes) = (&poll.path, poll.status, size(poll.body.bytes));
        lines.push((
            "poll",
            format!("{path} {status} at {:.0}, {bytes}", poll.at),
        ));
    }
    if task.state == TaskState::Running {
        let advice = format!("reprise jobs show {}", detail.listed.key.short());
        lines.push(("see", advice));
    }
    lines
}

pub(super) fn removed(gone: &[Removed]) -> Result<(), Failure> {
    let lines = gone.iter().map(|removed| {
        let (key, bytes) = (removed.key.short(), size(removed.bytes));
        format!("{key}: forgotten, {bytes} freed; the next identical request runs.\n")
    });
    print(&lines.collect::<String>())
}

pub(super) fn purged(done: &Purged) -> Result<(), Failure> {
    let (count, bytes) = (generations(done.generations), size(done.bytes));
    let mut lines = vec![format!("{count} forgotten, {bytes} freed.")];
    if done.running > 0 {
        lines.push(format!("{} stay: they are not finished.", done.running));
    }
    if done.unknown > 0 {
        lines.push(format!(
            "{} stay: an identical call is under way, or its outcome unknown (`reprise jobs list`).",
            done.unknown
        ));
    }
    print_lines(&lines)
}

/// Each finding on a line with the name of its file, then the counts.
pub(super) fn report(report: &VerifyReport) -> Result<(), Failure> {
    let damages = report.damages.iter().map(|damage| {
        let key = damage.key.map(|key| format!(" ({})", key.short()));
        let (file, key) = (damage.path.display(), key.unwrap_or_default());
        format!("{file}: {}{key}", damage.why)
    });
    let mut lines: Vec<String> = damages.collect();
    let unnamed = report.faults.saturating_sub(report.damages.len() as u64);
    if unnamed > 0 {
        lines.push(format!("and {unnamed} more"));
    }
    let (count, bytes) = (generations(report.generations), size(report.bytes));
    let blobs = report.blobs;
    lines.push(format!("{count} and {blobs} blobs are fine, {bytes} read."));
    if report.unneeded > 0 {
        lines.push(format!(
            "{} blobs are needed by no generation: a crash may leave some; they go by themselves.",
            report.unneeded
        ));
    }
    print_lines(&lines)
}

/// One line each, whatever stands in it.
fn print_lines(lines: &[String]) -> Result<(), Failure> {
    let lines = lines.iter();
    let lines = lines.map(|line| printable(line).replace('\n', "?") + "\n");
    print(&lines.collect::<String>())
}

/// What is in an export; on standard error when that has standard output.
pub(super) fn exported(done: &Exported, as_json: bool, on_out: bool) -> Result<(), Failure> {
    let text = if as_json {
        serde_json::to_string(done).map_err(|error| Failure::Runtime(error.to_string()))?
    } else {
        let (count, bytes) = (generations(done.generations), size(done.bytes));
        format!("{count} and {} blobs exported, {bytes}.", done.blobs)
    };
    if on_out {
        print(&format!("{text}\n"))?;
    } else {
        eprintln!("{text}");
    }
    if done.left_out > 0 {
        eprintln!(
            "reprise: {} left out, since files are damaged; `reprise cache verify` names them",
            generations(done.left_out)
        );
    }
    Ok(())
}

/// Each refusal on a line, then the counts.
pub(super) fn imported(done: &Imported) -> Result<(), Failure> {
    let refusals = done.refusals.iter();
    let refusals = refusals.map(|refusal| format!("{}: refused, {}", refusal.name, refusal.why));
    let mut lines: Vec<String> = refusals.collect();
    lines.push(format!(
        "{} new, {} replaced by newer ones, {} already here, {} files refused; {} read.",
        generations(done.added),
        done.replaced,
        done.already_here,
        done.refused,
        size(done.bytes)
    ));
    print_lines(&lines)
}

fn generations(count: u64) -> String {
    match count {
        1 => "1 generation".to_owned(),
        count => format!("{count} generations"),
    }
}
