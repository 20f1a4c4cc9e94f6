//! Which HTTP a client speaks: what it says first tells.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// How every connection of HTTP/2 begins (RFC 9113 §3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP/1.1 or 1.0; or nothing that we know, which hyper then says.
    Http1,
    /// HTTP/2, over TLS or in the clear.
    Http2,
}

/// A connection of which the beginning was read already: it is read once more.
pub(super) struct Begun<S> {
    stream: S,
    first: [u8; PREFACE.len()],
    /// From where to where it is still to be read.
    rest: (u8, u8),
}

impl<S: AsyncRead + Unpin> Begun<S> {
    /// Reads until it is known what the client speaks.
    ///
    /// # Errors
    /// Those of the connection.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub(super) async fn read(mut stream: S) -> io::Result<(Self, Speaks)> {
        let mut first = [0; PREFACE.len()];
        let mut length = 0;
        let speaks = loop {
            let Some(room) = first.get_mut(length..).filter(|room| !room.is_empty()) else {
                break Speaks::Http2;
            };
            let read = stream.read(room).await?;
            length += read;
            let said = first.get(..length).unwrap_or_default();
            if read == 0 || !PREFACE.starts_with(said) {
                break Speaks::Http1;
            }
        };
        let begun = Self {
            stream,
            first,
            rest: (0, u8::try_from(length).unwrap_or(u8::MAX)),
        };
        Ok((begun, speaks))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let (from, to) = this.rest;
        let first = this.first.get(usize::from(from)..usize::from(to));
        let first = first.unwrap_or_default();
        if first.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let fits = first.len().min(buffer.remaining());
        let (now, _) = first.split_at(fits);
        buffer.put_slice(now);
        this.rest.0 += u8::try_from(fits).unwrap_or(u8::MAX);
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        // What has come behind it goes along: for the rest of a head alone hyper would double its buffer,
        // and keep it as long as the connection.
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn speaks(said: &[u8]) -> (Speaks, Vec<u8>) {
        let (begun, speaks) = Begun::read(said).await.unwrap();
        let mut all = Vec::new();
        tokio::io::BufReader::new(begun)
            .read_to_end(&mut all)
            .await
            .unwrap();
        (speaks, all)
    }

    #[tokio::test]
    async fn the_preface_tells_and_is_read_again() {
        for (said, what) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], Speaks::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand more", Speaks::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", Speaks::Http1),
            (b"PRI /v1/models HTTP/1.1\r\n\r\n", Speaks::Http1),
            (b"", Speaks::Http1),
        ] {
            assert_eq!(speaks(said).await, (what, said.to_vec()));
        }
    }

    #[tokio::test]
    async fn it_comes_with_what_is_there_already() {
        let said = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let (mut begun, _) = Begun::read(&said[..]).await.unwrap();
        let mut buffer = [0; 100];
        assert_eq!(begun.read(&mut buffer).await.unwrap(), said.len());
        // Bit by bit as well, and while nothing more comes.
        let (mut client, server) = tokio::io::duplex(100);
        tokio::io::AsyncWriteExt::write_all(&mut client, b"GET /")
            .await
            .unwrap();
        let (mut begun, _) = Begun::read(server).await.unwrap();
        let mut small = [0; 2];
        assert_eq!(begun.read(&mut small).await.unwrap(), 2);
        assert_eq!(begun.read(&mut buffer).await.unwrap(), 3);
        assert_eq!(&buffer[..3], b"T /");
    }
}
