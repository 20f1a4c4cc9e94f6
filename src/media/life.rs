//! Whether a link still works, asked when it has lived for longer than links do.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use super::fetch::is_alive;
use super::way::{Arrived, Astray, Way};

/// How long to wait for the head of an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a look at a link has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It leads to something.
    Alive,
    /// Its host says that it does not, or no longer.
    Dead,
    /// Nobody can tell: no answer, a host in trouble, or one that nobody goes to.
    Unknown,
}

/// Asks for one byte.
///
/// MONEY: a dead link may cost a second run, so a hiccup is no death: an unreachable host, a 5xx, 408,
/// 425 and 429 say nothing. A storage host answers 403, 404 or 410 when a signed link has expired.
/// Upstream itself refuses what it should not (403), so only its 404 and 410 count.
pub(super) async fn of(way: &Way, link: &str) -> Life {
    let mut headers = HeaderMap::new();
    let first = HeaderValue::from_static("bytes=0-0");
    headers.insert(header::RANGE, first);
    let arrived = match tokio::time::timeout(PATIENCE, way.get(link, &headers)).await {
        Ok(Ok(arrived)) => arrived,
        Ok(Err(Astray::Refused(_) | Astray::Failed(_))) | Err(_) => return Life::Unknown,
    };
    // The body is dropped unread: some send all of it.
    let Arrived { answer, own, .. } = arrived;
    match answer.status().as_u16() {
        200..=299 if is_alive(&answer) => Life::Alive,
        404 | 410 => Life::Dead,
        400..=499 if own => Life::Unknown,
        408 | 416 | 425 | 429 => Life::Unknown,
        400..=499 => Life::Dead,
        _ => Life::Unknown,
    }
}
