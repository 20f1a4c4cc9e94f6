//! Event streams that pass through: many chunks at once, and one at a time.

use crate::asking::Asking;
use crate::contest::median;
use crate::figures::{Finding, Verdict};
use crate::line::Line;
use crate::parts::{self, STAMPED};
use crate::systems::reprise::Proxy;
use crate::systems::{System, nginx};
use crate::world::World;

use super::{DIRECT, NGINX, PROXY, QUIET, RELAY, Row, passing};

/// No chunk may come later than through the minimal proxy by more, in microseconds.
const MOST_DELAY: f64 = 100.0;

/// All chunks are ready when the first is sent.
pub(super) async fn ready(world: &World) -> Finding {
    let systems = systems(
        Asking::get("/v1/responses/resp_ready?stream=true", parts::ready()),
        world,
    );
    let systems = systems.await;
    let mut finding = super::loaded(Row::Stream, &systems, world).await;
    finding.compare(PROXY, NGINX, (2.0, true));
    finding.compare(QUIET, NGINX, (2.0, true));
    finding.note("The limit is a multiple of nginx without buffering; the minimal proxy writes for each chunk.");
    finding
}

async fn systems(asking: Asking, world: &World) -> Vec<System> {
    let ours = || asking.clone().saying("cache-status: reprise; fwd=bypass");
    let floor = passing::relay(world, false).await;
    let (proxy, quiet) = (Proxy::new(world), Proxy::new(world).quiet());
    let mut systems = vec![
        System::checked(RELAY, floor, asking.clone()).await,
        System::checked(PROXY, proxy.start().await, ours()).await,
        System::checked(QUIET, quiet.start().await, ours()).await,
    ];
    if let Some(process) = nginx::start(world, false).await {
        systems.push(System::checked(NGINX, process, asking).await);
    }
    systems
}

/// A chunk says when it was sent; how late it is, is compared with the minimal proxy.
pub(super) async fn alone(world: &World) -> Finding {
    let mut finding = Finding::of(Row::StreamAlone, Vec::new());
    let floor = passing::relay(world, false).await;
    let proxy = Proxy::new(world).start().await;
    let nginx = nginx::start(world, false).await;
    let mut seen = Vec::new();
    let direct = [(DIRECT, Some(&world.upstream))];
    let others = [
        (RELAY, Some(&floor)),
        (PROXY, Some(&proxy)),
        (NGINX, nginx.as_ref()),
    ];
    for (name, process) in direct.into_iter().chain(others) {
        let Some(process) = process else { continue };
        let mut delays = Vec::new();
        for _ in 0..world.options.rounds() {
            delays.extend(listen(process.address).await);
        }
        delays.sort_by(f64::total_cmp);
        let (middle, most) = (median(delays.clone()), delays[delays.len() * 99 / 100]);
        finding.note(format!(
            "{name}: a chunk is heard after {middle:.0} µs, 99 of 100 within {most:.0} µs."
        ));
        seen.push((name, middle));
    }
    let of = |name| {
        seen.iter()
            .find(|(who, _)| *who == name)
            .map(|(_, middle)| *middle)
    };
    if let Some((ours, floor)) = of(PROXY).zip(of(RELAY)) {
        let what = format!("median delay of a chunk beyond {RELAY}, µs");
        finding.judge(Verdict::at_most(what, ours - floor, MOST_DELAY));
    }
    finding
}

/// How late every event of one stream was, in microseconds.
async fn listen(address: std::net::SocketAddr) -> Vec<f64> {
    let mut line = Line::to(address).await.unwrap();
    let asking = Asking::get(STAMPED, bytes::Bytes::new());
    line.send(&asking.request).await.unwrap();
    let mut delays = Vec::new();
    loop {
        let read = line.more(0).await.unwrap();
        let now = jiff::Timestamp::now().as_nanosecond();
        let text = String::from_utf8_lossy(&line.buffer()[..read]).into_owned();
        for said in text.split("data: ").skip(1) {
            let digits = said.split('\n').next().unwrap_or_default();
            let sent: i128 = digits.parse().unwrap();
            delays.push(f64::from(i32::try_from(now - sent).unwrap()) / 1e3);
        }
        if text.ends_with("0\r\n\r\n") {
            return delays;
        }
    }
}
