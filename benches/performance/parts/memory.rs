//! The floor of a hit: a body read, its canonical hash, a look into a map, an answer from memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use super::answers::{Sort, small};
use super::served;

type Kept = Arc<Mutex<HashMap<blake3::Hash, Bytes>>>;

pub(super) async fn run() {
    let (kept, small) = (Kept::default(), small());
    served::serve(move |request| answer(request, kept.clone(), small.clone())).await;
}

async fn answer(request: Request<Incoming>, kept: Kept, small: Bytes) -> Response<Full<Bytes>> {
    if request.method() == Method::GET {
        return json(small);
    }
    let body = served::whole(request.into_body()).await;
    let key = served::canonical_hash(&body);
    let found = kept.lock().unwrap().get(&key).cloned();
    json(found.unwrap_or_else(|| {
        let made = Sort::asked_for(&body).body();
        kept.lock().unwrap().insert(key, made.clone());
        made
    }))
}

fn json(body: Bytes) -> Response<Full<Bytes>> {
    Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .unwrap()
}
