//! What hyper refuses by itself, said so that a client understands it.
//!
//! A head that hyper cannot read never becomes a request: hyper answers it with an empty 400, 414 or
//! 431 and closes. Such an answer is recognised on its way to the socket, and the error envelope
//! that clients know goes there instead.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use http::{Request, Version};
use http_body_util::BodyExt;

use super::framing::Framing;
use crate::metrics::Metrics;
use crate::proxy::{self, Error};

/// The status of an answer that hyper made up, if `bytes` are one. To be asked only where no answer
/// of ours can be under way: the body of one might look the same.
pub(super) fn of_hyper(bytes: &[u8]) -> Option<u16> {
    let text = str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let (first, fields) = text.split_once("\r\n")?;
    let status = first.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let plain = fields.split("\r\n").all(|field| {
        let (name, value) = field.split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "connection" | "date" => true,
            "content-length" => value == "0",
            _ => false,
        }
    });
    (plain && matches!(status, 400 | 414 | 431)).then_some(status)
}

/// The answer in place of hyper's, as it goes to the socket.
pub(super) fn instead(status: u16, framing: &Framing, metrics: &Metrics) -> Bytes {
    let error = match status {
        // hyper runs out of room for a head before it looks at what fills it.
        414 | 431 if status == 414 || framing.is_in_target() => Error::TargetTooLong,
        431 => Error::HeadTooLarge,
        _ => Error::BadRequest(
            "This is not valid HTTP/1.1: its request line, a header or the length of its body \
             cannot be read in one way only. Nothing was sent upstream; the connection is closed."
                .to_owned(),
        ),
    };
    written(&error, metrics)
}

fn written(error: &Error, metrics: &Metrics) -> Bytes {
    let response = error.named_response();
    proxy::unread(metrics, &response, error.code());
    let (head, body) = response.into_parts();
    // An error's body is ready.
    let body = match body.collect().now_or_never() {
        Some(Ok(body)) => body.to_bytes(),
        Some(Err(_)) | None => Bytes::new(),
    };
    let mut text = BytesMut::new();
    text.put_slice(format!("HTTP/1.1 {}\r\n", head.status).as_bytes());
    for (name, value) in &head.headers {
        text.put_slice(name.as_str().as_bytes());
        text.put_slice(b": ");
        text.put_slice(value.as_bytes());
        text.put_slice(b"\r\n");
    }
    let ending = format!(
        "content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    text.put_slice(ending.as_bytes());
    text.put_slice(&body);
    text.freeze()
}

/// Refuses a head that is too large and yet came through: hyper reads on as long as its buffer has
/// room, and over HTTP/2 would leave the client without a reason.
pub(super) fn too_large<B>(request: &Request<B>, largest: usize) -> Option<Error> {
    // Over HTTP/2 as RFC 9113 §6.5.2 counts a list of fields; else as they were written.
    let beside = if request.version() == Version::HTTP_2 {
        32
    } else {
        ": \r\n".len()
    };
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target > largest {
        return Some(Error::TargetTooLong);
    }
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + beside);
    (target + fields.sum::<usize>() > largest).then_some(Error::HeadTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hypers_own_answers_are_told_from_ours() {
        let date = "date: Sat, 21 Nov 2026 14:00:00 GMT";
        let table = [
            (
                format!(
                    "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n{date}\r\n\r\n"
                ),
                Some(400),
            ),
            (
                format!(
                    "HTTP/1.0 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n{date}\r\n\r\n"
                ),
                Some(431),
            ),
            (
                format!("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n{date}\r\n\r\n"),
                None,
            ),
            (
                format!("HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n{date}\r\n\r\n"),
                None,
            ),
            (
                format!(
                    "HTTP/1.1 400 Bad Request\r\nx-request-id: a\r\ncontent-length: 0\r\n{date}\r\n\r\n"
                ),
                None,
            ),
            (
                format!("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n{date}\r\n\r\nbody"),
                None,
            ),
            ("HTTP/1.1 100 Continue\r\n\r\n".to_owned(), None),
            (String::new(), None),
        ];
        for (text, status) in table {
            assert_eq!(of_hyper(text.as_bytes()), status, "{text:?}");
        }
    }

    #[test]
    fn what_goes_instead_says_its_length_and_closes() {
        let framing = Framing::default();
        for (status, line) in [(400, "400 Bad"), (414, "414 URI"), (431, "431 Request")] {
            let text = instead(status, &framing, &Metrics::new());
            let text = str::from_utf8(&text).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {line}")), "{head}");
            assert!(head.contains("\r\nconnection: close"), "{head}");
            assert!(head.contains("\r\nx-request-id: req_"), "{head}");
            assert!(
                head.contains(&format!("\r\ncontent-length: {}", body.len())),
                "{head}"
            );
            assert!(body.starts_with(r#"{"error":{"#), "{body}");
        }
    }
}
