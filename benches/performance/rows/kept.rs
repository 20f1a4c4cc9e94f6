//! What depends on how much is kept, and should not.

use std::time::{Duration, Instant};

use crate::asking::{Asking, CHAT, Serial};
use crate::contest;
use crate::figures::{Finding, Verdict};
use crate::load::count;
use crate::memory;
use crate::parts::Sort;
use crate::process::free_address;
use crate::systems::System;
use crate::systems::reprise::Proxy;
use crate::world::World;

use super::{Row, seeds, start};

const FEW: &str = "reprise, 1,000 kept";
const MANY: &str = "reprise, 1,000,000 kept";

pub(super) async fn measure(world: &World) -> Finding {
    let few = world.options.or_few(1_000, 100) as u64;
    let many = world.options.or_few(1_000_000, 1_000) as u64;
    // The same are asked for, or what is compared would be how many of them are at hand in memory.
    let small = sow_and_start(world, FEW, (few, few)).await;
    let large = sow_and_start(world, MANY, (many, few)).await;
    let systems = [small.system, large.system];
    let figures = contest::hold_with(&systems, &world.options, &[1, 16]).await;
    let mut finding = Finding::of(Row::Kept, figures);
    // With one connection the median says whether the kernel has put both sides on the same processor.
    if let Some((many, few)) = finding.heard(MANY, 16).zip(finding.heard(FEW, 16)) {
        let what = "median time of a hit, 1,000,000 kept / 1,000 kept, 16 connections";
        finding.judge(Verdict::at_most(what, many.p50 / few.p50, 1.2));
    }
    let resident = count(memory::resident(systems[1].process.pid())) / 1024.0;
    let limit = (100.0 + count(many) * 100.0 / 1024.0 / 1024.0).floor();
    finding.judge(Verdict::at_most(
        "memory with 1,000,000 kept, MiB",
        resident,
        limit,
    ));
    finding.judge(Verdict::at_most(
        "rebuild of the index, s",
        large.rebuild,
        60.0,
    ));
    finding.judge(Verdict::at_most(
        "start with 1,000,000 kept, s",
        large.start,
        2.0,
    ));
    finding.note(format!(
        "{few} generations were kept, and {many}; the same {few} were asked for."
    ));
    finding
}

struct Grown {
    system: System,
    /// Seconds to the first answer while the index was made, and with it in place.
    rebuild: f64,
    start: f64,
}

async fn sow_and_start(world: &World, name: &'static str, (many, asked): (u64, u64)) -> Grown {
    let home = seeds::sow(world, many).await;
    let mut seconds = Vec::new();
    let mut last = None;
    for _ in 0..2 {
        drop(last.take());
        let proxy = Proxy::new(world)
            .at_home(home.clone())
            .listening_at(free_address());
        let begun = Instant::now();
        let process = proxy.spawn();
        start::answers(&process).await;
        seconds.push(begun.elapsed().as_secs_f64());
        last = Some(process);
        // What is looked after behind the first answer is to be over before anything is measured.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let asking = Asking::post(CHAT, Sort::Small, Serial::Among(asked));
    let asking = asking.saying("cache-status: reprise; hit");
    Grown {
        system: System::checked(name, last.unwrap(), asking).await,
        rebuild: seconds[0],
        start: seconds[1],
    }
}
