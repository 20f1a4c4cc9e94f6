//! What is no generation passes through.

use crate::asking::Asking;
use crate::figures::{Finding, Verdict};
use crate::parts::small;
use crate::process::Process;
use crate::systems::reprise::Proxy;
use crate::systems::{System, nginx};
use crate::world::World;

use super::{DIRECT, NGINX, PROXY, QUIET, RELAY, Row};

pub(super) async fn measure(row: Row, world: &World) -> Finding {
    let secure = row == Row::PassTls;
    let systems = systems(secure, world).await;
    let mut finding = super::loaded(row, &systems, world).await;
    for proxy in [PROXY, QUIET] {
        finding.compare(proxy, RELAY, (1.15, true));
    }
    finding.compare(PROXY, NGINX, (1.25, false));
    if let Some((through, direct)) = finding.heard(PROXY, 16).zip(finding.heard(DIRECT, 16)) {
        let added = (through.p99 - direct.p99) / 1e3;
        let what = "p99 beyond that of the upstream itself, 16 connections, ms";
        finding.judge(Verdict::at_most(what, added, 1.0));
    }
    finding
}

async fn systems(secure: bool, world: &World) -> Vec<System> {
    let asking = || Asking::get("/v1/models", small());
    let ours = || asking().saying("cache-status: reprise; fwd=bypass");
    let floor = relay(world, secure).await;
    let made = || {
        let proxy = Proxy::new(world);
        if secure { proxy.secure() } else { proxy }
    };
    let mut systems = vec![
        System::checked(RELAY, floor, asking()).await,
        System::checked(PROXY, made().start().await, ours()).await,
        System::checked(QUIET, made().quiet().start().await, ours()).await,
    ];
    if let Some(process) = nginx::start(world, secure).await {
        systems.push(System::checked(NGINX, process, asking()).await);
    }
    if !secure {
        let process = world.part(|command| command.arg("upstream")).await;
        systems.push(System::checked(DIRECT, process, asking()).await);
    }
    systems
}

/// The minimal proxy before one of the upstreams.
pub(super) async fn relay(world: &World, secure: bool) -> Process {
    world
        .part(|command| {
            command.arg("relay");
            if secure {
                let upstream = format!("https://{}", world.secure.address);
                command.arg(upstream).arg(&world.authority)
            } else {
                command.arg(format!("http://{}", world.upstream.address))
            }
        })
        .await
}
