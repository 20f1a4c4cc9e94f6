//! `/metrics`: for whoever is on this machine, and from elsewhere for who has the admin token.
//!
//! SECURITY: a reverse proxy on this machine brings everybody's requests, so one that says it was
//! forwarded is not from this machine. And a web page reads nothing: its origin is refused as
//! everywhere, a host that only resolves to this machine too, and one of another port of this
//! machine by the word of its browser.

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Request, Response};

use crate::console::Console;
use crate::message::{Body, Peer, body, headers};
use crate::metrics::{Form, Page};
use crate::proxy::{Error, Proxy, Told};

/// What reverse proxies add.
const FORWARDED: [&str; 7] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "cf-connecting-ip",
];

/// Answers a request for the figures.
pub(super) async fn answer(
    page: &Page,
    proxy: &Proxy,
    console: Option<&Console>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let admitted = match proxy.check(&parts) {
        Ok(()) => admit(&parts, console).await,
        Err(error) => Err(error),
    };
    let error = match admitted {
        Ok(()) => return shown(page, &parts.headers),
        Err(error) => error,
    };
    Told::of(&parts.extensions).refused(error.code());
    error.response()
}

async fn admit(parts: &Parts, console: Option<&Console>) -> Result<(), Error> {
    if is_from_here(parts) {
        return Ok(());
    }
    match console {
        Some(console) => console.admits(parts).await,
        None => Err(Error::MetricsNotAllowed),
    }
}

/// Whether somebody on this machine asks, and neither for somebody else nor as a web page.
fn is_from_here(parts: &Parts) -> bool {
    let peer = parts.extensions.get::<Peer>();
    let loopback = peer.is_some_and(|peer| peer.from.ip().to_canonical().is_loopback());
    let forwarded = FORWARDED
        .iter()
        .any(|name| parts.headers.contains_key(*name));
    let site = headers::text(&parts.headers, headers::SEC_FETCH_SITE);
    let by_hand = site.is_none_or(|site| matches!(site, "none" | "same-origin"));
    loopback && !forwarded && by_hand
}

fn shown(page: &Page, asked: &HeaderMap) -> Response<Body> {
    let form = wanted(asked);
    let mut response = Response::new(body::full(page.write(form)));
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(form.content_type());
    headers.insert(header::CONTENT_TYPE, content_type);
    let never = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, never);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// `OpenMetrics` for who wants it at least as much as the older text (RFC 9110 §12.5.1).
fn wanted(headers: &HeaderMap) -> Form {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let accepted: Vec<&str> = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let weight = |wanted: &str| {
        let weights = accepted.iter().filter_map(|one| weight_of(one, wanted));
        weights.fold(None, |most: Option<f32>, one| {
            Some(most.map_or(one, |most| most.max(one)))
        })
    };
    match weight("application/openmetrics-text") {
        Some(open) if open > 0.0 && open >= weight("text/plain").unwrap_or(0.0) => {
            Form::OpenMetrics
        }
        Some(_) | None => Form::Plain,
    }
}

/// How much a media type of `Accept` is wanted, if it is `wanted`.
fn weight_of(one: &str, wanted: &str) -> Option<f32> {
    let mut words = one.split(';').map(str::trim);
    if !words.next()?.eq_ignore_ascii_case(wanted) {
        return None;
    }
    let weight = words.find_map(|word| word.strip_prefix("q="));
    Some(weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(from: &str, sent: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/metrics");
        for (name, value) in sent {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let peer = Peer {
            from: from.parse().unwrap(),
            to: "127.0.0.1:8787".parse().unwrap(),
        };
        parts.extensions.insert(peer);
        parts
    }

    #[test]
    fn who_is_from_here() {
        for (from, sent, expected) in [
            ("127.0.0.1:1", &[][..], true),
            ("[::1]:1", &[], true),
            ("[::ffff:127.0.0.1]:1", &[], true),
            ("192.168.1.7:1", &[], false),
            ("[2001:db8::1]:1", &[], false),
            ("127.0.0.1:1", &[("x-forwarded-for", "127.0.0.1")], false),
            ("127.0.0.1:1", &[("forwarded", "for=127.0.0.1")], false),
            ("127.0.0.1:1", &[("via", "1.1 nginx")], false),
            ("127.0.0.1:1", &[("sec-fetch-site", "none")], true),
            ("127.0.0.1:1", &[("sec-fetch-site", "same-site")], false),
        ] {
            assert_eq!(
                is_from_here(&parts(from, sent)),
                expected,
                "{from} {sent:?}"
            );
        }
    }

    #[test]
    fn the_form_is_the_one_that_is_wanted() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,\
                          text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, form) in [
            (prometheus, Form::OpenMetrics),
            ("application/openmetrics-text", Form::OpenMetrics),
            ("application/openmetrics-text; q=0, text/plain", Form::Plain),
            (
                "application/openmetrics-text;q=0.2, text/plain;q=0.3",
                Form::Plain,
            ),
            ("text/plain", Form::Plain),
            ("*/*", Form::Plain),
            ("", Form::Plain),
        ] {
            let parts = parts("127.0.0.1:1", &[("accept", accept)]);
            assert_eq!(wanted(&parts.headers), form, "{accept}");
        }
    }
}
