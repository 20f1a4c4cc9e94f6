//! Where a body is read.

use http::HeaderMap;

use super::{Error, Proxy};
use crate::generation::LONGEST_PLAIN;
use crate::message::coding;

/// The largest body that is read where it arrived, in bytes: a millisecond's work.
const READ_AT_ONCE: usize = 64 * 1024;

/// Reads a body of so many bytes; a large one on a thread that may take its time.
///
/// # Errors
/// When the reading panics.
pub(super) async fn apart<T: Send + 'static>(
    len: usize,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    if len <= READ_AT_ONCE {
        return Ok(read());
    }
    let reading = tokio::task::spawn_blocking(read);
    let unread = |_| Error::BadRequest("The request's body cannot be read.".to_owned());
    reading.await.map_err(unread)
}

/// Whether a request's body of so many bytes is read where it arrived.
pub(super) fn is_quick(headers: &HeaderMap, len: usize) -> bool {
    len <= READ_AT_ONCE && !coding::is_coded(headers)
}

impl Proxy {
    /// Reads a request's body of so many bytes, and undoes its content coding for that.
    ///
    /// A coded body may be a thousand times as long as it looks: it is always read on a thread that may
    /// take its time, and only while there is room for its plain form.
    ///
    /// # Errors
    /// When the reading panics.
    pub(super) async fn reading<T: Send + 'static>(
        &self,
        headers: &HeaderMap,
        len: usize,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        if !coding::is_coded(headers) {
            return apart(len, read).await;
        }
        let room = self.bodies.undoing(LONGEST_PLAIN).await;
        apart(usize::MAX, move || {
            let _room = room;
            read()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn only_a_large_body_is_read_on_another_thread() {
        let here = || thread::current().id();
        for (len, is_here) in [(READ_AT_ONCE, true), (READ_AT_ONCE + 1, false)] {
            let there = apart(len, here).await.ok();
            assert_eq!(there == Some(here()), is_here, "{len}");
        }
    }
}
