//! Our own open connections to upstream, to recognise a request that we sent ourselves.
//!
//! Should `base_url` lead back here, by whatever name, such a request arrives over a connection
//! with the same two ends as one of these. Nothing has to be added to it for that. Our own end alone
//! would not do: the system gives a port to a client of ours too while we use it towards upstream.
//! Where something between rewrites addresses, a loop is not seen.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

use crate::message::Peer;

/// From where to where.
type Ends = (SocketAddr, SocketAddr);

/// The two ends of all open connections, with how many have the same: as
/// many entries as there are connections at most.
#[derive(Clone, Default)]
pub(super) struct Outgoing(Arc<Mutex<HashMap<Ends, usize>>>);

impl Outgoing {
    /// Whether one of our connections has these ends.
    pub(super) fn has(&self, peer: &Peer) -> bool {
        self.open().contains_key(&canonical(*peer))
    }

    /// A connection that is known for as long as it is open. It has to be made before anything is
    /// sent over it: then no request of ours arrives unknown.
    pub(super) fn known<S>(&self, stream: S, ends: Option<Peer>) -> Known<S> {
        let ends = ends.map(canonical);
        if let Some(ends) = ends {
            *self.open().entry(ends).or_default() += 1;
        }
        let entry = Entry {
            all: self.clone(),
            ends,
        };
        Known {
            _entry: entry,
            stream,
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Ends, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Over a socket for both families, an IPv4 address comes dressed as one of IPv6.
fn canonical(peer: Peer) -> Ends {
    let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    (plain(peer.from), plain(peer.to))
}

struct Entry {
    all: Outgoing,
    ends: Option<Ends>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(ends) = self.ends else { return };
        let mut open = self.all.open();
        if let Some(count) = open.get_mut(&ends) {
            *count -= 1;
            if *count == 0 {
                open.remove(&ends);
            }
        }
    }
}

/// A connection whose address is known.
pub(super) struct Known<S> {
    /// Dropped before the stream: a port that somebody else may get is not ours any more.
    _entry: Entry,
    stream: S,
}

impl<S: Connection> Connection for Known<S> {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl<S: Read + Unpin> Read for Known<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Write + Unpin> Write for Known<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(from: &str, to: &str) -> Peer {
        let [from, to] = [from, to].map(|end| end.parse().unwrap());
        Peer { from, to }
    }

    #[test]
    fn a_connection_is_known_for_as_long_as_it_is_open() {
        let all = Outgoing::default();
        let plain = peer("127.0.0.1:9", "127.0.0.1:80");
        let dressed = peer("[::ffff:127.0.0.1]:9", "[::ffff:127.0.0.1]:80");
        let one = all.known((), Some(plain));
        let two = all.known((), Some(dressed));
        drop(all.known((), None));
        drop(one);
        assert!(all.has(&plain), "the other one is open");
        assert!(all.has(&dressed));
        // A client may have the port that we have towards somebody else.
        assert!(!all.has(&peer("127.0.0.1:9", "127.0.0.1:8787")));
        assert!(!all.has(&peer("127.0.0.1:10", "127.0.0.1:80")));
        drop(two);
        assert!(!all.has(&plain) && all.open().is_empty());
    }
}
