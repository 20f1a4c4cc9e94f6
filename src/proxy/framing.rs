//! How a request is framed and addressed: refused is what two servers could read differently.

use http::Version;
use http::header::{self, HeaderValue};
use http::request::Parts;

use super::Error;
use crate::generation;
use crate::message::{Fragment, TwoLengths};

/// Refuses two ways of saying where the body ends, and two keys.
pub(super) fn check(parts: &Parts) -> Result<(), Error> {
    let refuse = |message: &str| Err(Error::BadRequest(message.to_owned()));
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    let (coding, another) = (codings.next(), codings.next());
    if parts.extensions.get::<TwoLengths>().is_some() {
        return refuse("Transfer-Encoding beside Content-Length is ambiguous; send one of them.");
    }
    let only_chunked = coding
        .and_then(|coding| coding.to_str().ok())
        .is_none_or(|coding| coding.trim().eq_ignore_ascii_case("chunked"));
    if another.is_some() || !only_chunked {
        return refuse("The only Transfer-Encoding understood here is one `chunked`.");
    }
    let keys = parts.headers.get_all(header::AUTHORIZATION);
    if keys.iter().nth(1).is_some() {
        return refuse("Two Authorization headers are ambiguous; send one.");
    }
    Ok(())
}

/// SECURITY: what no address of the API has, and servers read differently: raw bytes beyond ASCII,
/// a NUL at whose sight some end a path, and what stands behind a `#`.
pub(super) fn check_target(parts: &Parts) -> Result<(), Error> {
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
pub(super) fn check_expectation(parts: &Parts) -> Result<(), Error> {
    let known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if parts.headers.get_all(header::EXPECT).iter().all(known) {
        Ok(())
    } else {
        Err(Error::Expectation)
    }
}

/// The one host that a request names, from `Host` or `:authority`.
pub(super) fn host(parts: &Parts) -> Result<&str, Error> {
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
        (Some(host), _) | (None, Some(host)) => Ok(host),
    }
}
