//! A body that may not fall silent.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::BodyError;

/// A sender kept silent for too long in the middle of a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{who} was silent for {} s in the middle of a message", .limit.as_secs_f32())]
pub struct Silence {
    who: &'static str,
    limit: Duration,
}

/// Ends a body with a [`Silence`] when the next piece takes longer than a limit.
///
/// The clock runs only while somebody waits for a piece: a slow reader is not a silent sender.
#[derive(Debug)]
pub struct Idle<B> {
    body: B,
    error: Silence,
    /// Set once, and again only when it has gone off: a stream of many small pieces would set it for
    /// each of them.
    silence: Option<Pin<Box<Sleep>>>,
    /// Since when somebody waits for the next piece.
    waiting: Option<Instant>,
}

impl<B> Idle<B> {
    /// Lets `body` be silent for at most `limit` at a time; `who` sends it, for the error.
    pub fn new(body: B, limit: Duration, who: &'static str) -> Self {
        Self {
            body,
            error: Silence { who, limit },
            silence: None,
            waiting: None,
        }
    }
}

impl<B> Body for Idle<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(piece) = Pin::new(&mut self.body).poll_frame(context) {
            self.waiting = None;
            return Poll::Ready(piece.map(|piece| piece.map_err(Into::into)));
        }
        let limit = self.error.limit;
        let since = *self.waiting.get_or_insert_with(Instant::now);
        // `sleep` takes any duration; adding a long one to an instant would panic.
        let silence = self
            .silence
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        while silence.as_mut().poll(context).is_ready() {
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Poll::Ready(Some(Err(self.error.clone().into())));
            }
            silence.set(tokio::time::sleep(left));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_body_and_a_slow_reader_does_not() {
        let (send, receive) =
            tokio::sync::mpsc::unbounded_channel::<Result<Frame<Bytes>, BodyError>>();
        let stream = futures_util::stream::unfold(receive, |mut receive| async {
            receive.recv().await.map(|frame| (frame, receive))
        });
        let mut body = Idle::new(
            Box::pin(StreamBody::new(stream)),
            Duration::from_secs(5),
            "upstream",
        );
        for piece in ["a", "b"] {
            send.send(Ok(Frame::data(Bytes::from(piece)))).unwrap();
        }
        assert!(body.frame().await.unwrap().is_ok());
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(
            body.frame().await.unwrap().is_ok(),
            "the reader was slow, not the sender"
        );
        let before = tokio::time::Instant::now();
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(error.is::<Silence>(), "{error}");
        assert_eq!(before.elapsed().as_secs(), 5);
    }
}
