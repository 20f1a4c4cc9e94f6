//! The floor of a miss that is kept: canonical hash, sled, the upstream, sled again. Nothing is synced.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::relay::{Way, connector, moved, trusting};
use super::served;

struct Floor {
    kept: sled::Db,
    way: Way<Full<Bytes>>,
    upstream: Uri,
}

pub(super) async fn run(upstream: Uri, folder: &Path) {
    let config = sled::Config::new().path(folder).flush_every_ms(None);
    let floor = Arc::new(Floor {
        kept: config.open().unwrap(),
        way: Client::builder(TokioExecutor::new()).build(connector(trusting(None))),
        upstream,
    });
    served::serve(move |request| {
        let floor = floor.clone();
        async move { floor.answer(request).await }
    })
    .await;
}

impl Floor {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = served::whole(body).await;
        let key = served::canonical_hash(&body);
        let found = self.kept.get(key.as_bytes()).unwrap();
        let (status, answer) = match found {
            Some(kept) => (StatusCode::OK, Bytes::copy_from_slice(&kept)),
            None => self.fetch(&parts.uri, body).await,
        };
        if status == StatusCode::OK {
            self.kept.insert(key.as_bytes(), &*answer).unwrap();
        }
        Response::builder()
            .status(status)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(answer))
            .unwrap()
    }

    async fn fetch(&self, asked: &Uri, body: Bytes) -> (StatusCode, Bytes) {
        let request = Request::post(moved(asked, &self.upstream))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .unwrap();
        let Ok(answer) = self.way.request(request).await else {
            return (StatusCode::BAD_GATEWAY, Bytes::new());
        };
        let status = answer.status();
        match answer.into_body().collect().await {
            Ok(body) => (status, body.to_bytes()),
            Err(_) => (StatusCode::BAD_GATEWAY, Bytes::new()),
        }
    }
}
