//! Kept files for whoever has the link: no client key is needed, and nothing is paid.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use super::{Error, Proxy};
use crate::media::{self, Name, Shown};
use crate::message::Body;
use crate::store::{BlobHash, StoreError};

/// A file is named by its bytes, so what a name stands for never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// As much of a path as a log may show.
const LOGGED: usize = "/media/".len() + 16;

impl Proxy {
    /// Answers `/media/…`.
    ///
    /// # Errors
    /// When it is no GET or HEAD, or there is no such file, or it is damaged.
    pub(super) async fn media(&self, parts: &Parts) -> Result<Response<Body>, Error> {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Err(Error::ReadOnly(parts.method.to_string()));
        }
        let name = Name::of_path(parts.uri.path()).ok_or(Error::NoSuchFile)?;
        let short: String = name.hash().to_string().chars().take(16).collect();
        let kind = name.content_type().split('/').next().unwrap_or_default();
        let own_name = format!("{kind}-{short}");
        let shown = Shown {
            hash: name.hash(),
            content_type: HeaderValue::from_static(name.content_type()),
            cache_control: FOR_EVER,
            disposition: media::attachment(parts.uri.query(), &own_name, name.extension()),
        };
        match media::serve(&self.shelf, parts, &shown).await {
            Ok(response) => {
                if parts.method == Method::GET && is_use(&response) {
                    self.shelf.used_blob(&name.hash(), self.clock.now());
                }
                Ok(response)
            }
            Err(error) => {
                self.doubt(&error, name.hash()).await;
                Err(not_served(&error, &short))
            }
        }
    }

    /// Has a file fetched again that is missing or damaged. One that merely cannot be opened now
    /// is not.
    pub(super) async fn doubt(&self, error: &StoreError, hash: BlobHash) {
        if error.is_damage() {
            let archive = self.archive.clone();
            // Also when the client does not wait for its error.
            let doubting = self.tasks.spawn(async move { archive.doubt(hash).await });
            // It only fails by a panic, which is reported by itself.
            let _ = doubting.await;
        }
    }
}

/// Whether somebody has the file by this answer.
fn is_use(answer: &Response<Body>) -> bool {
    answer.status().is_success() || answer.status() == StatusCode::NOT_MODIFIED
}

fn not_served(error: &StoreError, file: &str) -> Error {
    if let StoreError::MissingBlob { .. } = error {
        tracing::warn!(%file, "a link names a file that is not kept");
        return Error::NoSuchFile;
    }
    tracing::error!(%file, %error, "a kept file is not served");
    Error::FileUnreadable
}

/// A path as a log may show it. SECURITY: the whole path of a kept file is the permission to read
/// it.
pub(super) fn loggable(path: &str) -> Cow<'_, str> {
    match path.get(..LOGGED) {
        Some(start) if Name::is_meant(path) => format!("{start}…").into(),
        Some(_) | None => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_not_logged_whole() {
        let hash = "0123456789abcdef".repeat(4);
        let path = format!("/media/{hash}.mp4");
        assert_eq!(loggable(&path), "/media/0123456789abcdef…");
        assert_eq!(loggable("/media/x"), "/media/x");
        assert_eq!(
            loggable("/v1/videos/task_0123456789abcdef"),
            "/v1/videos/task_0123456789abcdef"
        );
    }
}
