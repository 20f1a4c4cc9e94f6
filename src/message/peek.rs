//! A look at the beginning of a body, which is then handed on as it came.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use tokio::time::{Instant, timeout_at};

use super::{Body, BodyError, body};

/// The whole of a body that is at most `most` bytes and ends within `patience`, else `None`; and the
/// same body from its beginning, as it came: bytes, trailers, and how it broke off.
///
/// # Cancel safety
/// Dropping the future drops the body.
pub async fn peek(mut body: Body, most: u64, patience: Duration) -> (Option<Bytes>, Body) {
    let length = http_body::Body::size_hint(&body).lower();
    if length > most {
        return (None, body);
    }
    let until = Instant::now() + patience;
    let (mut seen, mut read) = (Vec::new(), Vec::new());
    while read.len() as u64 <= most {
        match timeout_at(until, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                read.extend_from_slice(frame.data_ref().map_or(&[], |piece| &piece[..]));
                seen.push(frame);
            }
            Ok(None) => return all(read.into(), seen, most),
            Ok(Some(Err(error))) => return (None, again(seen, Some(broken(error)))),
            Err(_) => break,
        }
    }
    (None, again(seen, Some(body)))
}

/// The beginning of a body: until `enough` says so of what was read, or `most` bytes were, or it
/// ended; and the same body from its beginning.
///
/// # Cancel safety
/// Dropping the future drops the body.
pub async fn beginning(
    mut body: Body,
    most: usize,
    enough: impl Fn(&[u8]) -> bool + Send,
) -> (Bytes, Body) {
    let (mut seen, mut read) = (Vec::new(), Vec::new());
    while read.len() <= most && !enough(&read) {
        match body.frame().await {
            Some(Ok(frame)) => {
                read.extend_from_slice(frame.data_ref().map_or(&[], |piece| &piece[..]));
                seen.push(frame);
            }
            None => return (read.into(), again(seen, None)),
            Some(Err(error)) => return (read.into(), again(seen, Some(broken(error)))),
        }
    }
    (read.into(), again(seen, Some(body)))
}

/// A body that has ended. Without trailers it says its length: hyper polls no body further than that.
fn all(read: Bytes, seen: Vec<Frame<Bytes>>, most: u64) -> (Option<Bytes>, Body) {
    let body = if seen.iter().all(Frame::is_data) {
        body::full(read.clone())
    } else {
        again(seen, None)
    };
    let whole = read.len() as u64 <= most;
    (whole.then_some(read), body)
}

fn again(seen: Vec<Frame<Bytes>>, rest: Option<Body>) -> Body {
    let seen = stream::iter(seen.into_iter().map(Ok));
    match rest {
        Some(rest) => body::boxed(StreamBody::new(seen.chain(BodyStream::new(rest)))),
        None => body::boxed(StreamBody::new(seen)),
    }
}

/// hyper throws away what it has not written when an error follows at once: it comes a turn later.
fn broken(error: BodyError) -> Body {
    let late = stream::once(Box::pin(async move {
        tokio::task::yield_now().await;
        Err(error)
    }));
    body::boxed(StreamBody::new(late))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    const PATIENCE: Duration = Duration::from_secs(5);

    fn in_pieces(pieces: Vec<Result<Frame<Bytes>, BodyError>>) -> Body {
        body::boxed(StreamBody::new(stream::iter(pieces)))
    }

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(text.into())
    }

    #[tokio::test]
    async fn a_body_is_the_same_afterwards() {
        let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("a"))]);
        let all = || {
            let end = Ok(Frame::trailers(trailers.clone()));
            in_pieces(vec![Ok(data("one")), Ok(data("")), Ok(data("two")), end])
        };
        for (most, expected) in [(6, Some(Bytes::from("onetwo"))), (5, None), (2, None)] {
            let (read, body) = peek(all(), most, PATIENCE).await;
            assert_eq!(read, expected, "{most}");
            let rest = body.collect().await.unwrap();
            assert_eq!(rest.trailers(), Some(&trailers));
            assert_eq!(rest.to_bytes(), "onetwo");
        }
        let pieces = in_pieces(vec![Ok(data("one")), Ok(data("two"))]);
        let (_, body) = peek(pieces, 6, PATIENCE).await;
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(6));
        let (read, body) = peek(body::full("longer"), 5, PATIENCE).await;
        assert_eq!(read, None);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "longer");
    }

    #[tokio::test(start_paused = true)]
    async fn what_breaks_off_or_takes_its_time_is_not_waited_for() {
        let (read, mut body) = peek(
            in_pieces(vec![Ok(data("a")), Err("cut".into())]),
            9,
            PATIENCE,
        )
        .await;
        assert_eq!(read, None);
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "a"
        );
        assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "cut");
        let endless = stream::iter([Ok(data("a"))]).chain(stream::pending());
        let started = Instant::now();
        let (read, mut body) = peek(body::boxed(StreamBody::new(endless)), 9, PATIENCE).await;
        assert_eq!((read, started.elapsed()), (None, PATIENCE));
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "a"
        );
    }
}
