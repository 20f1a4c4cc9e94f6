//! What was found, as tables that a person and Markdown can read.

use std::fmt::Write;

use crate::figures::{Figure, Finding};
use crate::systems::{nginx, varnish};
use crate::world::World;

/// How many ask at once in the summary.
const BESIDE: usize = 16;

/// What stands before the figures: the machine, and who is missing.
pub(crate) fn machine(world: &World) {
    eprintln!("{}", described(world));
}

/// One line about where and with what it was measured.
pub(crate) fn described(world: &World) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let cpu = cpu.map_or("unknown", |name| name.trim_start_matches(['\t', ' ', ':']));
    let version = |said: Option<String>| said.unwrap_or_else(|| "not installed".to_owned());
    format!(
        "{cores} × {cpu}; nginx {}; Varnish {}; {} rounds of {} ms.",
        version(nginx::version()),
        version(varnish::version()),
        world.options.rounds(),
        world.options.turn().as_millis(),
    )
}

/// One row: its figures and what else was seen.
pub(crate) fn one(finding: &Finding) -> String {
    let mut text = format!("\n### {}: {}\n", finding.row.name(), finding.row.about());
    if !finding.figures.is_empty() {
        text += "\n| system | connections | CPU µs a request | requests/s | p50 µs | p99 µs |\n| --- | ---: | ---: | ---: | ---: | ---: |\n";
    }
    for figure in &finding.figures {
        let heard = &figure.heard;
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} | {:.0} | {:.0} | {:.0} |",
            figure.system, figure.connections, heard.cpu, heard.rate, heard.p50, heard.p99
        );
    }
    if !finding.notes.is_empty() {
        text += "\n";
    }
    for note in &finding.notes {
        let _ = writeln!(text, "- {note}");
    }
    text
}

/// CPU time of one request, in microseconds, side by side; the ratio is the proxy's to the floor's.
pub(crate) fn summary(findings: &[Finding]) -> String {
    let mut text = format!(
        "CPU µs a request at {BESIDE} connections\n\n| work | floor | others | reprise | reprise / floor |\n| --- | ---: | --- | ---: | ---: |\n"
    );
    let mut rows = 0;
    for finding in findings {
        let figures = finding.figures.iter();
        let mut figures = figures.filter(|one| one.connections == BESIDE);
        // The floor comes first in every row.
        let Some(floor) = figures.next() else {
            continue;
        };
        let (own, others): (Vec<_>, Vec<_>) =
            figures.partition(|one| one.system.starts_with("reprise"));
        rows += 1;
        let said = |one: &&Figure| format!("{} {:.1}", one.system, one.heard.cpu);
        let others: Vec<String> = others.iter().map(said).collect();
        let cpu: Vec<String> = own
            .iter()
            .map(|one| format!("{:.1}", one.heard.cpu))
            .collect();
        let ratio = |one: &&Figure| format!("{:.2}", one.heard.cpu / floor.heard.cpu);
        let ratios: Vec<String> = own.iter().map(ratio).collect();
        let _ = writeln!(
            text,
            "| {} | {} {:.1} | {} | {} | {} |",
            finding.row.about(),
            floor.system,
            floor.heard.cpu,
            others.join(", "),
            cpu.join("; "),
            ratios.join("; "),
        );
    }
    if rows == 0 {
        return String::new();
    }
    text + "\nThe second figure of the proxy is without a line of log for each request.\n"
}

/// What had to be reached, and what was.
pub(crate) fn verdicts(findings: &[Finding]) -> String {
    let mut text =
        "| row | what | found | target | |\n| --- | --- | ---: | ---: | --- |\n".to_owned();
    for finding in findings {
        for verdict in &finding.verdicts {
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {} {} | {} |",
                finding.row.name(),
                verdict.what,
                verdict.found,
                if verdict.at_least { "≥" } else { "≤" },
                verdict.limit,
                if verdict.holds() {
                    "reached"
                } else {
                    "**missed**"
                },
            );
        }
    }
    text
}
