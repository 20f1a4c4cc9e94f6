//! Misses: every request is a new one, paid for, and kept.

use crate::asking::{Asking, CHAT, PICTURES, Serial};
use crate::figures::{Finding, Verdict};
use crate::parts::Sort;
use crate::systems::reprise::Proxy;
use crate::systems::{System, nginx};
use crate::world::World;

use super::{KEEPING, NGINX, PROXY, QUIET, Row};

pub(super) async fn measure(row: Row, world: &World) -> Finding {
    let (path, sort) = match row {
        Row::MissImages => (PICTURES, Sort::Picture),
        _ => (CHAT, Sort::Small),
    };
    let asking = || Asking::post(path, sort, Serial::New(std::sync::Arc::default()));
    let ours = || asking().saying("cache-status: reprise; fwd=miss; stored");
    let floor = world
        .part(|command| {
            let upstream = format!("http://{}", world.upstream.address);
            command.args(["keeping", &upstream]).arg(world.folder())
        })
        .await;
    let (proxy, quiet) = (Proxy::new(world), Proxy::new(world).quiet());
    let mut systems = vec![
        System::checked(KEEPING, floor, asking()).await,
        System::checked(PROXY, proxy.start().await, ours()).await,
        System::checked(QUIET, quiet.start().await, ours()).await,
    ];
    if row == Row::MissChat
        && let Some(process) = nginx::start(world, false).await
    {
        let asking = asking().saying("X-Cache: MISS");
        systems.push(System::checked(NGINX, process, asking).await);
    }
    let mut finding = super::loaded(row, &systems, world).await;
    finding.compare(PROXY, KEEPING, (4.0, false));
    finding.compare(QUIET, KEEPING, (4.0, false));
    if let Some((many, one)) = finding.heard(PROXY, 64).zip(finding.heard(PROXY, 1)) {
        let what = "throughput of 64 parallel misses / of one";
        finding.judge(Verdict::at_least(what, many.rate / one.rate, 5.0));
    }
    finding
}
