//! A kept file as an answer.

use std::fmt::Write as _;
use std::fs::File;

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};

use super::range::{self, Wanted};
use crate::generation::percent_decoded;
use crate::message::{Body, body};
use crate::store::{BlobHash, Shelf, Store, StoreError};

/// The longest name that a download is given, in characters.
const LONGEST_NAME: usize = 100;

/// A kept file, and how it is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which file.
    pub hash: BlobHash,
    /// Its `Content-Type`.
    pub content_type: HeaderValue,
    /// For how long others may keep it.
    pub cache_control: &'static str,
    /// Its `Content-Disposition`, if it is not to be shown in place; see [`attachment`].
    pub disposition: Option<HeaderValue>,
}

/// Answers a GET or HEAD with a file, or with the part of it that is asked for (see
/// [`range::wanted`]). The file is read while it is sent, no faster than the client takes it.
///
/// # Errors
/// When the file is missing, damaged or cannot be read: nothing of it is sent.
pub async fn serve(
    shelf: &Shelf,
    parts: &Parts,
    shown: &Shown,
) -> Result<Response<Body>, StoreError> {
    let (file, len) = open(shelf, shown.hash).await?;
    let tag = format!("\"{}\"", shown.hash);
    let wanted = range::wanted(&parts.method, &parts.headers, &tag, len);
    let (status, sent) = match wanted {
        Wanted::Whole => (StatusCode::OK, Some((0, len))),
        Wanted::Part(from, to) => (StatusCode::PARTIAL_CONTENT, Some((from, to - from + 1))),
        Wanted::NotModified => (StatusCode::NOT_MODIFIED, None),
        Wanted::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, None),
        Wanted::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, None),
    };
    let mut response = Response::new(match sent {
        Some((from, count)) => body::from_file_part(file, from, count),
        None => body::empty(),
    });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if sent.is_some() || wanted == Wanted::NotModified {
        describe(headers, shown);
        put(headers, header::ETAG, tag);
    }
    if let Some((_, count)) = sent {
        describe_content(headers, shown, count);
    }
    match wanted {
        Wanted::Part(from, to) => {
            let part = format!("bytes {from}-{to}/{len}");
            put(headers, header::CONTENT_RANGE, part);
        }
        Wanted::Unsatisfiable => put(headers, header::CONTENT_RANGE, format!("bytes */{len}")),
        Wanted::Whole | Wanted::NotModified | Wanted::PreconditionFailed => {}
    }
    Ok(response)
}

/// The file, whose content has been checked, and its length in bytes.
async fn open(shelf: &Shelf, hash: BlobHash) -> Result<(File, u64), StoreError> {
    let opening = move |store: &dyn Store| {
        let file = store.open_blob(&hash)?;
        let metadata = file.metadata().map_err(|source| StoreError::Io {
            operation: "look at",
            path: hash.to_string().into(),
            source,
        })?;
        Ok((file, metadata.len()))
    };
    shelf.blocking(opening).await
}

/// A page that a browser makes of a file shows it, and has no origin.
const NOTHING_RUNS: &str =
    "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'";

/// What every answer about the file says.
fn describe(headers: &mut HeaderMap, shown: &Shown) {
    let fixed = HeaderValue::from_static;
    headers.insert(header::CACHE_CONTROL, fixed(shown.cache_control));
    headers.insert(header::ACCEPT_RANGES, fixed("bytes"));
    // SECURITY: bytes that somebody else has made are what we say they are, and nothing that runs.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, fixed(NOTHING_RUNS));
}

/// What an answer with content says of it.
fn describe_content(headers: &mut HeaderMap, shown: &Shown, len: u64) {
    headers.insert(header::CONTENT_TYPE, shown.content_type.clone());
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    let inline = || HeaderValue::from_static("inline");
    let disposition = shown.disposition.clone().unwrap_or_else(inline);
    headers.insert(header::CONTENT_DISPOSITION, disposition);
}

fn put(headers: &mut HeaderMap, name: header::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// The `Content-Disposition` of a download that `query` asks for by `download` or
/// `download=NAME`; `None` when it does not. Without a good name the file is called `own_name`; the
/// ending is the file's in any case.
pub fn attachment(query: Option<&str>, own_name: &str, extension: &str) -> Option<HeaderValue> {
    let asked = query?
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(name, _)| *name == "download")?;
    let spaced = asked.1.replace('+', " ");
    let decoded = percent_decoded(spaced.as_bytes());
    let name = sane(&String::from_utf8_lossy(&decoded), extension);
    let name = if name.is_empty() { own_name } else { &name };
    let plain: String = name
        .chars()
        .map(|letter| if letter.is_ascii() { letter } else { '_' })
        .collect();
    let mut value = format!("attachment; filename=\"{plain}.{extension}\"");
    if plain != name {
        // RFC 6266 §4.3, RFC 8187.
        let whole = format!("{name}.{extension}");
        let _ = write!(value, "; filename*=UTF-8''{}", percent_encoded(&whole));
    }
    HeaderValue::try_from(value).ok()
}

/// A name that is one on every system, without its ending: no folders, no control characters,
/// nothing that needs quoting.
fn sane(name: &str, extension: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = last
        .strip_suffix(extension)
        .and_then(|stem| stem.strip_suffix('.'))
        .unwrap_or(last);
    let fine: String = stem
        .chars()
        .filter(|letter| !is_awkward(*letter))
        .take(LONGEST_NAME)
        .collect();
    // Hidden files, and the dots and blanks that Windows drops.
    fine.trim_matches(['.', ' ']).to_owned()
}

fn is_awkward(letter: char) -> bool {
    // Marks that turn the direction of writing round would show `exe.mp4` for `4pm.exe`.
    let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control()
        || turns
        || matches!(
            letter,
            '"' | '\\' | '/' | ':' | '*' | '?' | '<' | '>' | '|' | '%' | ';' | '\u{fffd}'
        )
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn downloads_have_names() {
        let own = "attachment; filename=\"video-ab.mp4\"";
        let table = [
            (None, None),
            (Some(""), None),
            (Some("x=download"), None),
            (Some("downloads"), None),
            (Some("download"), Some(own)),
            (Some("download="), Some(own)),
            (Some("a=1&download&b"), Some(own)),
            (Some("download=.mp4"), Some(own)),
            (Some("download=.."), Some(own)),
            (Some("download=%00%0d%0a%22"), Some(own)),
            (
                Some("download=clip.mp4"),
                Some("attachment; filename=\"clip.mp4\""),
            ),
            (
                Some("download=clip"),
                Some("attachment; filename=\"clip.mp4\""),
            ),
            (
                Some("download=clip.exe"),
                Some("attachment; filename=\"clip.exe.mp4\""),
            ),
            (
                Some("download=My+clip%20%232"),
                Some("attachment; filename=\"My clip #2.mp4\""),
            ),
            (
                Some("download=../../etc/passwd"),
                Some("attachment; filename=\"passwd.mp4\""),
            ),
            (
                Some("download=C:%5Cx%5Cy.mp4"),
                Some("attachment; filename=\"y.mp4\""),
            ),
            (
                Some("download=a%22;b=c%0d%0aX:1"),
                Some("attachment; filename=\"ab=cX1.mp4\""),
            ),
            (
                Some("download=%E5%BD%B1 1"),
                Some("attachment; filename=\"_ 1.mp4\"; filename*=UTF-8''%E5%BD%B1%201.mp4"),
            ),
            (Some("download=%ff"), Some(own)),
        ];
        for (query, expected) in table {
            let value = attachment(query, "video-ab", "mp4");
            let value = value.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(value, expected, "{query:?}");
        }
    }

    proptest! {
        #[test]
        fn no_name_breaks_out(name in "\\PC{0,200}", bytes: Vec<u8>) {
            let encoded = bytes.iter().map(|byte| format!("%{byte:02x}"));
            for name in [name, encoded.collect()] {
                let query = format!("download={name}");
                let value = attachment(Some(&query), "own", "mp4").unwrap();
                let value = value.to_str().unwrap();
                let rest = value.strip_prefix("attachment; filename=\"").unwrap();
                let (file, rest) = rest.split_once('"').unwrap();
                prop_assert!(file.strip_suffix(".mp4").is_some() && file.len() <= LONGEST_NAME + 4, "{}", file);
                prop_assert!(rest.is_empty() || rest.starts_with("; filename*=UTF-8''"), "{}", rest);
                prop_assert!(!rest.contains('"') && rest.matches(';').count() <= 1);
            }
        }
    }
}
