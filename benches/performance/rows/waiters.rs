//! Many clients that wait for one generation.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::asking::{Asking, CHAT, Serial};
use crate::figures::{Finding, Verdict};
use crate::line::Line;
use crate::load::count;
use crate::memory;
use crate::parts::{OPEN, Sort};
use crate::process::Process;
use crate::systems::System;
use crate::systems::reprise::Proxy;
use crate::world::{World, connections};

use super::{PROXY, Row, idle};

/// When memory has come to rest.
const REST: Duration = Duration::from_millis(500);
/// How long they may take to gather.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) async fn measure(world: &World) -> Finding {
    let mut finding = Finding::of(Row::Waiters, Vec::new());
    let many = connections(world.options.or_few(10_000, 50));
    let proxy = Proxy::new(world)
        .with("[server]\nmax_connections = 11000")
        .start()
        .await;
    let chat = Asking::post(CHAT, Sort::Small, Serial::Same).saying("cache-status: reprise; hit");
    let system = System::checked(PROXY, proxy, chat).await;
    // What a connection costs is another row's; these have cost it before they begin to wait.
    let mut lines = idle::open(&system, many).await;
    tokio::time::sleep(REST).await;
    let before = memory::resident(system.process.pid());
    let asking = Asking::held();
    for line in &mut lines {
        line.send(&asking.request).await.unwrap();
    }
    gathered(&system.process, many).await;
    tokio::time::sleep(REST).await;
    let grown = memory::resident(system.process.pid()).saturating_sub(before);
    let begun = Instant::now();
    let mut door = Line::lean(world.upstream.address).await.unwrap();
    let open = Asking::get(OPEN, Bytes::new());
    door.ask(&open.request, None).await.unwrap();
    for line in &mut lines {
        let (head, body) = line.read().await.unwrap();
        assert!(body == asking.answer, "a waiter got something else: {head}");
    }
    let took = begun.elapsed().as_secs_f64() * 1e3;
    let each = count(grown) / count(many as u64);
    finding.note(format!(
        "{many} waiters, {each:.1} KiB each beyond an idle connection; all had the answer {took:.0} ms after the upstream gave it."
    ));
    finding.judge(Verdict::at_most("KiB for a joined waiter", each, 5.0));
    finding
}

/// Waits until all of them wait.
async fn gathered(process: &Process, many: usize) {
    let mut line = Line::to(process.address).await.unwrap();
    let metrics = Asking::get("/metrics", Bytes::new());
    let begun = Instant::now();
    loop {
        line.send(&metrics.request).await.unwrap();
        let (_, text) = line.read().await.unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        let said = text
            .lines()
            .find_map(|line| line.strip_prefix("reprise_requests_in_flight "));
        let waiting: usize = said.and_then(|said| said.parse().ok()).unwrap_or(0);
        if waiting >= many {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{waiting} of {many} wait");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
