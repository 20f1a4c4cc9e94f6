//! The clip of a job that is kept, on upstream's own path for it.

use http::request::Parts;
use http::{HeaderValue, Method, Response};

use super::auth::Client;
use super::reply::{self, Status};
use super::{Error, Proxy};
use crate::clock;
use crate::generation::percent_decoded;
use crate::media::{self, Shown, medium};
use crate::message::Body;
use crate::store::Entry;

/// As the gateway says it of its own.
const A_DAY: &str = "public, max-age=86400";

impl Proxy {
    /// Answers a request for the clip of a job from its copy; `None` when there is none, or
    /// something else is asked for.
    ///
    /// # Errors
    /// When the job is another client's.
    pub(super) async fn content(
        &self,
        parts: &Parts,
        client: &Client,
    ) -> Result<Option<Response<Body>>, Error> {
        let Some(task) = asked(parts) else {
            return Ok(None);
        };
        // Boxed: what is passed through comes by here as well.
        let answered = async {
            match self.job(&task).await {
                Ok(Some(entry)) if !self.may_see(&entry, client) => Err(Error::TaskNotFound),
                Ok(Some(entry)) => Ok(self.clip(parts, &entry).await),
                Ok(None) | Err(_) => Ok(None),
            }
        };
        Box::pin(answered).await
    }

    async fn clip(&self, parts: &Parts, entry: &Entry) -> Option<Response<Body>> {
        let clip = medium::clip(&entry.record)?;
        let shown = Shown {
            hash: clip.hash(),
            content_type: HeaderValue::from_static(clip.content_type()),
            cache_control: A_DAY,
            disposition: None,
        };
        let mut response = match media::serve(&self.shelf, parts, &shown).await {
            Ok(response) => response,
            // Upstream may still have it.
            Err(error) => {
                tracing::error!(key = entry.record.key.short(), %error, "a kept clip is not served");
                self.doubt(&error, clip.hash()).await;
                return None;
            }
        };
        let now = self.clock.now();
        self.shelf.used(&entry.record.key, now);
        let ended = entry.record.task.as_ref().and_then(|task| task.ended_at);
        let age = ended.map(|ended| clock::age_seconds(now, ended));
        reply::mark(response.headers_mut(), Status::Hit(entry.record.key), age);
        Some(response)
    }
}

/// The job in `GET` or `HEAD /v1/videos/{id}/content`, where its video is asked for and no other
/// variant of it.
fn asked(parts: &Parts) -> Option<String> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return None;
    }
    let path = parts.uri.path().strip_prefix("/v1/videos/")?;
    let id = path.strip_suffix("/content")?;
    let query = parts.uri.query().unwrap_or_default();
    let other = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("variant="))
        .any(|variant| variant != "video");
    if id.is_empty() || id.contains('/') || other {
        return None;
    }
    String::from_utf8(percent_decoded(id.as_bytes()).into_owned()).ok()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn only_the_video_itself() {
        for (method, target, expected) in [
            ("GET", "/v1/videos/task_1/content", Some("task_1")),
            ("HEAD", "/v1/videos/task_1/content", Some("task_1")),
            (
                "GET",
                "/v1/videos/task%5f1/content?variant=video",
                Some("task_1"),
            ),
            ("GET", "/v1/videos/task_1/content?x=1", Some("task_1")),
            ("GET", "/v1/videos/task_1/content?variant=thumbnail", None),
            (
                "GET",
                "/v1/videos/task_1/content?a&variant=spritesheet",
                None,
            ),
            ("POST", "/v1/videos/task_1/content", None),
            ("GET", "/v1/videos/task_1", None),
            ("GET", "/v1/videos//content", None),
            ("GET", "/v1/videos/a/b/content", None),
            ("GET", "/v1/video/generations/task_1/content", None),
        ] {
            let request = Request::builder().method(method).uri(target).body(());
            let (parts, ()) = request.unwrap().into_parts();
            assert_eq!(asked(&parts).as_deref(), expected, "{method} {target}");
        }
    }
}
