//! A file or standard input as the body of a request.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc;

use crate::message::{Body, BodyError, body};

const PIECE: usize = 256 * 1024;

/// A body of what `from` reads; the number is that of the bytes that were taken from it so far.
///
/// The thread is not waited for: one that reads standard input may never end.
pub(super) fn body_of(mut from: impl Read + Send + 'static) -> (Body, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let (to, pieces) = mpsc::channel::<Result<Bytes, io::Error>>(2);
    let counted = count.clone();
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        loop {
            let piece = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(Bytes::copy_from_slice(
                    buffer.get(..count).unwrap_or_default(),
                )),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let len = piece.as_ref().map_or(0, Bytes::len) as u64;
            let last = piece.is_err();
            if to.blocking_send(piece).is_err() || last {
                return;
            }
            counted.fetch_add(len, Ordering::Relaxed);
        }
    });
    let frames = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece.map(Frame::data).map_err(BodyError::from), pieces))
    });
    (body::boxed(StreamBody::new(Box::pin(frames))), count)
}
