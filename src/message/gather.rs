//! Pieces that are ready at the same time, handed on as one.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::BodyError;

/// So much is handed on without a look for more, in bytes.
const ENOUGH: usize = 16 * 1024;

/// Joins small pieces of a body that are ready together.
///
/// Each piece that is handed on alone costs a system call and a packet. Nothing is waited for: a piece
/// that comes alone is handed on at once.
pub struct Gather<B> {
    body: B,
    held: Held,
    /// What came behind the pieces that are held: an end, an error or trailers.
    behind: Option<Behind>,
    /// A turn was left between the last piece and an error behind it.
    paused: bool,
}

type Behind = Option<Result<Frame<Bytes>, BodyError>>;

#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    /// Not copied as long as it is the only one.
    One(Bytes),
    Several(BytesMut),
}

impl Held {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(piece) => piece.len(),
            Self::Several(pieces) => pieces.len(),
        }
    }

    fn add(&mut self, piece: Bytes) {
        *self = match mem::take(self) {
            Self::Nothing => Self::One(piece),
            Self::One(first) => {
                let mut pieces =
                    BytesMut::with_capacity((first.len() + piece.len()).max(ENOUGH / 4));
                pieces.extend_from_slice(&first);
                pieces.extend_from_slice(&piece);
                Self::Several(pieces)
            }
            Self::Several(mut pieces) => {
                pieces.extend_from_slice(&piece);
                Self::Several(pieces)
            }
        };
    }

    fn take(&mut self) -> Option<Frame<Bytes>> {
        match mem::take(self) {
            Self::Nothing => None,
            Self::One(piece) => Some(Frame::data(piece)),
            Self::Several(pieces) => Some(Frame::data(pieces.freeze())),
        }
    }
}

impl<B> Gather<B> {
    /// Joins the pieces of `body`.
    pub fn new(body: B) -> Self {
        Self {
            body,
            held: Held::default(),
            behind: None,
            paused: false,
        }
    }

    fn hand_on(&mut self) -> Poll<Behind> {
        match self.held.take() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Poll::Ready(self.behind.take().flatten()),
        }
    }
}

impl<B> Body for Gather<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Behind> {
        let this = &mut *self;
        loop {
            if this.behind.is_some() {
                let is_error = matches!(this.behind, Some(Some(Err(_))));
                if this.held.len() == 0 && is_error && !mem::replace(&mut this.paused, true) {
                    // hyper throws away what it has not written when an error follows at once.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                return this.hand_on();
            }
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                    this.held.add(frame.into_data().unwrap_or_default());
                    if this.held.len() >= ENOUGH {
                        return this.hand_on();
                    }
                }
                Poll::Ready(last) => this.behind = Some(last),
                Poll::Pending if this.held.len() == 0 => return Poll::Pending,
                Poll::Pending => return this.hand_on(),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.len() == 0 && self.behind.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint();
        let held = self.held.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::{self, StreamExt};
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    type Piece = Result<Frame<Bytes>, BodyError>;

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    fn body(
        pieces: impl futures_util::Stream<Item = Piece> + Send + 'static,
    ) -> Gather<Pin<Box<dyn Body<Data = Bytes, Error = BodyError> + Send>>> {
        Gather::new(Box::pin(StreamBody::new(pieces)))
    }

    async fn text(body: &mut (impl Body<Data = Bytes, Error = BodyError> + Unpin)) -> String {
        let frame = body.frame().await.expect("a piece").expect("a good one");
        String::from_utf8(frame.into_data().expect("data").to_vec()).expect("text")
    }

    #[tokio::test]
    async fn what_is_ready_together_comes_as_one_with_all_that_follows() {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("1"));
        let pieces = [data("a"), data("b"), data("c"), Frame::trailers(trailers)];
        let mut body = body(stream::iter(pieces.map(Ok)));
        assert_eq!(text(&mut body).await, "abc");
        let last = body.frame().await.unwrap().unwrap();
        assert_eq!(last.into_trailers().unwrap()["x-sum"], "1");
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn nothing_is_waited_for_and_an_error_comes_behind_its_pieces() {
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel::<Piece>();
        let mut body = body(stream::poll_fn(move |context| receive.poll_recv(context)));
        send.send(Ok(data("alone"))).unwrap();
        assert_eq!(text(&mut body).await, "alone");
        send.send(Ok(data("before"))).unwrap();
        send.send(Err("it broke".into())).unwrap();
        assert_eq!(text(&mut body).await, "before");
        let polled = futures_util::poll!(body.frame());
        assert!(polled.is_pending(), "what came is written first");
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn much_is_handed_on_as_it_is() {
        let large = Bytes::from(vec![7; ENOUGH]);
        let pieces = vec![Ok(Frame::data(large.clone())), Ok(data("rest"))];
        let mut body = body(stream::iter(pieces).boxed());
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first.as_ptr(), large.as_ptr(), "not copied");
        assert_eq!(text(&mut body).await, "rest");
    }
}
