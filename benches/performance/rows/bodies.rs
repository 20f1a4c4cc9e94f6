//! A body that is larger than any memory it should take, each way.

use std::time::Duration;

use bytes::Bytes;

use crate::asking::Asking;
use crate::figures::{Finding, Verdict};
use crate::line::Line;
use crate::load::count;
use crate::memory;
use crate::parts::{BIG, LARGE_LEN};
use crate::process::Process;
use crate::systems::reprise::Proxy;
use crate::world::World;

use super::{PROXY, RELAY, Row, passing};

/// How often memory is looked at, for whoever may not have the system count the most.
const MOMENT: Duration = Duration::from_millis(5);
/// What is written at once.
const PIECE: usize = 64 * 1024;

pub(super) async fn measure(world: &World) -> Finding {
    let mut finding = Finding::of(Row::Bodies, Vec::new());
    let floor = passing::relay(world, false).await;
    let proxy = Proxy::new(world).start().await;
    for (name, process) in [(RELAY, &floor), (PROXY, &proxy)] {
        let down = grown(process, download).await;
        let up = grown(process, upload).await;
        finding.note(format!(
            "{name}: {down:.2} MiB more for 200 MB down, {up:.2} MiB more for 200 MB up."
        ));
        if name == PROXY {
            finding.judge(Verdict::at_most("MiB more for 200 MB down", down, 2.0));
            finding.judge(Verdict::at_most("MiB more for 200 MB up", up, 2.0));
        }
    }
    finding
}

/// By how much a process grew at most meanwhile, in MiB.
async fn grown(process: &Process, transfer: impl AsyncFn(&Process)) -> f64 {
    // What every request needs once is no part of it.
    let mut line = Line::lean(process.address).await.unwrap();
    let first = Asking::get("/v1/models", Bytes::new());
    line.ask(&first.request, None).await.unwrap();
    let pid = process.pid();
    let before = memory::resident(pid);
    let counted = memory::forget_peak(pid);
    let mut most = before;
    let mut moments = tokio::time::interval(MOMENT);
    let transferred = transfer(process);
    tokio::pin!(transferred);
    loop {
        tokio::select! {
            () = &mut transferred => break,
            _ = moments.tick() => most = most.max(memory::resident(pid)),
        }
    }
    if counted {
        most = most.max(memory::peak(pid));
    }
    count(most - before) / 1024.0
}

async fn download(process: &Process) {
    let mut line = Line::to(process.address).await.unwrap();
    let asking = Asking::get(BIG, Bytes::new());
    let seen = line.ask(&asking.request, None).await.unwrap();
    assert!(seen.ok && seen.len == Some(LARGE_LEN), "{seen:?}");
}

async fn upload(process: &Process) {
    let mut line = Line::to(process.address).await.unwrap();
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/octet-stream\r\n\
         content-length: {LARGE_LEN}\r\n\r\n"
    );
    line.send(head.as_bytes()).await.unwrap();
    let (piece, mut left) = (vec![b'x'; PIECE], LARGE_LEN);
    while left > 0 {
        let len = usize::try_from(left).unwrap().min(PIECE);
        line.send(&piece[..len]).await.unwrap();
        left -= len as u64;
    }
    let seen = line.hear(None).await.unwrap();
    assert!(seen.ok, "{seen:?}");
}
