//! The rows of the table: what is measured, with whom, and what it has to reach.

mod bodies;
mod hits;
mod idle;
mod kept;
mod misses;
mod passing;
mod seeds;
mod start;
mod streams;
mod waiters;

use crate::contest;
use crate::figures::{Finding, Verdict};
use crate::stalls;
use crate::systems::System;
use crate::world::World;

/// No thread that serves may stand still for longer, in milliseconds.
const LONGEST_STALL: f64 = 10.0;

/// One thing that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    HitSmall,
    HitLarge,
    Pass,
    PassTls,
    Stream,
    StreamAlone,
    MissChat,
    MissImages,
    Start,
    Idle,
    Waiters,
    Bodies,
    Kept,
}

impl Row {
    pub(crate) const ALL: [Self; 13] = [
        Self::HitSmall,
        Self::HitLarge,
        Self::Pass,
        Self::PassTls,
        Self::Stream,
        Self::StreamAlone,
        Self::MissChat,
        Self::MissImages,
        Self::Start,
        Self::Idle,
        Self::Waiters,
        Self::Bodies,
        Self::Kept,
    ];

    /// What it is picked by.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::HitSmall => "hit-1k",
            Self::HitLarge => "hit-200k",
            Self::Pass => "pass-1k",
            Self::PassTls => "pass-tls",
            Self::Stream => "stream-50",
            Self::StreamAlone => "stream-alone",
            Self::MissChat => "miss-chat",
            Self::MissImages => "miss-images",
            Self::Start => "start",
            Self::Idle => "idle-connections",
            Self::Waiters => "waiters",
            Self::Bodies => "bodies",
            Self::Kept => "kept",
        }
    }

    /// What it is about, for a heading.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::HitSmall => "hit, answer of 1 KiB",
            Self::HitLarge => "hit, answer of 200 KiB",
            Self::Pass => "pass-through, 1 KiB",
            Self::PassTls => "pass-through over TLS upstream, 1 KiB",
            Self::Stream => "pass-through, event stream of 50 ready chunks",
            Self::StreamAlone => "delay of a chunk that arrives alone",
            Self::MissChat => "miss, kept durably: chat (a record)",
            Self::MissImages => "miss, kept durably: images (an intent and a record)",
            Self::Start => "start to the first answer, and idle memory",
            Self::Idle => "idle client connections",
            Self::Waiters => "joined waiters on one generation",
            Self::Bodies => "a body of 200 MB each way",
            Self::Kept => "hits, memory and start with a million generations kept",
        }
    }

    /// Whether it is measured only when asked for.
    pub(crate) const fn takes_long(self) -> bool {
        matches!(self, Self::Kept)
    }

    pub(crate) async fn measure(self, world: &World) -> Finding {
        match self {
            Self::HitSmall | Self::HitLarge => hits::measure(self, world).await,
            Self::Pass | Self::PassTls => passing::measure(self, world).await,
            Self::Stream => streams::ready(world).await,
            Self::StreamAlone => streams::alone(world).await,
            Self::MissChat | Self::MissImages => misses::measure(self, world).await,
            Self::Start => start::measure(world).await,
            Self::Idle => idle::measure(world).await,
            Self::Waiters => waiters::measure(world).await,
            Self::Bodies => bodies::measure(world).await,
            Self::Kept => kept::measure(world).await,
        }
    }
}

/// All systems in turns, then how long the proxy and the floor stand still under the same load.
async fn loaded(row: Row, systems: &[System], world: &World) -> Finding {
    let figures = contest::hold(systems, &world.options).await;
    let mut finding = Finding::of(row, figures);
    let length = world.options.turn() * 2;
    for system in systems.iter().filter(|one| watched(one.name)) {
        let stalls = stalls::under_load(system, length).await;
        let (most, p999) = (stalls.most / 1e3, stalls.p999 / 1e3);
        finding.note(format!(
            "{}: a question of its own every millisecond, beside 16 connections: p99.9 {p999:.2} ms, at most {most:.2} ms.",
            system.name
        ));
        if system.name == PROXY {
            let what = "longest wait of a small question under load, ms";
            finding.judge(Verdict::at_most(what, most, LONGEST_STALL));
        }
    }
    finding
}

/// How the proxy is called in the tables, as it is delivered and without a line for each request.
const PROXY: &str = "reprise";
const QUIET: &str = "reprise, no log";
/// How the floors are called.
const MEMORY: &str = "bare hyper";
const RELAY: &str = "minimal hyper proxy";
const KEEPING: &str = "hyper + sled, unsynced";
/// What is measured where it is installed, and what nothing stands before.
const NGINX: &str = "nginx";
const VARNISH: &str = "Varnish";
const DIRECT: &str = "upstream itself";

fn watched(name: &str) -> bool {
    matches!(name, PROXY | MEMORY | RELAY | KEEPING)
}
