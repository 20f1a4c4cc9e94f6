//! Mirrors for tests of transparency: what came in is what goes out.

use std::io;

use bytes::Bytes;
use futures_util::stream::unfold;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TRAILER, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::World;
use super::answer::{Answer, Ask, Body, Payload};
use super::route;

/// The piece that `/v1/bytes` repeats.
const PIECE: usize = 64 * 1024;
/// Header of a request that wants its body back, frame by frame, while it sends it: `body`.
const ECHO: &str = "x-sandbox-echo";
/// Header of a request that wants the trailer [`END`] of this value at the end of its echo.
const WANT_END: &str = "x-sandbox-trailer";
/// The trailer.
const END: &str = "x-sandbox-end";

/// A request that is answered while it is read.
pub(super) struct Live {
    pub(super) incoming: Incoming,
    pub(super) upgrade: OnUpgrade,
}

/// Whether a request is one of those: an echo of its body, or of everything after an upgrade.
pub(super) fn is_live(ask: &Ask) -> bool {
    ask.path.starts_with("/v1/echo") && (ask.header(ECHO) == Some("body") || wants_upgrade(ask))
}

/// Whether a request asks to go on as something else than HTTP.
pub(super) fn wants_upgrade(ask: &Ask) -> bool {
    let connection = ask
        .header(CONNECTION.as_str())
        .unwrap_or_default()
        .to_ascii_lowercase();
    connection.split(',').any(|word| word.trim() == "upgrade") && ask.header("upgrade").is_some()
}

/// Answers a live request.
pub(super) fn live(world: &World, ask: &Ask, live: Live) -> Answer {
    if let Some(refused) = route::turned_away(world, ask) {
        return refused;
    }
    if wants_upgrade(ask) {
        let upgrade = live.upgrade;
        let stop = world.stop.clone();
        world.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = mirror(upgrade) => {}
            }
        });
        return Answer::empty(StatusCode::SWITCHING_PROTOCOLS)
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, ask.header("upgrade").unwrap_or_default());
    }
    let content_type = ask
        .header(CONTENT_TYPE.as_str())
        .unwrap_or("application/octet-stream");
    let trailer = trailer(ask);
    let mut answer = Answer::empty(StatusCode::OK).header(CONTENT_TYPE, content_type);
    if trailer.is_some() {
        // HTTP/1.1 trailers go out only when they are announced.
        answer = answer.header(TRAILER, END);
    }
    let body = StreamBody::new(echoed(live.incoming, trailer));
    answer.carrying(Payload::Live(BodyExt::boxed_unsync(body)))
}

async fn mirror(upgrade: OnUpgrade) {
    match upgrade.await {
        Ok(upgraded) => {
            let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
            // Ends when either side leaves, which is no error here.
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut writer).await;
        }
        Err(error) => tracing::debug!(%error, "sandbox upgrade failed"),
    }
}

fn trailer(ask: &Ask) -> Option<HeaderMap> {
    let value = HeaderValue::from_str(ask.header(WANT_END)?).ok()?;
    Some(HeaderMap::from_iter([(
        HeaderName::from_static(END),
        value,
    )]))
}

type Frames = Result<Frame<Bytes>, io::Error>;

fn echoed(
    incoming: Incoming,
    trailer: Option<HeaderMap>,
) -> impl futures_util::Stream<Item = Frames> + Send {
    unfold(
        (Some(incoming), trailer),
        |(incoming, mut trailer)| async move {
            let mut incoming = incoming?;
            match incoming.frame().await {
                Some(Ok(frame)) => Some((Ok(frame), (Some(incoming), trailer))),
                Some(Err(error)) => Some((Err(io::Error::other(error)), (None, None))),
                None => trailer
                    .take()
                    .map(|trailer| (Ok(Frame::trailers(trailer)), (None, None))),
            }
        },
    )
}

/// What arrived, as JSON.
pub(super) fn describe(ask: &Ask) -> Answer {
    let listed = |headers: &HeaderMap| -> Vec<Value> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers
            .iter()
            .map(|(name, value)| json!([name.as_str(), text(value)]))
            .collect()
    };
    let uri = if ask.query.is_empty() {
        ask.path.clone()
    } else {
        format!("{}?{}", ask.path, ask.query)
    };
    Answer::json(&json!({
        "method": ask.method.as_str(), "uri": uri, "headers": listed(&ask.headers), "trailers": listed(&ask.trailers),
        "body_length": ask.body.len(), "body_blake3": blake3::hash(&ask.body).to_hex().as_str(),
    }))
}

/// `n` bytes, made while they are sent. Byte `i` is `i % 251`.
pub(super) fn bytes(ask: &Ask, n: &str) -> Answer {
    let Ok(n) = n.parse::<u64>() else {
        return ask.invalid_url();
    };
    Answer::empty(StatusCode::OK)
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, n.to_string())
        .carrying(Payload::Live(counting(n)))
}

fn counting(n: u64) -> Body {
    // A whole number of periods, so that every piece starts where the one before ended.
    let piece: Bytes = (0..=250_u8).cycle().take(PIECE / 251 * 251).collect();
    let frames = unfold((piece, n), |(piece, left)| async move {
        if left == 0 {
            return None;
        }
        let take = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
        Some((
            Ok(Frame::data(piece.slice(..take))),
            (piece, left - take as u64),
        ))
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}
