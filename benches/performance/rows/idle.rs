//! Connections of clients that have asked once and are kept for later.

use std::time::Duration;

use crate::asking::{Asking, CHAT, Serial};
use crate::figures::{Finding, Verdict};
use crate::line::Line;
use crate::load::count;
use crate::memory;
use crate::parts::Sort;
use crate::systems::System;
use crate::systems::reprise::Proxy;
use crate::world::{World, connections};

use super::{MEMORY, PROXY, Row};

/// When memory has come to rest.
const REST: Duration = Duration::from_millis(500);

pub(super) async fn measure(world: &World) -> Finding {
    let mut finding = Finding::of(Row::Idle, Vec::new());
    let many = connections(world.options.or_few(5_000, 50));
    let chat = || Asking::post(CHAT, Sort::Small, Serial::Same);
    let floor = world.part(|command| command.arg("memory")).await;
    let proxy = Proxy::new(world)
        .with("[server]\nmax_connections = 6000")
        .start()
        .await;
    let ours = chat().saying("cache-status: reprise; hit");
    for system in [
        System::checked(MEMORY, floor, chat()).await,
        System::checked(PROXY, proxy, ours).await,
    ] {
        let before = memory::resident(system.process.pid());
        let lines = open(&system, many).await;
        tokio::time::sleep(REST).await;
        let grown = memory::resident(system.process.pid()).saturating_sub(before);
        let each = count(grown) / count(lines.len() as u64);
        let name = system.name;
        finding.note(format!(
            "{name}: {} connections, {each:.1} KiB each.",
            lines.len()
        ));
        if name == PROXY {
            finding.judge(Verdict::at_most("KiB for an idle connection", each, 20.0));
        }
    }
    finding
}

/// So many connections, each of which has had an answer.
pub(super) async fn open(system: &System, many: usize) -> Vec<Line> {
    let mut lines = Vec::with_capacity(many);
    for _ in 0..many {
        let mut line = Line::lean(system.process.address).await.unwrap();
        let asking = &system.asking;
        let seen = line.ask(&asking.request, asking.says).await.unwrap();
        assert!(seen.ok && seen.says, "{seen:?}");
        lines.push(line);
    }
    lines
}
