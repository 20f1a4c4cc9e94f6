//! Where a body is read.

use super::Error;

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
