//! Addresses as a configuration writes them: where to listen, the upstream, hosts, origins.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use http::uri::{Authority, InvalidUri, Scheme, Uri};

/// An `http` or `https` address that paths are put behind: no credentials, no query, no fragment,
/// no slash at its end.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    path: String,
}

impl BaseUrl {
    /// Reads `https://host[:port][/prefix]`.
    ///
    /// # Errors
    /// The rule that was broken, as words.
    pub fn parse(text: &str) -> Result<Self, String> {
        const RULE: &str = "must be an address such as \"https://relaydance.com/v1\"";
        let uri: Uri = text.parse().map_err(|_| RULE.to_owned())?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(format!("{RULE}, with http:// or https:// before it"));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(format!("{RULE}, with http:// or https:// before it"));
        }
        if authority.as_str().contains('@') {
            return Err("must hold no user name and no password".to_owned());
        }
        if authority.host().is_empty() || !port_is_sound(&authority) {
            return Err(RULE.to_owned());
        }
        // `Uri` drops a fragment without a word.
        if text.contains(['?', '#']) {
            return Err("must hold no query and no fragment".to_owned());
        }
        let path = parts.path_and_query.as_ref().map_or("", |path| path.path());
        Ok(Self {
            scheme,
            authority,
            path: path.trim_end_matches('/').to_owned(),
        })
    }

    /// The upstream unless another one is named.
    pub(super) fn relaydance() -> Self {
        Self {
            scheme: Scheme::HTTPS,
            authority: Authority::from_static("relaydance.com"),
            path: "/v1".to_owned(),
        }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The host, and the port if one was written.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What stands before every path: empty, or with a slash at its start and none at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The port that is connected to.
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(self.usual_port())
    }

    /// Whether the port is the one that its scheme has by itself.
    pub fn has_usual_port(&self) -> bool {
        self.port() == self.usual_port()
    }

    fn usual_port(&self) -> u16 {
        if self.scheme == Scheme::HTTPS {
            443
        } else {
            80
        }
    }

    /// This address with `rest` behind it, byte for byte; `rest` is empty, or starts with `/` or
    /// `?`.
    ///
    /// # Errors
    /// If the sum is no valid address (a byte that may not stand in one, more than 65,534 bytes).
    pub fn with(&self, rest: &str) -> Result<Uri, InvalidUri> {
        Uri::try_from(format!("{self}{rest}"))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where to listen: an IP address and a port, or `localhost:PORT`.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    const RULE: &str = "must be an IP address and a port";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("{RULE}, such as \"127.0.0.1:8787\""));
    };
    let Ok(port) = port.parse::<u16>() else {
        return Err(format!(
            "{RULE} from 0 to 65535, such as \"127.0.0.1:8787\""
        ));
    };
    if host.eq_ignore_ascii_case("localhost") {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    if host.is_empty() {
        return Err(format!("{RULE}: write \"127.0.0.1:{port}\""));
    }
    Err(format!(
        "{RULE}, not a host name: write \"127.0.0.1:{port}\""
    ))
}

/// A further `Host` that is served: `host` or `host:port`, in lower case.
pub(super) fn host(text: &str) -> Result<String, String> {
    const RULE: &str = "must be a host or host:port, such as \"reprise.lan\" or \"10.0.0.5:8787\"";
    if text.contains("://") || text.contains('/') {
        return Err(format!("{RULE}, without scheme and path"));
    }
    let authority: Authority = text.parse().map_err(|_| RULE.to_owned())?;
    let host = authority.host();
    let named = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let literal = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || !(named || literal) || text.contains('@') || !port_is_sound(&authority) {
        return Err(format!("{RULE}; no wild cards"));
    }
    Ok(text.to_ascii_lowercase())
}

/// A browser origin, as a browser writes it in `Origin` (RFC 6454 §6.2).
///
/// A usual port is taken out: no browser sends it, so it would never match.
pub(super) fn origin(text: &str) -> Result<String, String> {
    const RULE: &str = "must be an origin such as \"https://app.example.com\"";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("{RULE}; no wild cards, no \"null\""));
    };
    let mut letters = scheme.bytes();
    let sound = letters.next().is_some_and(|b| b.is_ascii_alphabetic())
        && letters.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !sound {
        return Err(RULE.to_owned());
    }
    if rest.contains(['/', '?', '#', '@']) {
        return Err(format!(
            "{RULE}: scheme, host and port alone, no slash at its end"
        ));
    }
    let rest = host(rest).map_err(|_| format!("{RULE}; no wild cards, no \"null\""))?;
    let scheme = scheme.to_ascii_lowercase();
    let usual = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    Ok(format!(
        "{scheme}://{}",
        rest.strip_suffix(usual).unwrap_or(&rest)
    ))
}

/// Whether the port, if there is one, is a number that a port can be.
fn port_is_sound(authority: &Authority) -> bool {
    let behind_host = authority.as_str().rsplit('@').next().unwrap_or_default();
    behind_host.len() == authority.host().len() || authority.port_u16().is_some_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_read() {
        let table = [
            (
                "https://relaydance.com/v1",
                Some("https://relaydance.com/v1"),
            ),
            (
                "https://relaydance.com/v1/",
                Some("https://relaydance.com/v1"),
            ),
            ("https://relaydance.com/", Some("https://relaydance.com")),
            ("https://relaydance.com", Some("https://relaydance.com")),
            ("http://127.0.0.1:9797/v1", Some("http://127.0.0.1:9797/v1")),
            ("http://[::1]:9797/a/b//", Some("http://[::1]:9797/a/b")),
            (
                "HTTPS://Relaydance.com/v1",
                Some("https://Relaydance.com/v1"),
            ),
            ("relaydance.com/v1", None),
            ("relaydance.com", None),
            ("/v1", None),
            ("ftp://relaydance.com/v1", None),
            ("https:///v1", None),
            ("https://:443/v1", None),
            ("https://me:secret@relaydance.com/v1", None),
            ("https://relaydance.com/v1?key=secret", None),
            ("https://relaydance.com/v1#here", None),
            ("https://relaydance.com:99999/v1", None),
            ("https://relaydance.com:/v1", None),
            ("https://relay dance.com/v1", None),
            ("", None),
        ];
        for (text, expected) in table {
            let read = BaseUrl::parse(text);
            assert_eq!(
                read.clone().ok().map(|u| u.to_string()).as_deref(),
                expected,
                "{text}"
            );
            if let Err(rule) = read {
                assert!(!rule.contains("secret"), "{rule}");
            }
        }
        assert_eq!(
            BaseUrl::parse("https://relaydance.com/v1/"),
            Ok(BaseUrl::relaydance())
        );
    }

    #[test]
    fn a_rest_is_put_behind_unchanged() {
        let base = BaseUrl::parse("https://relaydance.com/v1").unwrap();
        let uri = base.with("/models/a%2Fb?x=1&x=%20").unwrap();
        assert_eq!(
            uri.to_string(),
            "https://relaydance.com/v1/models/a%2Fb?x=1&x=%20"
        );
        assert_eq!(base.port(), 443);
        assert!(base.with("/a b").is_err());
    }

    #[test]
    fn listen_addresses_are_read() {
        let table = [
            ("127.0.0.1:8787", Some("127.0.0.1:8787")),
            ("0.0.0.0:0", Some("0.0.0.0:0")),
            ("[::1]:8787", Some("[::1]:8787")),
            ("localhost:8787", Some("127.0.0.1:8787")),
            ("LocalHost:1", Some("127.0.0.1:1")),
            (":8787", None),
            ("8787", None),
            ("127.0.0.1", None),
            ("example.com:80", None),
            ("127.0.0.1:65536", None),
            ("", None),
        ];
        for (text, expected) in table {
            let read = listen(text).ok().map(|a| a.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
        assert!(
            listen(":8787")
                .unwrap_err()
                .contains("write \"127.0.0.1:8787\"")
        );
    }

    #[test]
    fn hosts_and_origins_are_read() {
        let hosts = [
            ("reprise.lan", Some("reprise.lan")),
            ("Reprise.LAN:8787", Some("reprise.lan:8787")),
            ("10.0.0.5:8787", Some("10.0.0.5:8787")),
            ("[::1]:8787", Some("[::1]:8787")),
            ("*", None),
            ("*.lan", None),
            ("http://reprise.lan", None),
            ("reprise.lan/", None),
            ("me@reprise.lan", None),
            ("reprise.lan:", None),
            ("reprise.lan:x", None),
            ("", None),
        ];
        for (text, expected) in hosts {
            assert_eq!(host(text).ok().as_deref(), expected, "{text}");
        }
        let origins = [
            ("https://app.example.com", Some("https://app.example.com")),
            (
                "HTTPS://App.example.com:443",
                Some("https://app.example.com"),
            ),
            ("http://localhost:80", Some("http://localhost")),
            ("http://localhost:3000", Some("http://localhost:3000")),
            (
                "chrome-extension://abcdef",
                Some("chrome-extension://abcdef"),
            ),
            ("https://app.example.com/", None),
            ("https://me@app.example.com", None),
            ("https://*.example.com", None),
            ("app.example.com", None),
            ("://x", None),
            ("null", None),
            ("*", None),
        ];
        for (text, expected) in origins {
            assert_eq!(origin(text).ok().as_deref(), expected, "{text}");
        }
    }
}
