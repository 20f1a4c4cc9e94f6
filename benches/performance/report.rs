//! What was found, as tables that a person and Markdown can read.

use std::fmt::Write;

use crate::figures::Finding;
use crate::systems::{nginx, varnish};
use crate::world::World;

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

/// What had to be reached, and what was.
pub(crate) fn verdicts(findings: &[Finding]) -> String {
    let mut text =
        "| row | what | found | target | |\n| --- | --- | ---: | ---: | --- |\n".to_owned();
    for finding in findings {
        for verdict in &finding.verdicts {
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {} {:.4} | {} |",
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
