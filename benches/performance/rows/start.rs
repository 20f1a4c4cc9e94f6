//! From the start of the process to its first answer, and what it is in memory when nothing happens.

use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::asking::Asking;
use crate::contest::median;
use crate::figures::{Finding, Verdict};
use crate::line::Line;
use crate::load::count;
use crate::memory;
use crate::process::{Process, free_address};
use crate::systems::nginx;
use crate::systems::reprise::Proxy;
use crate::world::World;

use super::{MEMORY, NGINX, PROXY, Row};

/// When memory has come to rest.
const REST: Duration = Duration::from_secs(1);

pub(super) async fn measure(world: &World) -> Finding {
    let mut finding = Finding::of(Row::Start, Vec::new());
    let mut millis = Vec::new();
    // A folder that is there already, as at every start but the first.
    let home = world.folder();
    drop(Proxy::new(world).at_home(home.clone()).start().await);
    for _ in 0..world.options.or_few(15, 2) {
        let proxy = Proxy::new(world)
            .at_home(home.clone())
            .listening_at(free_address());
        let begun = Instant::now();
        let process = proxy.spawn();
        answers(&process).await;
        millis.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let took = median(millis);
    let proxy = Proxy::new(world).start().await;
    answers(&proxy).await;
    tokio::time::sleep(REST).await;
    let resident = count(memory::resident(proxy.pid())) / 1024.0;
    finding.note(format!(
        "{PROXY}: {took:.1} ms, {resident:.1} MiB resident."
    ));
    finding.judge(Verdict::at_most(
        "start to the first answer, ms",
        took,
        30.0,
    ));
    finding.judge(Verdict::at_most("idle memory, MiB", resident, 15.0));
    others(&mut finding, world).await;
    finding
}

/// The floor, and nginx where it is installed; their starts are seen to the millisecond.
async fn others(finding: &mut Finding, world: &World) {
    let begun = Instant::now();
    let floor = world
        .part(|command: &mut Command| command.arg("memory"))
        .await;
    answers(&floor).await;
    told(finding, MEMORY, &floor, begun).await;
    let begun = Instant::now();
    if let Some(process) = nginx::start(world, false).await {
        answers(&process).await;
        told(finding, NGINX, &process, begun).await;
    }
}

async fn told(finding: &mut Finding, name: &str, process: &Process, begun: Instant) {
    let took = begun.elapsed().as_secs_f64() * 1e3;
    tokio::time::sleep(REST).await;
    let resident = count(memory::resident(process.pid())) / 1024.0;
    finding.note(format!("{name}: {took:.1} ms, {resident:.1} MiB resident."));
}

/// Asks until there is an answer.
pub(super) async fn answers(process: &Process) {
    let asking = Asking::get("/healthz", Bytes::new());
    loop {
        if let Ok(mut line) = Line::lean(process.address).await
            && let Ok(seen) = line.ask(&asking.request, None).await
            && seen.ok
        {
            return;
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}
