//! A body that may not fall silent.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::message::BodyError;

/// Ends a body with an error when the next piece takes longer than a limit.
///
/// The clock runs only while somebody waits for a piece: a slow reader is not a silent sender.
pub struct Idle<B> {
    body: B,
    limit: Duration,
    silence: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl<B> Idle<B> {
    /// Lets `body` be silent for at most `limit` at a time.
    pub fn new(body: B, limit: Duration) -> Self {
        Self {
            body,
            limit,
            silence: None,
            waiting: false,
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
            self.waiting = false;
            return Poll::Ready(piece.map(|piece| piece.map_err(Into::into)));
        }
        let limit = self.limit;
        let started = self.waiting;
        self.waiting = true;
        let silence = self
            .silence
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !started {
            silence.as_mut().reset(Instant::now() + limit);
        }
        match silence.as_mut().poll(context) {
            Poll::Ready(()) => {
                let error = format!(
                    "upstream was silent for {} s in the middle of an answer",
                    limit.as_secs()
                );
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Pending => Poll::Pending,
        }
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
        let mut body = Idle::new(Box::pin(StreamBody::new(stream)), Duration::from_secs(5));
        for piece in ["a", "b"] {
            send.send(Ok(Frame::data(Bytes::from(piece)))).unwrap();
        }
        assert!(body.frame().await.unwrap().is_ok());
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(
            body.frame().await.unwrap().is_ok(),
            "the reader was slow, not the sender"
        );
        let before = Instant::now();
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(before.elapsed().as_secs(), 5);
    }
}
