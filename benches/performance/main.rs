//! How fast the proxy is, beside what could be: `cargo bench --bench performance`.
//!
//! Every row of the table ([`rows`]) measures one thing with several systems ([`systems`]): a floor, which
//! is a small program of ours ([`parts`]) that does as little as the row allows; nginx and Varnish where
//! they are installed; and the proxy. All stand before the same upstream, each is a process of its own
//! ([`process`]), and they take turns in rounds ([`contest`]), since a machine drifts while ratios hold.
//!
//! A [`load`] is a closed loop over raw connections ([`line`]); before it is let loose, one answer of each
//! system is compared byte by byte. What a request costs is the CPU time of the system's processes, as the
//! kernel counts it ([`cpu`]). [`report`] prints what was found, and [`page`] writes it to
//! `docs/performance.md`.
#![allow(
    clippy::unwrap_used,
    reason = "what cannot be measured ends the run, and what it has started with it"
)]

mod asking;
mod contest;
mod cpu;
mod figures;
mod line;
mod load;
mod memory;
mod options;
mod page;
mod parts;
mod process;
mod report;
mod rows;
mod stalls;
mod systems;
mod world;

use clap::Parser;

use options::{Command, Options};
use rows::Row;
use world::World;

fn main() {
    let options = Options::parse();
    if let Some(Command::Part { part }) = options.command {
        return parts::run(part);
    }
    if options.list {
        for row in Row::ALL {
            println!("{:<18}{}", row.name(), row.about());
        }
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(options));
}

async fn measure(options: Options) {
    let rows = options.rows();
    let world = World::new(options).await;
    report::machine(&world);
    let mut findings = Vec::new();
    for row in rows {
        eprintln!("{}: {}", row.name(), row.about());
        let finding = row.measure(&world).await;
        if !world.options.smoke {
            print!("{}", report::one(&finding));
        }
        findings.push(finding);
    }
    if world.options.smoke {
        println!("{} rows run and answer right", findings.len());
        return;
    }
    println!("\n{}", report::summary(&findings));
    print!("{}", report::verdicts(&findings));
    if world.options.writes() {
        page::write(&world, &findings);
    }
}
