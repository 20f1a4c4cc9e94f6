//! One body type for every message the proxy sends, streamed or ready.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{TryFutureExt, stream};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Collected, Empty, Full, Limited, StreamBody};

/// What can go wrong in the middle of a body.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body of unknown origin: ready bytes, a file, or a stream from somewhere else.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A body that is ready; its length is known to the one who sends it.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// No body at all.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Any body as ours.
pub fn boxed(body: impl http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static) -> Body {
    body.boxed_unsync()
}

/// The whole of a body that is at most `limit` bytes; a longer one is an error that is a
/// [`LengthLimitError`](http_body_util::LengthLimitError).
///
/// Boxed here, and no `async fn`: the compiler cannot prove `Send` for its inside.
pub fn collect(
    body: Body,
    limit: usize,
) -> Pin<Box<dyn Future<Output = Result<Bytes, BodyError>> + Send>> {
    Box::pin(
        Limited::new(body, limit)
            .collect()
            .map_ok(Collected::to_bytes),
    )
}

/// The first `len` bytes of a file, read piece by piece on a thread that may block.
pub fn from_file(file: File, len: u64) -> Body {
    from_file_part(file, 0, len)
}

/// `len` bytes of a file from `start` on, read like [`from_file`].
pub fn from_file_part(file: File, start: u64, len: u64) -> Body {
    const PIECE: u64 = 256 * 1024;
    let reader = (Arc::new(file), start, len);
    let frames = stream::unfold(reader, |(file, position, left)| async move {
        let step = left.min(PIECE);
        let want = usize::try_from(step).unwrap_or_default();
        if want == 0 {
            return None;
        }
        let piece = read_at(file.clone(), position, want).await;
        let left = if piece.is_ok() { left - step } else { 0 };
        Some((piece.map(Frame::data), (file, position + step, left)))
    });
    boxed(StreamBody::new(Box::pin(frames)))
}

/// Exactly `len` bytes of a file from `position` on.
///
/// # Errors
/// When the file is shorter, or cannot be read.
pub async fn read_at(file: Arc<File>, position: u64, len: usize) -> Result<Bytes, BodyError> {
    let read = tokio::task::spawn_blocking(move || read_at_blocking(&file, position, len));
    Ok(read.await??)
}

/// The same, for a thread that may block: into memory that nobody has filled with zeros first.
///
/// # Errors
/// As [`read_at`].
pub fn read_at_blocking(file: &File, mut position: u64, len: usize) -> io::Result<Bytes> {
    let mut buffer = Vec::with_capacity(len);
    while buffer.len() < len {
        let spare = rustix::buffer::spare_capacity(&mut buffer);
        match rustix::io::pread(file, spare, position) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => position += read as u64,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The allocator may have given more room than was asked for.
    buffer.truncate(len);
    Ok(Bytes::from(buffer))
}
