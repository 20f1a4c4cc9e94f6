//! The end of a connection whose client still speaks.
//!
//! Closing at once would reset the connection, and take the answer away with what the client has not
//! read yet (RFC 9112 §9.6). So it is listened to for a while, behind the end of what we have to say.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};

use super::deadline::Deadline;

/// How long a client has that still sends when its answer is complete, and for how many bytes it is
/// listened to.
pub(super) const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1024 * 1024;

/// The same for one that speaks HTTP/2, as long as it goes on: with each window update it says that it
/// has read something. Well below what a drain may take.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// How far the end has come.
pub(super) struct Lingering {
    /// We have nothing more to say.
    pub(super) shut: bool,
    heard: usize,
    time: Deadline<usize>,
    longest: Deadline<()>,
}

impl Lingering {
    pub(super) fn new() -> Self {
        Self {
            shut: false,
            heard: 0,
            time: Deadline::new(),
            longest: Deadline::new(),
        }
    }

    /// Ready once the client has ended, or had time enough. One that sends more than is listened to has
    /// to wait, and finds its answer meanwhile.
    pub(super) fn poll(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        is_http2: bool,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let mut scrap = [0; 8 * 1024];
        while self.heard < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut scrap);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.heard += buffer.filled().len();
                }
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        let going_on = if is_http2 { self.heard } else { 0 };
        if self.time.poll(going_on, LINGER, context).is_ready() {
            return Poll::Ready(());
        }
        self.longest.poll((), LONGEST, context)
    }
}
