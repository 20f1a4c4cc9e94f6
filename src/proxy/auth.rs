//! Who asks: the client behind a key, and the key itself taken out of the request.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{PathAndQuery, Uri};

use super::{Error, browser};
use crate::config::Config;
use crate::generation;
use crate::message::headers;

/// Where other APIs look for a key, and their clients put it.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// The subprotocol in which browsers' WebSocket clients carry a key.
const SUBPROTOCOL: &str = "openai-insecure-api-key.";

/// Who a request is counted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// The name in `[clients]`; `local` when the proxy is open.
    pub(super) name: Arc<str>,
}

/// The keys that are let in.
pub(super) struct Keys {
    clients: Vec<(blake3::Hash, Arc<str>)>,
    /// What everybody is called where nobody is asked for a key.
    local: Arc<str>,
    /// There were keys once in this process.
    closed: bool,
}

impl Keys {
    pub(super) fn new(config: &Config) -> Self {
        let clients = config
            .clients
            .iter()
            .map(|(name, client)| (client.key_hash, name.as_str().into()))
            .collect();
        Self {
            clients,
            local: "local".into(),
            closed: false,
        }
    }

    /// Those of another configuration. SECURITY: where there were keys, their absence lets nobody
    /// in: who takes the last one out means to shut somebody out, and not to let in everybody.
    pub(super) fn renewed(&self, config: &Config) -> Self {
        Self {
            closed: !self.are_none(),
            ..Self::new(config)
        }
    }

    /// Whether nobody is asked for a key.
    pub(super) fn are_none(&self) -> bool {
        self.clients.is_empty() && !self.closed
    }

    /// Finds out who asks. With no client defined, now or before, everybody who reaches the proxy is
    /// `local`.
    pub(super) fn authenticate(&self, parts: &Parts) -> Result<Client, Error> {
        if self.are_none() {
            return Ok(Client {
                name: self.local.clone(),
            });
        }
        presented(parts)
            .iter()
            .find_map(|key| self.client(key))
            .map(|name| Client { name: name.clone() })
            .ok_or(Error::InvalidKey)
    }

    /// SECURITY: every key is compared, and a comparison of hashes takes the same time whether the
    /// first or the last byte differs.
    fn client(&self, key: &str) -> Option<&Arc<str>> {
        let hash = blake3::hash(key.as_bytes());
        let mut found = None;
        for (known, name) in &self.clients {
            if *known == hash {
                found = Some(name);
            }
        }
        found
    }
}

/// Every key that the request shows, in the order in which they count.
fn presented(parts: &Parts) -> Vec<String> {
    let of = |name| headers::text(&parts.headers, name).map(str::trim);
    let mut keys = Vec::new();
    if let Some((scheme, key)) = of(header::AUTHORIZATION).and_then(|value| value.split_once(' '))
        && scheme.eq_ignore_ascii_case("bearer")
    {
        keys.push(key.trim().to_owned());
    }
    keys.extend(
        [X_API_KEY, X_GOOG_API_KEY]
            .into_iter()
            .filter_map(of)
            .map(str::to_owned),
    );
    keys.extend(parts.uri.query().and_then(generation::key_of));
    keys.extend(
        protocols(&parts.headers)
            .find_map(|protocol| protocol.strip_prefix(SUBPROTOCOL).map(str::to_owned)),
    );
    keys
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// SECURITY: a browser sends the console's session with whatever it asks this host for, and upstream is
/// not to have it. Other cookies stay as they are.
fn strip_session(headers: &mut HeaderMap) {
    let pairs = |value: &HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
    let has_it = |value: &HeaderValue| pairs(value).split(';').any(browser::is_session);
    if !headers.get_all(header::COOKIE).iter().any(has_it) {
        return;
    }
    let sent: Vec<HeaderValue> = headers.get_all(header::COOKIE).iter().cloned().collect();
    headers.remove(header::COOKIE);
    for value in sent {
        if !has_it(&value) {
            headers.append(header::COOKIE, value);
            continue;
        }
        let text = pairs(&value);
        let left: Vec<&str> = text
            .split(';')
            .filter(|pair| !browser::is_session(pair))
            .collect();
        if let Ok(left) = HeaderValue::try_from(left.join(";").trim_start())
            && !left.is_empty()
        {
            headers.append(header::COOKIE, left);
        }
    }
}

/// Takes the client's credentials out of every place that upstream would read them from, and gives
/// back path and query below `/v1` as they are to be asked for.
///
/// # Errors
/// When what is left is no valid target, which a request that was parsed cannot bring about.
pub(super) fn strip(parts: &mut Parts) -> Result<Uri, Error> {
    for name in [header::AUTHORIZATION, X_API_KEY, X_GOOG_API_KEY] {
        parts.headers.remove(name);
    }
    strip_session(&mut parts.headers);
    if parts.headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        let left: Vec<_> = protocols(&parts.headers)
            .filter(|name| !name.starts_with(SUBPROTOCOL))
            .collect();
        let left = HeaderValue::try_from(left.join(", "));
        parts.headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
        if let Ok(left) = left
            && !left.is_empty()
        {
            parts.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, left);
        }
    }
    let path = parts.uri.path();
    let path = path
        .strip_prefix("/v1")
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    let query = match parts.uri.query() {
        // A bare question mark stays one.
        Some("") => Some("".into()),
        Some(query) => generation::without_key(query),
        None => None,
    };
    let target = match query {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    let target = target.map_err(|error| Error::BadRequest(error.to_string()))?;
    Ok(Uri::from(target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn keys(names: &[(&str, &str)]) -> Keys {
        let clients = names
            .iter()
            .map(|(name, key)| (blake3::hash(key.as_bytes()), (*name).into()))
            .collect();
        Keys {
            clients,
            local: "local".into(),
            closed: false,
        }
    }

    type Sent = &'static [(&'static str, &'static str)];

    fn parts(uri: &str, headers: Sent) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_key_is_taken_from_every_place_and_left_in_none() {
        let keys = keys(&[("alice", "sk-a"), ("bob", "sk-b")]);
        let table: [(&str, Sent, Option<&str>); 11] = [
            ("/v1/x", &[("authorization", "Bearer sk-a")], Some("alice")),
            ("/v1/x", &[("authorization", "bearer  sk-b")], Some("bob")),
            ("/v1/x", &[("x-api-key", "sk-b")], Some("bob")),
            ("/v1/x", &[("x-goog-api-key", "sk-a")], Some("alice")),
            ("/v1/x?key=sk-a&b=1", &[], Some("alice")),
            (
                "/v1/x",
                &[(
                    "sec-websocket-protocol",
                    "realtime, openai-insecure-api-key.sk-a",
                )],
                Some("alice"),
            ),
            (
                "/v1/x",
                &[("authorization", "Bearer any"), ("x-api-key", "sk-a")],
                Some("alice"),
            ),
            ("/v1/x", &[("authorization", "Basic sk-a")], None),
            ("/v1/x", &[("authorization", "Bearer sk-a ")], Some("alice")),
            ("/v1/x", &[("authorization", "Bearer sk-A")], None),
            ("/v1/x", &[], None),
        ];
        for (uri, headers, expected) in table {
            let mut parts = parts(uri, headers);
            let client = keys.authenticate(&parts).ok();
            assert_eq!(
                client.as_ref().map(|client| &*client.name),
                expected,
                "{uri} {headers:?}"
            );
            let target = strip(&mut parts).unwrap();
            let left = format!("{target} {:?}", parts.headers);
            assert!(!left.contains("sk-"), "{left}");
        }
    }

    #[test]
    fn what_is_no_credential_stays_as_it_came() {
        let mut parts = parts(
            "/v1/a%2Fb?x=%20&key=sk-a&&y=",
            &[(
                "sec-websocket-protocol",
                "realtime, openai-insecure-api-key.sk-a, v2",
            )],
        );
        assert_eq!(strip(&mut parts).unwrap().to_string(), "/a%2Fb?x=%20&&y=");
        assert_eq!(parts.headers["sec-websocket-protocol"], "realtime, v2");
    }

    #[test]
    fn without_clients_everybody_is_local() {
        let client = keys(&[]).authenticate(&parts("/v1/x", &[])).unwrap();
        assert_eq!(&*client.name, "local");
    }
}
