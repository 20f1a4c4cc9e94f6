//! Bodies between the async threads and calls that block, piece by piece in both directions.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::message::{Body, BodyError, body};

/// How much is gathered before it goes out, in bytes.
const PIECE: usize = 64 * 1024;
/// How many pieces wait for a slow reader.
const WAITING: usize = 4;

/// The writing end of a body.
pub(super) struct Pipe {
    gathered: BytesMut,
    to: mpsc::Sender<Bytes>,
}

impl Pipe {
    /// Whether nobody reads any longer.
    pub(super) fn is_closed(&self) -> bool {
        self.to.is_closed()
    }

    fn send(&mut self) -> io::Result<()> {
        let piece = self.gathered.split().freeze();
        if piece.is_empty() {
            return Ok(());
        }
        self.to
            .blocking_send(piece)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// A body that `call` writes, on a thread that may block. When the body is dropped, the pipe breaks;
/// when the call fails, the body breaks off.
pub(super) fn written(call: impl FnOnce(Pipe) -> Result<(), BodyError> + Send + 'static) -> Body {
    let (to, pieces) = mpsc::channel(WAITING);
    let pipe = Pipe {
        gathered: BytesMut::with_capacity(PIECE),
        to,
    };
    let call = tokio::task::spawn_blocking(move || call(pipe));
    let frames = stream::unfold((pieces, Some(call)), |state| next(state.0, state.1));
    body::boxed(StreamBody::new(Box::pin(frames)))
}

type Call = JoinHandle<Result<(), BodyError>>;
type State = (mpsc::Receiver<Bytes>, Option<Call>);

async fn next(
    mut pieces: mpsc::Receiver<Bytes>,
    call: Option<Call>,
) -> Option<(Result<Frame<Bytes>, BodyError>, State)> {
    if let Some(piece) = pieces.recv().await {
        return Some((Ok(Frame::data(piece)), (pieces, call)));
    }
    let failed = match call?.await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => error,
        Err(error) => error.into(),
    };
    Some((Err(failed), (pieces, None)))
}

/// A body that is read on a thread that may block, as it arrives.
pub(super) struct Arriving {
    body: Body,
    piece: Bytes,
    on: Handle,
}

impl Arriving {
    /// To be made on an async thread.
    pub(super) fn new(body: Body) -> Self {
        Self {
            body,
            piece: Bytes::new(),
            on: Handle::current(),
        }
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.on.block_on(self.body.frame()) {
                None => return Ok(0),
                Some(Err(error)) => return Err(io::Error::other(error)),
                Some(Ok(frame)) => self.piece = frame.into_data().unwrap_or_default(),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece
            .copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}
