//! One free question to upstream, `GET /models`, and what its answer means for whoever set the key.

use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, Uri, header};
use serde_json::Value;

use crate::cli::admin::printable;
use crate::cli::{Failure, runtime};
use crate::config::{self, Config, Ready};
use crate::message::{body, coding};
use crate::upstream::{Reuse, SendError, SetupError, Upstream};

/// How long each step may take: somebody waits at a terminal.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest list of models that is read, in bytes.
const LARGEST: usize = 8 * 1024 * 1024;
/// The most that is repeated of what upstream says, in characters.
const QUOTED: usize = 300;

/// What came of it.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Whether the key can be used.
    pub(super) works: bool,
    /// The status of the answer, if there was one.
    pub(super) status: Option<u16>,
    /// The answer's meaning, in a line.
    pub(super) words: String,
    /// How many models there are.
    pub(super) models: Option<usize>,
    /// What else there is to say, a line each.
    pub(super) notes: Vec<String>,
}

impl Verdict {
    fn no(status: Option<StatusCode>, words: impl Into<String>) -> Self {
        Self {
            works: false,
            status: status.map(|status| status.as_u16()),
            words: words.into(),
            models: None,
            notes: Vec::new(),
        }
    }
}

/// Asks once, through everything that a paid request would go through.
pub(super) fn ask(ready: &Ready) -> Result<Verdict, Failure> {
    let config = &ready.loaded.config;
    let settings = config::Upstream {
        response_timeout: config.upstream.response_timeout.min(PATIENCE),
        idle_timeout: config.upstream.idle_timeout.min(PATIENCE),
        ..config.upstream.clone()
    };
    let upstream = Upstream::new(&settings, &ready.upstream_key).map_err(|error| match error {
        SetupError::Trust(_) | SetupError::Proxy(_) | SetupError::Key => {
            Failure::Usage(error.to_string())
        }
    })?;
    let asking = question(&upstream, config);
    let runtime = runtime()?;
    let answer = runtime.block_on(async { tokio::time::timeout(4 * PATIENCE, asking).await });
    // A look-up of a name goes on long after nobody waits for it.
    runtime.shutdown_background();
    Ok(answer.unwrap_or_else(|_| Verdict::no(None, "upstream's answer did not end in time")))
}

async fn question(upstream: &Upstream, config: &Config) -> Verdict {
    let mut request = Request::new(body::empty());
    *request.uri_mut() = Uri::from_static("/models");
    let headers = request.headers_mut();
    headers.insert(
        header::ACCEPT,
        header::HeaderValue::from_static("application/json"),
    );
    let plain = header::HeaderValue::from_static("identity");
    headers.insert(header::ACCEPT_ENCODING, plain);
    let (head, body) = match upstream.send(request, Reuse::Fresh).await {
        Ok(response) => response.into_parts(),
        Err(error) => return Verdict::no(None, no_answer(&error, config)),
    };
    match body::collect(body::boxed(body), LARGEST).await {
        Ok(body) => {
            let plain = coding::plain(&head.headers, &body, LARGEST as u64);
            judge(head.status, &head.headers, &plain.unwrap_or(body), config)
        }
        Err(error) => Verdict::no(
            Some(head.status),
            format!(
                "upstream's answer ({}) broke off: {error}",
                head.status.as_u16()
            ),
        ),
    }
}

/// Why there was no answer, and what to do about it.
fn no_answer(error: &SendError, config: &Config) -> String {
    let authority = config.upstream.base_url.authority();
    let SendError::Unreachable(reason) = error else {
        return format!("{error}; it was reached, so the network is fine: try again later");
    };
    let reason = printable(reason);
    // What a proxy says is about the proxy.
    let (who, name) = match reason.strip_prefix("the proxy ") {
        Some(rest) => {
            let proxy = rest.split(' ').next().unwrap_or_default();
            (
                format!("the proxy {proxy}"),
                "the proxy's address in the environment",
            )
        }
        None => (authority.to_string(), "upstream.base_url"),
    };
    let advice = if reason.contains("dns error") || reason.contains("lookup address") {
        format!("no address is known for {who}: is {name} spelled right, is this machine online?")
    } else if reason.contains("refused") {
        format!("nothing accepts connections at {who}: is {name} right, does it run?")
    } else if reason.contains("no connection within") || reason.contains("timed out") {
        format!("{who} does not answer: is {name} right, is there a firewall between?")
    } else if reason.contains("unreachable") {
        format!("there is no way to {who}: is this machine online?")
    } else {
        return format!("upstream cannot be reached: {reason}");
    };
    format!("{advice} ({reason})")
}

/// What an answer means.
fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8], config: &Config) -> Verdict {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let said = json.as_ref().and_then(message);
    match status.as_u16() {
        200 => listed(json.as_ref(), said.as_deref(), config),
        code @ 300..=399 => Verdict::no(Some(status), elsewhere(code, headers)),
        code => {
            let meaning = meaning(code, config);
            let words = match said {
                Some(said) => format!("{meaning}; it says: {said}"),
                None => meaning,
            };
            Verdict::no(Some(status), words)
        }
    }
}

fn elsewhere(code: u16, headers: &HeaderMap) -> String {
    let place = headers.get(header::LOCATION);
    let place = place.map(|place| quoted(&String::from_utf8_lossy(place.as_bytes())));
    let place = place.as_deref().unwrap_or("elsewhere");
    format!("upstream points to {place} ({code}): is upstream.base_url right?")
}

/// What a status means that is no list of models, and what to do.
fn meaning(code: u16, config: &Config) -> String {
    let key = match &config.upstream.api_key_file {
        Some(file) => format!("the key in {}", file.display()),
        None => format!("the key in {}", config.upstream.api_key_env),
    };
    match code {
        401 => format!("upstream does not know {key} (401): copy it again"),
        402 => format!("the account of {key} has no money left (402)"),
        403 => format!(
            "upstream knows {key} and refuses it (403): its money is spent, or it is limited to \
             other models or addresses"
        ),
        404 => {
            "there are no models below upstream.base_url (404): it mostly ends in /v1".to_owned()
        }
        407 => "a proxy on the way wants credentials (407)".to_owned(),
        429 => format!("upstream has had too many requests by {key} (429): try again later"),
        code @ 500..=599 => format!(
            "upstream has trouble of its own ({code}), which says nothing about the key: try again \
             later"
        ),
        code => format!("upstream answers {code}, which is no list of models"),
    }
}

/// A 200. The gateway also says no with one.
fn listed(json: Option<&Value>, said: Option<&str>, config: &Config) -> Verdict {
    let no = |words: String| Verdict::no(Some(StatusCode::OK), words);
    let Some(json) = json else {
        return no(
            "upstream answers 200 with something that is no JSON, such as a web page: is \
             upstream.base_url right? It mostly ends in /v1"
                .to_owned(),
        );
    };
    let refused = json.get("success") == Some(&Value::Bool(false))
        || json.get("error").is_some_and(|error| !error.is_null());
    if refused {
        let said = said.unwrap_or("nothing more");
        return no(format!(
            "upstream answers 200 and refuses all the same; it says: {said}"
        ));
    }
    let Some(models) = json.get("data").and_then(Value::as_array) else {
        return no(
            "upstream answers 200 with no list of models: is upstream.base_url right?".to_owned(),
        );
    };
    let ids = models.iter().filter_map(|model| model.get("id")?.as_str());
    let ids: Vec<&str> = ids.collect();
    let missing = config.prices.keys();
    let missing = missing.filter(|name| !ids.contains(&name.as_str()));
    let notes = missing.map(|name| {
        let name = printable(name);
        format!("[prices] has {name}, which is not among the models of this key")
    });
    let count = match models.len() {
        1 => "1 model".to_owned(),
        many => format!("{many} models"),
    };
    Verdict {
        works: true,
        status: Some(200),
        words: format!("{} takes the key: {count}", config.upstream.base_url),
        models: Some(models.len()),
        notes: notes.collect(),
    }
}

/// What upstream says in an error, where it says it.
fn message(json: &Value) -> Option<String> {
    let error = json.get("error");
    let said = error
        .and_then(|error| error.get("message"))
        .or(error)
        .and_then(Value::as_str)
        .or_else(|| json.get("message")?.as_str())?;
    Some(quoted(said)).filter(|said| !said.is_empty())
}

/// SECURITY: a stranger's words, in one short line. The key is out of them: `upstream` saw to that.
fn quoted(text: &str) -> String {
    let short: String = text.trim().chars().take(QUOTED).collect();
    printable(&short).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    fn config(env: &[(&str, &str)]) -> Config {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let home = [("HOME".to_owned(), "/nowhere".to_owned())];
        let sources = Sources {
            env: env.chain(home).collect(),
            ..Sources::default()
        };
        load(&sources).unwrap().config
    }

    #[test]
    fn every_answer_has_its_words() {
        let config = config(&[]);
        let table: [(u16, &str, bool, &str); 17] = [
            (200, r#"{"data":[{"id":"a"},{"id":"b"}]}"#, true, "2 models"),
            (
                200,
                r#"{"success":true,"data":[{"id":"a"}]}"#,
                true,
                "1 model",
            ),
            (
                200,
                r#"{"success":false,"message":"nope"}"#,
                false,
                "says: nope",
            ),
            (
                200,
                r#"{"error":{"message":"bad\nkey"},"data":[]}"#,
                false,
                "says: bad key",
            ),
            (200, r#"{"error":null,"data":[]}"#, true, "0 models"),
            (200, "{}", false, "no list"),
            (200, "<!doctype html>", false, "web page"),
            (
                401,
                r#"{"error":{"message":"Invalid token"}}"#,
                false,
                "copy it again; it says: Invalid",
            ),
            (402, "", false, "no money"),
            (403, r#"{"error":"quota"}"#, false, "money is spent"),
            (404, "<html>", false, "ends in /v1"),
            (407, "", false, "credentials"),
            (429, "", false, "too many requests"),
            (500, "", false, "says nothing about the key"),
            (503, "<html>", false, "try again later"),
            (302, "", false, "points to elsewhere"),
            (204, "", false, "answers 204"),
        ];
        for (status, body, works, words) in table {
            let status = StatusCode::from_u16(status).unwrap();
            let verdict = judge(status, &HeaderMap::new(), body.as_bytes(), &config);
            assert_eq!(verdict.works, works, "{verdict:?}");
            assert!(verdict.words.contains(words), "{verdict:?}");
            assert_eq!(verdict.status, Some(status.as_u16()));
            assert_eq!(verdict.words.lines().count(), 1, "{verdict:?}");
        }
    }

    #[test]
    fn a_reason_is_followed_by_what_to_do() {
        let config = config(&[("REPRISE_UPSTREAM", "https://api.example/v1")]);
        let table = [
            (
                "dns error: failed to lookup address information",
                "spelled right",
            ),
            (
                "tcp connect error: Connection refused (os error 111)",
                "nothing accepts",
            ),
            ("no connection within 10 s", "firewall"),
            ("tcp connect error: Network is unreachable", "online"),
            (
                "its certificate expired on 2026-01-01",
                "cannot be reached: its certificate",
            ),
            (
                "the proxy p:3128 wants credentials (407): put",
                "cannot be reached: the proxy p:3128",
            ),
            (
                "the proxy p:3128 tcp connect error: Connection refused",
                "at the proxy p:3128",
            ),
        ];
        for (reason, words) in table {
            let said = no_answer(&SendError::Unreachable(reason.to_owned()), &config);
            assert!(said.contains(words) && said.contains(reason), "{said}");
        }
        let cut = no_answer(&SendError::Cut("reset".to_owned()), &config);
        assert!(cut.contains("broke off"), "{cut}");
    }
}
