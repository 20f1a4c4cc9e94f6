use bytes::Bytes;
use http::HeaderMap;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::super::{Kind, Request};
use super::{Extent, Quality};

fn identified(kind: Kind, headers: &HeaderMap, body: &Bytes) -> Extent {
    let request = Request {
        kind,
        path: "/v1/x",
        query: None,
        scope: None,
        take: 1,
        headers,
        body,
    };
    request.identify().extent
}

/// What the pass of the fingerprint finds, which is what a body without one shows.
fn of(kind: Kind, body: &Json) -> Extent {
    let body = Bytes::from(body.to_string());
    let extent = identified(kind, &HeaderMap::new(), &body);
    assert_eq!(Extent::read(kind, &body), extent, "{body:?}");
    extent
}
