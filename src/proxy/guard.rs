//! Who may not even ask: framing that two servers could read differently, hosts that are not ours,
//! and web pages of other origins.

use std::net::{IpAddr, SocketAddr};

use http::Method;
use http::header::{self, HeaderMap};
use http::request::Parts;

use super::{Error, browser, framing};
use crate::config::Config;
use crate::generation;
use crate::media::Name;
use crate::message::headers;

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
        if Name::is_meant(parts.uri.path()) {
            return self.check_as(parts, browser::is_navigation(parts));
        }
        self.check_as(parts, false)
    }

    /// The same for the console: its own page may ask, and may be come to from anywhere.
    pub(super) fn check_console(&self, parts: &Parts) -> Result<(), Error> {
        // Its page holds nothing by itself.
        let is_opened = parts.uri.path() == "/" && browser::is_navigation(parts);
        self.check_as(parts, is_opened || browser::is_same_origin(parts))
    }

    fn check_as(&self, parts: &Parts, any_origin: bool) -> Result<(), Error> {
        if parts.method == Method::CONNECT || parts.method == Method::TRACE {
            return Err(Error::MethodNotAllowed(parts.method.to_string()));
        }
        framing::check(parts)?;
        framing::check_target(parts)?;
        let host = framing::host(parts)?;
        if !self.host_allowed(host) {
            return Err(Error::HostNotAllowed(host.to_owned()));
        }
        if !any_origin {
            self.check_origin(&parts.headers)?;
        }
        framing::check_expectation(parts)?;
        if generation::escapes_root(parts.uri.path()) {
            let message = "The path leaves /v1/ by its dot segments; write it without them.";
            return Err(Error::BadRequest(message.to_owned()));
        }
        Ok(())
    }

    /// SECURITY: a name that resolves to this machine today (DNS rebinding) is not our name.
    fn host_allowed(&self, host: &str) -> bool {
        let name = without_port(host);
        let is = |allowed: &str| {
            allowed.eq_ignore_ascii_case(host) || allowed.eq_ignore_ascii_case(name)
        };
        if name.eq_ignore_ascii_case("localhost") || self.hosts.iter().any(|allowed| is(allowed)) {
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
        match headers::text(headers, headers::SEC_FETCH_SITE) {
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
    use crate::message::TwoLengths;
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
