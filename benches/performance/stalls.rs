//! Whether the threads that serve ever stand still: a question every millisecond on a connection of its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::asking::Asking;
use crate::line::Line;
use crate::load;
use crate::systems::System;

const BETWEEN: Duration = Duration::from_millis(1);
/// How many ask beside.
const CROWD: usize = 16;

/// How long answers to small questions took, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stalls {
    pub(crate) most: f64,
    pub(crate) p999: f64,
}

/// Under the system's own load.
pub(crate) async fn under_load(system: &System, length: Duration) -> Stalls {
    let (address, get) = (
        system.process.address,
        Asking::get("/healthz", Bytes::new()),
    );
    let sampling = tokio::task::spawn_blocking(move || sample(address, &get.request, length));
    load::run(&system.process, &system.asking, (CROWD, length)).await;
    sampling.await.unwrap()
}

/// On a thread of its own.
fn sample(address: SocketAddr, request: &[u8], length: Duration) -> Stalls {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut took = runtime.block_on(async {
        let mut line = Line::lean(address).await.unwrap();
        let mut took = Vec::new();
        let end = Instant::now() + length;
        while Instant::now() < end {
            let begun = Instant::now();
            let seen = line.ask(request, None).await.unwrap();
            assert!(seen.ok, "/healthz: {seen:?}");
            took.push(u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX));
            tokio::time::sleep(BETWEEN).await;
        }
        took
    });
    took.sort_unstable();
    Stalls {
        most: load::at(&took, 1.0),
        p999: load::at(&took, 0.999),
    }
}
