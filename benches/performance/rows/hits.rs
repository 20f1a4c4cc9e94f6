//! Hits: what is kept is answered again.

use crate::asking::{Asking, CHAT, Serial};
use crate::figures::{Finding, Verdict};
use crate::parts::Sort;
use crate::systems::reprise::Proxy;
use crate::systems::{System, nginx, varnish};
use crate::world::World;

use super::{MEMORY, NGINX, PROXY, QUIET, Row, VARNISH};

pub(super) async fn measure(row: Row, world: &World) -> Finding {
    let (sort, limit) = match row {
        Row::HitLarge => (Sort::Large, 1.1),
        _ => (Sort::Small, 1.3),
    };
    let systems = systems(sort, world).await;
    let mut finding = super::loaded(row, &systems, world).await;
    for proxy in [PROXY, QUIET] {
        finding.compare(proxy, MEMORY, (limit, true));
    }
    for other in [NGINX, VARNISH] {
        if let Some((ours, theirs)) = finding.heard(PROXY, 16).zip(finding.heard(other, 16)) {
            let what = format!("CPU of {PROXY} / {other}, 16 connections");
            let verdict = Verdict::at_most(what, ours.cpu / theirs.cpu, 1.0);
            finding.judge(verdict);
        }
    }
    finding
}

async fn systems(sort: Sort, world: &World) -> Vec<System> {
    let chat = || Asking::post(CHAT, sort, Serial::Same);
    let ours = || chat().saying("cache-status: reprise; hit");
    let floor = world.part(|command| command.arg("memory")).await;
    let proxy = Proxy::new(world).start().await;
    let quiet = Proxy::new(world).quiet().start().await;
    let mut systems = vec![
        System::checked(MEMORY, floor, chat()).await,
        System::checked(PROXY, proxy, ours()).await,
        System::checked(QUIET, quiet, ours()).await,
    ];
    if let Some(process) = nginx::start(world, false).await {
        let asking = chat().saying("X-Cache: HIT");
        systems.push(System::checked(NGINX, process, asking).await);
    }
    if let Some(process) = varnish::start(world).await {
        let path = match sort {
            Sort::Large => "/v1/models/large",
            Sort::Small | Sort::Picture => "/v1/models/small",
        };
        let asking = Asking::get(path, sort.body());
        systems.push(System::checked(VARNISH, process, asking).await);
    }
    systems
}
