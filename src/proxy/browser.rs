//! What a request says of the browser that sends it (Fetch Metadata, W3C).
//!
//! Browsers tell it to this machine and over TLS, and no page can change what they tell.

use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;

use super::framing::host;
use crate::message::headers;

/// Where a browser would make a page of the answer, with scripts that run.
const PAGES: [&str; 6] = [
    "document",
    "iframe",
    "frame",
    "fencedframe",
    "embed",
    "object",
];

/// The console's session.
pub(crate) const SESSION: &str = "reprise_session";
/// The same over TLS. Browsers take it only over TLS, from this host, for all its paths (RFC 6265bis
/// §4.1.3.2).
pub(crate) const SECURE_SESSION: &str = "__Host-reprise_session";

/// Whether somebody has followed a link, from wherever it stood: a chat, a mail in the browser. SECURITY:
/// the page it stood on reads nothing of the answer.
pub(super) fn is_navigation(parts: &Parts) -> bool {
    let said = |name, word| headers::text(&parts.headers, name) == Some(word);
    matches!(parts.method, Method::GET | Method::HEAD)
        && !parts.headers.contains_key(header::ORIGIN)
        && said(headers::SEC_FETCH_MODE, "navigate")
        && said(headers::SEC_FETCH_DEST, "document")
}

/// Has a page that a browser makes of an answer be one of no origin, with no scripts. SECURITY: upstream's
/// would be one of the console's otherwise, and ask with its session.
pub(super) fn confine(answer: &mut HeaderMap) {
    // Beside what upstream says itself: a browser heeds all of them.
    answer.append(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox"),
    );
    let as_it_says = HeaderValue::from_static("nosniff");
    answer.insert(header::X_CONTENT_TYPE_OPTIONS, as_it_says);
}

/// Whether a browser would show the answer as a page of this origin, or may.
///
/// Over plain HTTP from another machine browsers do not say what they want an answer for. But they have
/// asked for a page before they can ask for anything with the console's session, or say that they would
/// rather have it over TLS, which they say of pages alone.
pub(super) fn is_document(asked: &HeaderMap) -> bool {
    let said = |name| headers::text(asked, name);
    match (said(headers::SEC_FETCH_DEST), said(headers::SEC_FETCH_MODE)) {
        (_, Some("navigate")) => true,
        (Some(wanted), _) => PAGES.contains(&wanted),
        (None, _) => asked.contains_key(header::UPGRADE_INSECURE_REQUESTS) || has_session(asked),
    }
}

fn has_session(asked: &HeaderMap) -> bool {
    let sent = asked.get_all(header::COOKIE).iter();
    sent.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .any(is_session)
}

/// Whether a pair of a `Cookie` header is the console's session.
pub(super) fn is_session(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default().trim();
    [SESSION, SECURE_SESSION].contains(&name)
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
    let site = headers::text(&parts.headers, headers::SEC_FETCH_SITE);
    let host = host(parts).ok();
    site.is_none_or(|site| site == "same-origin")
        && origin
            .zip(host)
            .is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_makes_a_page_of() {
        let own = ("cookie", "a=b; reprise_session=1");
        let dest = |dest| vec![("sec-fetch-site", "none"), ("sec-fetch-dest", dest)];
        for (sent, expected) in [
            (dest("document"), true),
            (dest("iframe"), true),
            (dest("frame"), true),
            (dest("fencedframe"), true),
            (dest("embed"), true),
            (dest("object"), true),
            (dest("empty"), false),
            (dest("image"), false),
            (dest("video"), false),
            (dest("audio"), false),
            (vec![("sec-fetch-mode", "navigate")], true),
            // A browser that says nothing of it, over plain HTTP in a network.
            (vec![("upgrade-insecure-requests", "1")], true),
            (vec![own], true),
            (vec![("cookie", "__Host-reprise_session=1")], true),
            (vec![own, ("sec-fetch-dest", "empty")], false),
            (vec![("cookie", "a=b; my_reprise_session=1")], false),
            (vec![("accept", "text/html")], false),
        ] {
            let mut asked = HeaderMap::new();
            for (name, value) in &sent {
                asked.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(is_document(&asked), expected, "{sent:?}");
        }
    }
}
