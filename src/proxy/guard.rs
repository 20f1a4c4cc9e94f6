//! Who may not even ask: framing that two servers could read differently, hosts that are not ours,
//! and web pages of other origins.

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Version};

use super::Error;
use crate::config::Config;
use crate::generation;
use crate::media::Name;
use crate::message::{Fragment, TwoLengths, headers};

/// Which hosts and origins are let in.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    listen: IpAddr,
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Guard {
    pub(super) fn new(config: &Config) -> Self {
        let mut hosts: Vec<String> = config
            .allowed_hosts
            .iter()
            .map(|host| host.to_ascii_lowercase())
            .collect();
        let public = config
            .public_url
            .as_ref()
            .and_then(|url| url.parse::<http::Uri>().ok());
        hosts.extend(public.and_then(|url| Some(url.authority()?.as_str().to_ascii_lowercase())));
        let listen: SocketAddr = config.listen;
        Self {
            listen: listen.ip(),
            hosts,
            origins: config.allowed_origins.clone(),
        }
    }

    /// Refuses what must not come further, before anything else is looked at.
    pub(super) fn check(&self, parts: &Parts) -> Result<(), Error> {
        self.check_as(parts, is_opened_link(parts))
    }

    /// The same for the console: its own page may ask, and may be come to from anywhere.
    pub(super) fn check_console(&self, parts: &Parts) -> Result<(), Error> {
        self.check_as(parts, is_same_origin(parts) || is_opened_page(parts))
    }

    fn check_as(&self, parts: &Parts, any_origin: bool) -> Result<(), Error> {
        if parts.method == Method::CONNECT || parts.method == Method::TRACE {
            return Err(Error::MethodNotAllowed(parts.method.to_string()));
        }
        check_framing(parts)?;
        check_target(parts)?;
        let host = host(parts)?;
        if !self.host_allowed(&host) {
            return Err(Error::HostNotAllowed(host));
        }
        if !any_origin {
            self.check_origin(&parts.headers)?;
        }
        check_expectation(parts)?;
        if generation::escapes_root(parts.uri.path()) {
            let message = "The path leaves /v1/ by its dot segments; write it without them.";
            return Err(Error::BadRequest(message.to_owned()));
        }
        Ok(())
    }

    /// SECURITY: a name that resolves to this machine today (DNS rebinding) is not our name.
    fn host_allowed(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = without_port(&host);
        if name == "localhost"
            || self
                .hosts
                .iter()
                .any(|allowed| *allowed == host || allowed == name)
        {
            return true;
        }
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback() || ip == self.listen)
    }

    /// SECURITY: a page in the user's browser can reach localhost; it must not spend through it.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Error> {
        if headers.contains_key(header::ORIGIN) {
            return match self.allowed_origin(headers) {
                Some(_) => Ok(()),
                None => Err(Error::OriginNotAllowed),
            };
        }
        match headers::text(headers, "sec-fetch-site") {
            Some("cross-site") => Err(Error::OriginNotAllowed),
            _ => Ok(()),
        }
    }

    /// The request's origin, when it is one of those that may call.
    pub(super) fn allowed_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let mut sent = headers.get_all(header::ORIGIN).iter();
        let origin = sent.next()?.to_str().ok()?;
        let known = self
            .origins
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(origin));
        (known && sent.next().is_none()).then_some(origin)
    }
}

/// Whether somebody has followed a link to a kept file, from wherever it stood: a chat, a mail in
/// the browser. SECURITY: the page it stood on reads nothing of it, and nothing is paid.
fn is_opened_link(parts: &Parts) -> bool {
    Name::is_meant(parts.uri.path()) && is_navigation(parts)
}

/// Whether somebody has followed a link to the console's page, which holds nothing by itself.
fn is_opened_page(parts: &Parts) -> bool {
    parts.uri.path() == "/" && is_navigation(parts)
}

fn is_navigation(parts: &Parts) -> bool {
    let said = |name, word| headers::text(&parts.headers, name) == Some(word);
    matches!(parts.method, Method::GET | Method::HEAD)
        && !parts.headers.contains_key(header::ORIGIN)
        && said("sec-fetch-mode", "navigate")
        && said("sec-fetch-dest", "document")
}

/// Whether the page that asks came from the very address that it asks.
///
/// SECURITY: another port, or another name of this machine, is another origin.
pub(super) fn is_same_origin(parts: &Parts) -> bool {
    let mut sent = parts.headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (sent.next(), sent.next()) else {
        return false;
    };
    let origin = origin.to_str().ok().and_then(|origin| {
        let bare = origin.strip_prefix("https://");
        bare.or_else(|| origin.strip_prefix("http://"))
    });
    let site = headers::text(&parts.headers, "sec-fetch-site");
    let host = host(parts).ok();
    site.is_none_or(|site| site == "same-origin")
        && origin
            .zip(host)
            .is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(&host))
}

fn check_framing(parts: &Parts) -> Result<(), Error> {
    let refuse = |message: &str| Err(Error::BadRequest(message.to_owned()));
    let count = |name| parts.headers.get_all(name).iter().count();
    let coded = count(header::TRANSFER_ENCODING);
    if parts.extensions.get::<TwoLengths>().is_some() {
        return refuse("Transfer-Encoding beside Content-Length is ambiguous; send one of them.");
    }
    let only_chunked = headers::text(&parts.headers, "transfer-encoding")
        .is_none_or(|coding| coding.trim().eq_ignore_ascii_case("chunked"));
    if coded > 1 || !only_chunked {
        return refuse("The only Transfer-Encoding understood here is one `chunked`.");
    }
    if count(header::AUTHORIZATION) > 1 {
        return refuse("Two Authorization headers are ambiguous; send one.");
    }
    Ok(())
}

/// SECURITY: what no address of the API has, and servers read differently: raw bytes beyond ASCII,
/// a NUL at whose sight some end a path, and what stands behind a `#`.
fn check_target(parts: &Parts) -> Result<(), Error> {
    let refuse = |message: &str| Err(Error::BadRequest(message.to_owned()));
    if parts.extensions.get::<Fragment>().is_some() {
        return refuse("The address has a `#`; a fragment is not sent. Write it as %23.");
    }
    let target = parts
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("The address has raw bytes that are not ASCII; percent-encode them.");
    }
    if generation::has_nul(parts.uri.path()) {
        return refuse("The path has a NUL in it.");
    }
    Ok(())
}

/// Only one expectation is known (RFC 9110 §10.1.1). The answer to it, 100, goes out when the body is
/// first asked for: nobody whose key is unknown gets one.
fn check_expectation(parts: &Parts) -> Result<(), Error> {
    let known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if parts.headers.get_all(header::EXPECT).iter().all(known) {
        Ok(())
    } else {
        Err(Error::Expectation)
    }
}

/// The one host that a request names, from `Host` or `:authority`.
pub(super) fn host(parts: &Parts) -> Result<String, Error> {
    let refuse = |message: &str| Err(Error::BadRequest(message.to_owned()));
    let mut named = parts.headers.get_all(header::HOST).iter();
    let (first, second) = (named.next(), named.next());
    if second.is_some() {
        return refuse("Two Host headers are ambiguous; send one.");
    }
    let written = match first.map(|host| host.to_str()) {
        Some(Ok(host)) => Some(host),
        Some(Err(_)) => return refuse("The Host header is not a host name."),
        None => None,
    };
    let target = parts.uri.authority().map(http::uri::Authority::as_str);
    match (written, target) {
        (None, None) => refuse("The request names no Host; HTTP needs one."),
        (None, Some(_)) if parts.version < Version::HTTP_2 => {
            refuse("The request names no Host; HTTP/1.1 needs one.")
        }
        (Some(host), Some(target)) if !host.eq_ignore_ascii_case(target) => {
            refuse("Host and the request's target name different hosts.")
        }
        (Some(host), _) | (None, Some(host)) => Ok(host.to_owned()),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => {
            // `::1` without brackets is an address, not a name with a port.
            if name.contains(':') && !name.ends_with(']') {
                host
            } else {
                name
            }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn guard() -> Guard {
        Guard {
            listen: "192.168.1.5".parse().unwrap(),
            hosts: vec!["reprise.lan".into(), "team.example:8787".into()],
            origins: vec!["https://app.example".into()],
        }
    }

    type Sent = &'static [(&'static str, &'static str)];

    fn status(headers: Sent, uri: &str) -> u16 {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        guard()
            .check(&parts)
            .map_or_else(|error| error.response().status().as_u16(), |()| 200)
    }

    #[test]
    fn hosts_and_origins() {
        let table: [(&str, Sent, u16); 19] = [
            ("localhost", &[("host", "localhost:8787")], 200),
            ("loopback", &[("host", "127.0.0.1:1")], 200),
            ("loopback v6", &[("host", "[::1]:8787")], 200),
            ("listen address", &[("host", "192.168.1.5:8787")], 200),
            ("another address", &[("host", "192.168.1.6:8787")], 421),
            ("allowed name", &[("host", "Reprise.lan:99")], 200),
            (
                "allowed name and port",
                &[("host", "team.example:8787")],
                200,
            ),
            (
                "allowed name, other port",
                &[("host", "team.example:1")],
                421,
            ),
            ("rebound name", &[("host", "attacker.example:8787")], 421),
            (
                "name that begins like ours",
                &[("host", "localhost.attacker.example")],
                421,
            ),
            ("no host", &[], 400),
            (
                "two hosts",
                &[("host", "localhost"), ("host", "localhost")],
                400,
            ),
            (
                "foreign origin",
                &[("host", "localhost"), ("origin", "https://evil.example")],
                403,
            ),
            (
                "opaque origin",
                &[("host", "localhost"), ("origin", "null")],
                403,
            ),
            (
                "allowed origin",
                &[("host", "localhost"), ("origin", "https://app.example")],
                200,
            ),
            (
                "cross-site",
                &[("host", "localhost"), ("sec-fetch-site", "cross-site")],
                403,
            ),
            (
                "same origin",
                &[("host", "localhost"), ("sec-fetch-site", "same-origin")],
                200,
            ),
            (
                "odd coding",
                &[
                    ("host", "localhost"),
                    ("transfer-encoding", "gzip, chunked"),
                ],
                400,
            ),
            (
                "two keys",
                &[
                    ("host", "localhost"),
                    ("authorization", "a"),
                    ("authorization", "b"),
                ],
                400,
            ),
        ];
        for (name, headers, expected) in table {
            assert_eq!(status(headers, "/v1/models"), expected, "{name}");
        }
    }

    #[test]
    fn what_the_connection_found_ambiguous_is_refused() {
        let request = Request::builder().header("host", "localhost");
        let mut parts = request.body(()).unwrap().into_parts().0;
        assert!(guard().check(&parts).is_ok());
        parts.extensions.insert(TwoLengths);
        let refused = guard().check(&parts).unwrap_err();
        assert_eq!(refused.response().status(), 400);
    }

    #[test]
    fn a_link_to_a_kept_file_may_be_followed_from_anywhere() {
        const FOLLOWED: Sent = &[
            ("host", "localhost"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert_eq!(status(FOLLOWED, "/media/a.mp4"), 200);
        assert_eq!(status(FOLLOWED, "/v1/models"), 403);
        for (left_out, put_in) in [
            (2, ("sec-fetch-mode", "no-cors")),
            (3, ("sec-fetch-dest", "video")),
            (3, ("sec-fetch-dest", "iframe")),
            (1, ("origin", "https://evil.example")),
        ] {
            let mut sent = FOLLOWED.to_vec();
            sent[left_out] = put_in;
            let status = status(sent.leak(), "/media/a.mp4");
            assert_eq!(status, 403, "{put_in:?}");
        }
        assert_eq!(status(&[("host", "attacker.example")], "/media/a.mp4"), 421);
    }

    #[test]
    fn a_target_names_the_same_host_and_stays_below_v1() {
        let host = &[("host", "localhost")];
        assert_eq!(status(host, "http://localhost/v1/models"), 200);
        assert_eq!(status(host, "http://other/v1/models"), 400);
        assert_eq!(status(&[], "http://localhost/v1/models"), 400);
        assert_eq!(status(host, "/v1/../admin"), 400);
        assert_eq!(status(host, "/v1/%2e%2e/admin"), 400);
    }
}
