//! Our own open connections to upstream, to recognise a request that we sent ourselves.
//!
//! Should `base_url` lead back here, by whatever name, such a request arrives from an address that
//! one of these connections has on this machine. Nothing has to be added to it for that. It is no
//! proof where something between rewrites addresses.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

/// The addresses of our ends of all open connections, with how many have each: as many entries as
/// there are connections at most.
#[derive(Clone, Default)]
pub(super) struct Outgoing(Arc<Mutex<HashMap<SocketAddr, usize>>>);

impl Outgoing {
    /// Whether one of our connections has this address here.
    pub(super) fn has(&self, address: SocketAddr) -> bool {
        self.open().contains_key(&canonical(address))
    }

    /// A connection that is known for as long as it is open. It has to be made before anything is
    /// sent over it: then no request of ours arrives unknown.
    pub(super) fn known<S>(&self, stream: S, address: Option<SocketAddr>) -> Known<S> {
        let address = address.map(canonical);
        if let Some(address) = address {
            *self.open().entry(address).or_default() += 1;
        }
        let entry = Entry {
            all: self.clone(),
            address,
        };
        Known {
            _entry: entry,
            stream,
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<SocketAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Over a socket for both families, an IPv4 address comes dressed as one of IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

struct Entry {
    all: Outgoing,
    address: Option<SocketAddr>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut open = self.all.open();
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
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

    #[test]
    fn a_connection_is_known_for_as_long_as_it_is_open() {
        let all = Outgoing::default();
        let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let one = all.known((), Some(address));
        let two = all.known((), Some("[::ffff:127.0.0.1]:9".parse().unwrap()));
        drop(all.known((), None));
        drop(one);
        assert!(all.has(address), "the other one is open");
        assert!(all.has("[::ffff:127.0.0.1]:9".parse().unwrap()));
        assert!(!all.has("127.0.0.1:10".parse().unwrap()));
        drop(two);
        assert!(!all.has(address) && all.open().is_empty());
    }
}
