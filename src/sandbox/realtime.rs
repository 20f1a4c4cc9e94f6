//! `GET /v1/realtime`: a WebSocket (RFC 6455) that says everything back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::{Answer, Ask};
use super::frames::{self, Close, Said, Talk};
use super::{World, echo, route};

/// What a browser, which cannot set `Authorization`, puts before its key (OpenAI).
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";
/// The only version that there is (§4.1).
const VERSION: &str = "13";
/// What a server shows that it understood (§1.3).
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether a request is for this.
pub(super) fn is_asked(ask: &Ask) -> bool {
    ask.path == "/v1/realtime"
}

/// The key among the subprotocols.
pub(super) fn key(ask: &Ask) -> Option<&str> {
    protocols(ask).find_map(|protocol| protocol.strip_prefix(KEY_PROTOCOL))
}

/// The subprotocols that are offered, in their order.
fn protocols(ask: &Ask) -> impl Iterator<Item = &str> {
    let lines = ask.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

/// Answers with 101 and goes on as a WebSocket, or says what is wrong with the handshake.
pub(super) fn answer(world: &World, ask: &Ask, upgrade: OnUpgrade) -> Answer {
    if let Some(refused) = route::turned_away(world, ask) {
        return refused;
    }
    let websocket = ask
        .header(UPGRADE.as_str())
        .is_some_and(|word| word.eq_ignore_ascii_case("websocket"));
    if !(websocket && echo::wants_upgrade(ask))
        || ask.header(SEC_WEBSOCKET_VERSION.as_str()) != Some(VERSION)
    {
        let message = "this is a WebSocket of version 13";
        return ask
            .refuse(StatusCode::UPGRADE_REQUIRED, "invalid_request", message)
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, VERSION);
    }
    let Some(accept) = ask.header(SEC_WEBSOCKET_KEY.as_str()).and_then(accepted) else {
        let message = "Sec-WebSocket-Key is not the base64 of 16 bytes";
        return ask.refuse(StatusCode::BAD_REQUEST, "invalid_request", message);
    };
    let stop = world.stop.clone();
    world.tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = serve(upgrade) => {}
        }
    });
    let answer = Answer::empty(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept);
    let mut offered = protocols(ask).filter(|protocol| !protocol.starts_with(KEY_PROTOCOL));
    match offered.next().filter(|protocol| is_value(protocol)) {
        Some(chosen) => answer.header(SEC_WEBSOCKET_PROTOCOL, chosen),
        None => answer,
    }
}

fn is_value(text: &str) -> bool {
    !text.is_empty() && HeaderValue::from_str(text).is_ok()
}

/// `Sec-WebSocket-Accept` for this `Sec-WebSocket-Key` (§4.2.2); `None` when it is none.
fn accepted(key: &str) -> Option<String> {
    let nonce = STANDARD.decode(key.trim()).ok()?;
    let text = format!("{}{MAGIC}", key.trim());
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    (nonce.len() == 16).then(|| STANDARD.encode(hash))
}

async fn serve(upgrade: OnUpgrade) {
    let ended = match upgrade.await {
        Ok(upgraded) => converse(TokioIo::new(upgraded)).await,
        Err(error) => Err(std::io::Error::other(error)),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "sandbox WebSocket ended");
    }
}

/// Says every message back until one side closes.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> std::io::Result<()> {
    let mut talk = Talk::new(stream);
    loop {
        let close = match talk.hear().await? {
            Ok(Said::Message { opcode, payload }) => {
                talk.say(opcode, &payload).await?;
                continue;
            }
            Ok(Said::Ping(payload)) => {
                talk.say(frames::PONG, &payload).await?;
                continue;
            }
            Ok(Said::Pong) => continue,
            Ok(Said::Close(close)) => close,
            Err(problem) => Close::with(problem),
        };
        return talk.close(&close).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_of_the_standard() {
        let accept = accepted("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for bad in ["", "dGhl", "not base64 at all!", "dGhlIHNhbXBsZSBub25jZTE="] {
            assert_eq!(accepted(bad), None, "{bad}");
        }
    }
}
