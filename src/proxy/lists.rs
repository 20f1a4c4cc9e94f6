//! A list of what upstream keeps, as one client may see it under `cache.scope = "client"`: only what
//! it has made itself.
//!
//! The client's own question goes upstream, page after page, until as much is found as upstream puts
//! on a page. SECURITY: of the envelope only what belongs to a list of OpenAI's stays, since totals
//! and cursors speak of others; a list in another shape is not shown at all.

use http::header::{self, HeaderName};
use http::request::Parts;
use http::response;
use http::{Method, Response, Uri};
use serde_json::{Map, Value};

use super::auth::Client;
use super::forward::Passing;
use super::owners::ask_plain;
use super::verdict::{AT_ONCE, apart};
use super::{Error, Proxy, directives, shown};
use crate::generation::{Collection, ThingKey, thing};
use crate::message::{Body, body, coding};
use crate::store::Store;

/// So many pages are looked through for one answer.
const MOST_PAGES: usize = 20;
/// The largest page, in bytes.
const LARGEST: usize = 8 * 1024 * 1024;

/// What asks for another answer than the one to be read.
const LEFT_OUT: [HeaderName; 6] = [
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::RANGE,
];

/// One page of upstream's.
struct Page {
    items: Vec<Value>,
    more: bool,
    /// Everything beside the items; `None`: the page is a bare array.
    envelope: Option<Map<String, Value>>,
}

impl Proxy {
    /// Whether this asks for a list that has to be looked through.
    pub(super) fn lists(&self, parts: &Parts) -> bool {
        self.is_apart()
            && matches!(parts.method, Method::GET | Method::HEAD)
            && thing::is_list(parts.uri.path())
    }

    /// Answers with the client's own part of a list.
    ///
    /// # Errors
    /// When upstream gives no answer, or one that cannot be looked through.
    pub(super) async fn list(
        &self,
        mut parts: Parts,
        target: Uri,
        client: &Client,
    ) -> Result<Response<Body>, Error> {
        let collection = thing::collection(parts.uri.path()).ok_or(Error::ListUnreadable)?;
        directives::strip(&mut parts.headers);
        for name in LEFT_OUT {
            parts.headers.remove(name);
        }
        ask_plain(&mut parts.headers);
        parts.method = Method::GET;
        let (mut head, answer) = self.page(parts.clone(), target.clone()).await?;
        if !head.status.is_success() {
            return Ok(Response::from_parts(head, answer));
        }
        let mut page = read(&head, answer).await?;
        let envelope = page.envelope.take();
        let size = page.items.len();
        let mut own = Vec::new();
        for pages in 1.. {
            let next = page.items.last().and_then(id).map(str::to_owned);
            let is_own = |item: &Value| is_own(self.shelf.store(), collection, client, item);
            own.extend(page.items.into_iter().filter(is_own));
            let Some(next) = next.filter(|_| page.more && own.len() < size && pages < MOST_PAGES)
            else {
                break;
            };
            let (head, answer) = self.page(parts.clone(), after(&target, &next)?).await?;
            page = read(&head, answer).await?;
        }
        let more = page.more || own.len() > size;
        own.truncate(size);
        let text = listed(envelope, own, more).to_string();
        shown::drop_digests(&mut head.headers);
        for name in [
            header::CONTENT_LENGTH,
            header::CONTENT_ENCODING,
            header::ETAG,
        ] {
            head.headers.remove(name);
        }
        Ok(Response::from_parts(head, body::full(text)))
    }

    async fn page(&self, parts: Parts, target: Uri) -> Result<(response::Parts, Body), Error> {
        let passing = Passing::NO_GENERATION;
        let answer = self.forward(parts, target, body::empty(), passing).await?;
        Ok(answer.into_parts())
    }
}

/// A page; a large one is read on a thread that may take its time.
async fn read(head: &response::Parts, answer: Body) -> Result<Page, Error> {
    let whole = body::collect(answer, LARGEST).await;
    let whole = whole.map_err(|_| Error::ListUnreadable)?;
    if !head.status.is_success() {
        return Err(Error::ListUnreadable);
    }
    let large = whole.len() as u64 > AT_ONCE || coding::is_coded(&head.headers);
    let headers = head.headers.clone();
    let list = move || {
        let plain = coding::plain(&headers, &whole, LARGEST as u64)?;
        serde_json::from_slice(&plain).ok()
    };
    let list = apart(large, list).await;
    page(list.map_err(|_| Error::ListUnreadable)?)
}

fn page(list: Option<Value>) -> Result<Page, Error> {
    match list {
        Some(Value::Array(items)) => Ok(Page {
            items,
            more: false,
            envelope: None,
        }),
        Some(Value::Object(mut envelope)) => match envelope.remove("data") {
            Some(Value::Array(items)) => Ok(Page {
                items,
                more: envelope.get("has_more") == Some(&Value::Bool(true)),
                envelope: Some(envelope),
            }),
            Some(_) | None => Err(Error::ListUnreadable),
        },
        Some(_) | None => Err(Error::ListUnreadable),
    }
}

/// The list in the shape it came in.
fn listed(envelope: Option<Map<String, Value>>, own: Vec<Value>, more: bool) -> Value {
    let Some(mut envelope) = envelope else {
        return Value::Array(own);
    };
    let of = |item: Option<&Value>| item.and_then(id).map_or(Value::Null, Value::from);
    let (first, last) = (of(own.first()), of(own.last()));
    envelope.retain(|name, _| {
        matches!(
            name.as_str(),
            "object" | "first_id" | "last_id" | "has_more"
        )
    });
    for (name, value) in [
        ("first_id", first),
        ("last_id", last),
        ("has_more", Value::Bool(more)),
    ] {
        if let Some(place) = envelope.get_mut(name) {
            *place = value;
        }
    }
    envelope.insert("data".to_owned(), Value::Array(own));
    Value::Object(envelope)
}

/// The same question for what stands behind `id`.
fn after(target: &Uri, id: &str) -> Result<Uri, Error> {
    let query = target.query().unwrap_or_default();
    let others = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("after="));
    let after = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("after", id)
        .finish();
    let query: Vec<&str> = others.chain([after.as_str()]).collect();
    let next = format!("{}?{}", target.path(), query.join("&"));
    next.parse().map_err(|_| Error::ListUnreadable)
}

fn id(item: &Value) -> Option<&str> {
    ["id", "task_id"]
        .into_iter()
        .find_map(|name| item.get(name)?.as_str())
}

/// Whether every id of an item is this client's, and there is one.
fn is_own(store: &dyn Store, collection: Collection, client: &Client, item: &Value) -> bool {
    let mut ids = ["id", "task_id"]
        .into_iter()
        .filter_map(|name| item.get(name)?.as_str())
        .peekable();
    ids.peek().is_some()
        && ids.all(|id| {
            let owner = store.owner(&ThingKey::of(collection, id));
            owner.is_some_and(|owner| *owner == *client.name)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_keeps_its_shape_and_nothing_of_others() {
        let envelope = json!({"object": "list", "first_id": "a", "last_id": "z", "has_more": true, "total": 26});
        let Value::Object(envelope) = envelope else {
            panic!()
        };
        let own = vec![json!({"id": "k"}), json!({"id": "l"})];
        let list = listed(Some(envelope.clone()), own.clone(), false);
        let expected = json!({"object": "list", "data": own, "first_id": "k", "last_id": "l", "has_more": false});
        assert_eq!(list, expected);
        let none = listed(Some(envelope), Vec::new(), false);
        assert_eq!(none["first_id"], Value::Null);
        assert_eq!(listed(None, own.clone(), true), json!(own));
    }

    #[test]
    fn the_next_page_is_asked_for_like_the_first() {
        for (target, expected) in [
            ("/videos", "/videos?after=a%26b"),
            (
                "/videos?limit=2&after=x&order=asc",
                "/videos?limit=2&order=asc&after=a%26b",
            ),
        ] {
            let next = after(&target.parse().unwrap(), "a&b").unwrap();
            assert_eq!(next.to_string(), expected);
        }
    }
}
