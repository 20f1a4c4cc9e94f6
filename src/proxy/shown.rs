//! An answer made from the record, as whoever asks sees it: its links lead to the kept files.

use std::fs::File;
use std::io::Read as _;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::request::Parts;

use super::Proxy;
use super::framing;
use crate::config::Links;
use crate::media::{self, links, medium};
use crate::store::{Payload, Record, Shelf, StoreError};

impl Proxy {
    /// What links to this proxy begin with, for whoever sent this request.
    pub(super) fn base(&self, parts: &Parts) -> String {
        if let Some(url) = &self.config.public_url {
            return url.trim_end_matches('/').to_owned();
        }
        let scheme = if self.config.tls.is_some() {
            "https"
        } else {
            "http"
        };
        // The guard has let it in, so it names one.
        match framing::host(parts) {
            Ok(host) => format!("{scheme}://{host}"),
            Err(_) => format!("{scheme}://{}", self.config.listen),
        }
    }

    /// Whether answers of this record are shown with other links than upstream's.
    pub(super) fn has_local_links(&self, record: &Record) -> bool {
        self.config.media.links == Links::Local && medium::has_copy(record)
    }

    /// A kept body as whoever reaches the proxy at `base` is to see it. Without a kept file it is
    /// what it was, unread.
    pub(super) async fn localized(
        &self,
        record: &Record,
        base: &str,
        (payload, file): (Payload, Option<File>),
    ) -> (Payload, Option<File>) {
        if !self.has_local_links(record) {
            return (payload, file);
        }
        let bytes = match (&payload, file) {
            (Payload::Bytes(bytes), _) => bytes.clone(),
            // So large an answer has no links that were found.
            (Payload::Blob { len, .. }, file) if *len > links::LARGEST as u64 => {
                return (payload, file);
            }
            (Payload::Blob { .. }, _) => match read(&self.shelf, &payload).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::warn!(%error, "links of a kept answer are left as they are");
                    return self.opened(payload).await;
                }
            },
        };
        (Payload::Bytes(self.localize(record, base, &bytes)), None)
    }

    /// The same for bytes that are here.
    pub(super) fn localize(&self, record: &Record, base: &str, body: &Bytes) -> Bytes {
        if self.has_local_links(record) {
            media::rewrite(body, &medium::local_links(record, base))
        } else {
            body.clone()
        }
    }

    async fn opened(&self, payload: Payload) -> (Payload, Option<File>) {
        let file = self.shelf.open(&payload).await.ok().flatten();
        (payload, file)
    }
}

/// What spoke of the bytes of an answer before its links were replaced.
pub(super) fn drop_digests(headers: &mut HeaderMap) {
    for name in [header::ETAG, header::ACCEPT_RANGES, header::LAST_MODIFIED] {
        headers.remove(name);
    }
    for name in ["content-md5", "digest", "content-digest", "repr-digest"] {
        headers.remove(name);
    }
}

/// The whole of a kept body.
pub(super) async fn read(shelf: &Shelf, payload: &Payload) -> Result<Bytes, StoreError> {
    let (hash, len) = match payload {
        Payload::Bytes(bytes) => return Ok(bytes.clone()),
        Payload::Blob { hash, len, .. } => (*hash, *len),
    };
    let reading = move |store: &dyn crate::store::Store| {
        let mut bytes = Vec::new();
        let file = store.open_blob(&hash)?;
        let read = file.take(len).read_to_end(&mut bytes);
        read.map_err(|source| StoreError::Io {
            operation: "read",
            path: hash.to_string().into(),
            source,
        })?;
        Ok(Bytes::from(bytes))
    };
    shelf.blocking(reading).await
}
