//! An answer's body while it arrives, with the rest of its request.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::lane::Carried;
use super::upload::Watch;
use crate::message::{BodyError, Idle};

/// The body of an answer. When it is dropped, what is left of the request is not sent: the answer is
/// complete, or nobody reads on.
pub struct Arriving {
    body: Idle<Carried>,
    #[expect(dead_code, reason = "its drop is what it is for")]
    upload: Watch,
}

impl Arriving {
    /// The answer to the request whose body `upload` watches; `limit` is the longest silence.
    pub(super) fn new(body: Carried, upload: Watch, limit: Duration) -> Self {
        Self {
            body: Idle::new(body, limit, "upstream"),
            upload,
        }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
