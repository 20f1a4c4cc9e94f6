//! Where a link leads: read once, by the rules that browsers read links by.

use std::fmt;
use std::net::IpAddr;

use http::header;
use http::{HeaderMap, StatusCode, Uri};
use url::{Host, Url};

use super::Refusal;

/// The longest link that is followed, in bytes. Signed ones have a few thousand.
const LONGEST: usize = 8 * 1024;

/// A link that was read and may be followed: `http` or `https`, with a host, without a user name.
///
/// SECURITY: a link may carry its own permission in its path and query, so neither is shown, by
/// `Display` or `Debug`: only the origin is.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    url: Url,
    uri: Uri,
}

impl Destination {
    /// Reads a link by the rules of the WHATWG URL standard: `http://0x7f.1/` is `http://127.0.0.1/`.
    ///
    /// # Errors
    /// Why it is not followed.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        check_length(text)?;
        Self::of(Url::parse(text).map_err(|error| Refusal::NotALink(error.to_string()))?)
    }

    fn of(mut url: Url) -> Result<Self, Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme(url.scheme().chars().take(32).collect()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        url.set_fragment(None);
        check_length(url.as_str())?;
        let uri = url.as_str().parse();
        let uri =
            uri.map_err(|error: http::uri::InvalidUri| Refusal::NotALink(error.to_string()))?;
        Ok(Self { url, uri })
    }

    /// The host, in lower case; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The last segment of the path, as it stands there; empty when there is none.
    pub fn file_name(&self) -> &str {
        self.url.path().rsplit('/').next().unwrap_or_default()
    }

    /// Path and query as they are sent; at least `/`. They may be a permission: not for a log.
    pub fn path_and_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    /// Where a redirect (301, 302, 303, 307, 308) leads; `None` when the answer is none, or does not
    /// say where to. Counting them is up to the caller.
    ///
    /// # Errors
    /// When it leads to where nobody goes, or from `https` to `http`.
    pub fn redirected(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, Refusal> {
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let Some(location) = headers.get(header::LOCATION) else {
            return Ok(None);
        };
        let location = std::str::from_utf8(location.as_bytes())
            .map_err(|error| Refusal::NotALink(error.to_string()))?;
        check_length(location)?;
        let next = self.url.join(location);
        let next = Self::of(next.map_err(|error| Refusal::NotALink(error.to_string()))?)?;
        if self.url.scheme() == "https" && next.url.scheme() == "http" {
            return Err(Refusal::Downgrade);
        }
        Ok(Some(next))
    }

    /// What a request is sent to.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The address, where the host is one and no name.
    pub(super) fn literal(&self) -> Option<IpAddr> {
        match self.url.host()? {
            Host::Ipv4(v4) => Some(v4.into()),
            Host::Ipv6(v6) => Some(v6.into()),
            Host::Domain(_) => None,
        }
    }

    /// Whether the host is a name that always means this machine (RFC 6761 §6.3).
    pub(super) fn is_localhost(&self) -> bool {
        let name = self.host().trim_end_matches('.');
        name == "localhost" || name.ends_with(".localhost")
    }
}

fn check_length(text: &str) -> Result<(), Refusal> {
    if text.len() > LONGEST {
        return Err(Refusal::NotALink(format!("longer than {LONGEST} bytes")));
    }
    Ok(())
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.url.scheme(), self.host())?;
        self.url.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn links_are_read_as_browsers_read_them() {
        let table = [
            (
                "https://cdn.example/a.mp4?sig=1#t=2",
                "https://cdn.example/a.mp4?sig=1",
            ),
            ("HTTPS://CDN.Example:443/A", "https://cdn.example/A"),
            ("http://cdn.example:8080", "http://cdn.example:8080/"),
            ("http://0x7f.1/x", "http://127.0.0.1/x"),
            ("http://[::FFFF:7f00:1]/", "http://[::ffff:7f00:1]/"),
            (
                "https://cdn.example/影片.mp4",
                "https://cdn.example/%E5%BD%B1%E7%89%87.mp4",
            ),
            (
                "https://cdn.example/a%2Fb|c?x={y}",
                "https://cdn.example/a%2Fb|c?x={y}",
            ),
            (
                "ftp://cdn.example/a",
                "the scheme `ftp` is not followed, only http and https",
            ),
            (
                "data:video/mp4;base64,AA",
                "the scheme `data` is not followed, only http and https",
            ),
            (
                "file:///etc/passwd",
                "the scheme `file` is not followed, only http and https",
            ),
            (
                "https://user@cdn.example/",
                "a link with a user name in it is not followed",
            ),
            (
                "https://:p@cdn.example/",
                "a link with a user name in it is not followed",
            ),
            ("https://", "no link that can be followed: empty host"),
            (
                "/a.mp4",
                "no link that can be followed: relative URL without a base",
            ),
            (
                "http://1.2.3.4.5/",
                "no link that can be followed: invalid IPv4 address",
            ),
        ];
        for (text, expected) in table {
            let read = match Destination::parse(text) {
                Ok(read) => read.uri().to_string(),
                Err(refusal) => refusal.to_string(),
            };
            assert_eq!(read, expected, "{text}");
        }
        let long = format!("https://cdn.example/{}", "a".repeat(LONGEST));
        assert!(Destination::parse(&long).is_err());
        // Three bytes each as they stand, nine as they are sent.
        let wide = format!("https://cdn.example/{}", "影".repeat(LONGEST / 5));
        assert!(Destination::parse(&wide).is_err());
    }

    #[test]
    fn nothing_but_the_origin_is_shown() {
        let link = Destination::parse("https://cdn.example:8443/secret/a.mp4?sig=secret").unwrap();
        assert_eq!(link.to_string(), "https://cdn.example:8443");
        assert_eq!(format!("{link:?}"), "https://cdn.example:8443");
        assert_eq!(link.file_name(), "a.mp4");
    }

    #[test]
    fn redirects() {
        let table = [
            ("https://a.example/x/y", 302, "/z", "https://a.example/z"),
            (
                "https://a.example/x/y",
                301,
                "z?q",
                "https://a.example/x/z?q",
            ),
            (
                "https://a.example/x",
                307,
                "//b.example/z",
                "https://b.example/z",
            ),
            (
                "http://a.example/x",
                308,
                "https://a.example/x",
                "https://a.example/x",
            ),
            (
                "https://a.example/x",
                303,
                "http://a.example/x",
                "a redirect from https to http is not followed",
            ),
            (
                "https://a.example/x",
                302,
                "ftp://a.example/x",
                "the scheme `ftp` is not followed, only http and https",
            ),
            (
                "https://a.example/x",
                302,
                "https://u:p@a.example/",
                "a link with a user name in it is not followed",
            ),
            ("https://a.example/x", 304, "/z", ""),
            ("https://a.example/x", 200, "/z", ""),
        ];
        for (from, status, location, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_static(location));
            let from = Destination::parse(from).unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            let led = match from.redirected(status, &headers) {
                Ok(led) => led.map(|led| led.uri().to_string()).unwrap_or_default(),
                Err(refusal) => refusal.to_string(),
            };
            assert_eq!(led, expected, "{status} {location}");
        }
        let from = Destination::parse("https://a.example/x").unwrap();
        assert_eq!(
            from.redirected(StatusCode::FOUND, &HeaderMap::new()),
            Ok(None)
        );
    }
}
