//! Which path is answered by whom, and who may ask.

use hyper::StatusCode;

use super::World;
use super::answer::{Answer, Ask};
use super::echo;

/// Whether a path is the storage's: another host in real life, so it has none of the gateway's headers.
pub(super) fn is_storage(path: &str) -> bool {
    path.starts_with("/storage/")
}

/// Answers a request that was read whole.
pub(super) async fn answer(world: &World, ask: &Ask) -> Answer {
    let parts: Vec<&str> = ask.path.split('/').skip(1).collect();
    match (ask.method.as_str(), parts.as_slice()) {
        ("GET", ["sandbox", "bill"]) => Answer::json(&world.bill().to_json()),
        (_, ["v1", rest @ ..]) => match authenticate(world, ask) {
            Ok(()) => v1(world, ask, rest).await,
            Err(refused) => refused,
        },
        _ => ask.invalid_url(),
    }
}

async fn v1(world: &World, ask: &Ask, parts: &[&str]) -> Answer {
    let _ = world;
    match (ask.method.as_str(), parts) {
        (_, ["echo", ..]) => echo::describe(ask),
        ("GET", ["bytes", n]) => echo::bytes(ask, n),
        _ => ask.invalid_url(),
    }
}

/// Lets a request with a good key through.
///
/// SECURITY: the refusal repeats the key that was presented. That is the point: a proxy in front must
/// not let an upstream's message show the key.
pub(super) fn authenticate(world: &World, ask: &Ask) -> Result<(), Answer> {
    let bearer = ask
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    let elsewhere = match ask.path.strip_prefix("/v1/").unwrap_or_default() {
        "messages" => ask.header("x-api-key"),
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
    match (bearer.or(elsewhere).map(str::trim), &world.options.key) {
        (None | Some(""), _) => {
            Err(ask.refuse(StatusCode::UNAUTHORIZED, "", "No token was provided"))
        }
        (Some(key), Some(good)) if key != good => {
            let message = format!("Invalid token: {key}");
            Err(ask.refuse(StatusCode::UNAUTHORIZED, "", &message))
        }
        (Some(_), _) => Ok(()),
    }
}
