//! Which path is answered by whom, and who may ask.

use hyper::StatusCode;

use super::answer::{Answer, Ask};
use super::chat::{self, Turn};
use super::images::{self, Task};
use super::video::{self, Origin};
use super::{World, audio, echo, embeddings, messages, models, poll, realtime, responses, storage};

/// Whether a path is the storage's: another host in real life, so it has none of the gateway's headers.
pub(super) fn is_storage(path: &str) -> bool {
    path.starts_with("/storage/")
}

/// Answers a request that was read whole.
pub(super) async fn answer(world: &World, ask: &Ask) -> Answer {
    let parts: Vec<&str> = ask.path.split('/').skip(1).collect();
    match (ask.method.as_str(), parts.as_slice()) {
        ("GET", ["sandbox", "bill"]) => Answer::json(&world.bill().to_json()),
        ("GET", ["api", "pricing"]) => models::pricing(),
        (_, ["storage", name]) => storage::answer(world, ask, name),
        (_, ["v1", rest @ ..]) => match turned_away(world, ask) {
            None => v1(world, ask, rest).await,
            Some(refused) => refused,
        },
        _ => ask.invalid_url(),
    }
}

async fn v1(world: &World, ask: &Ask, parts: &[&str]) -> Answer {
    match (ask.method.as_str(), parts) {
        ("POST", ["video", "generations"] | ["videos"]) => {
            video::submit(world, ask, Origin::Prompt).await
        }
        ("POST", ["videos", "edits" | "extensions"]) => {
            video::submit(world, ask, Origin::Clip).await
        }
        ("POST", ["videos", id, "remix"]) => video::submit(world, ask, Origin::Remix(id)).await,
        ("GET", ["video", "generations", id]) => poll::generation(world, ask, id),
        ("GET", ["videos", id]) => poll::video(world, ask, id),
        ("GET" | "HEAD", ["videos", id, "content"]) => poll::content(world, ask, id),
        ("POST", ["embeddings"]) => embeddings::embeddings(world, ask).await,
        ("POST", ["rerank"]) => embeddings::rerank(world, ask).await,
        ("POST", ["moderations"]) => embeddings::moderations(world, ask).await,
        ("GET", ["models"]) => models::list(),
        ("GET", ["models", id]) => models::one(ask, id),
        ("POST", ["images", "variations"]) | (_, ["files", ..]) => ask.not_implemented(),
        (_, ["echo", ..]) => echo::describe(ask),
        ("GET" | "HEAD", ["bytes", n]) => echo::bytes(ask, n),
        ("POST", parts) => slow(world, ask, parts).await,
        _ => ask.invalid_url(),
    }
}

/// What takes its time: images, audio and chat. They are billed first.
async fn slow(world: &World, ask: &Ask, parts: &[&str]) -> Answer {
    let answer = match parts {
        ["images", "generations"] => images::answer(world, ask, Task::Generation).await,
        ["images", "edits"] => images::answer(world, ask, Task::Edit).await,
        ["audio", "speech"] => audio::speech(world, ask).await,
        ["audio", "transcriptions" | "translations"] => audio::transcript(world, ask).await,
        ["chat", "completions"] => spoken(world, ask, "messages", chat::chat).await,
        ["completions"] => spoken(world, ask, "prompt", chat::completion).await,
        ["responses"] => spoken(world, ask, "input", responses::responses).await,
        ["messages"] => spoken(world, ask, "messages", messages::messages).await,
        _ => ask.invalid_url(),
    };
    if answer.status.is_success() {
        tokio::time::sleep(world.options.answer_time).await;
    }
    answer
}

async fn spoken(world: &World, ask: &Ask, field: &str, dialect: fn(&Turn) -> Answer) -> Answer {
    chat::turn(world, ask, field)
        .await
        .map_or_else(|refused| refused, |turn| dialect(&turn))
}

/// The refusal of a request without a good key.
///
/// SECURITY: the refusal repeats the key that was presented. That is the point: a proxy in front must
/// not let an upstream's message show the key.
pub(super) fn turned_away(world: &World, ask: &Ask) -> Option<Answer> {
    let bearer = ask
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    let elsewhere = match ask.path.strip_prefix("/v1/").unwrap_or_default() {
        "messages" => ask.header("x-api-key"),
        "realtime" => realtime::key(ask),
        path if path.starts_with("models") => {
            let query = ask
                .query
                .split('&')
                .find_map(|pair| pair.strip_prefix("key="));
            ask.header("x-api-key")
                .or_else(|| ask.header("x-goog-api-key"))
                .or(query)
        }
        _ => None,
    };
    let message = match (bearer.or(elsewhere).map(str::trim), &world.options.key) {
        (None | Some(""), _) => "No token was provided".to_owned(),
        (Some(key), Some(good)) if key != good => format!("Invalid token: {key}"),
        (Some(_), _) => return None,
    };
    Some(ask.refuse(StatusCode::UNAUTHORIZED, "", &message))
}
