//! One call to one address.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use jiff::Timestamp;

use super::Callbacks;
use crate::egress::{Destination, EgressError, Received};
use crate::message::{Body, body, headers};
use crate::store::DeliveryId;

/// From the connection to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of an answer is read, in bytes, and for how long: its status has said all.
const LARGEST: usize = 16 * 1024;
const READING: Duration = Duration::from_secs(2);

/// What came of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The receiver has it.
    Delivered,
    /// It makes no sense to try again: why.
    GivenUp(String),
    /// It went wrong.
    Again {
        why: String,
        /// How long the receiver asks to be left alone.
        asked: Option<Duration>,
    },
}

impl Callbacks {
    /// Calls `address`. SECURITY: what is said of it in words holds nothing but its origin.
    pub(super) async fn call(&self, id: &DeliveryId, address: &str, body: &str) -> Heard {
        let to = match Destination::parse(address) {
            Ok(to) => to,
            Err(refusal) => return Heard::GivenUp(refusal.to_string()),
        };
        let request = self.request(id, body);
        let rules = self.rules();
        let sent = tokio::time::timeout(PATIENCE, rules.egress.send(&to, request));
        match sent.await {
            Ok(Ok(answer)) => {
                let (head, rest) = answer.into_parts();
                // Its end is waited for only out of courtesy.
                let _ = tokio::time::timeout(READING, read(rest)).await;
                judge(head.status, &head.headers, self.means.clock.now())
            }
            Ok(Err(EgressError::Refused(refusal))) => Heard::GivenUp(refusal.to_string()),
            Ok(Err(error)) => again(error.to_string()),
            Err(_) => again(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    fn request(&self, id: &DeliveryId, body: &str) -> Request<Body> {
        let mut request = Request::new(body::full(body.to_owned()));
        *request.method_mut() = Method::POST;
        let id = webhook_id(id);
        let timestamp = self.means.clock.now().as_second();
        let mut sent = vec![
            ("webhook-id", id.clone()),
            ("webhook-timestamp", timestamp.to_string()),
        ];
        if let Some(signer) = &self.rules().signer {
            sent.push(("webhook-signature", signer.sign(&id, timestamp, body)));
        }
        let headers = request.headers_mut();
        for (name, value) in sent {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        let json = HeaderValue::from_static("application/json");
        headers.insert(CONTENT_TYPE, json);
        let agent = HeaderValue::from_static(concat!("reprise/", env!("CARGO_PKG_VERSION")));
        headers.insert(USER_AGENT, agent);
        request
    }
}

/// The same over retries and restarts: there is one delivery for each job and address.
fn webhook_id(id: &DeliveryId) -> String {
    format!("msg_{id}")
}

async fn read(mut rest: Received) {
    let mut seen = 0;
    while let Some(Ok(frame)) = rest.frame().await {
        seen += frame.data_ref().map_or(1, bytes::Bytes::len);
        if seen >= LARGEST {
            return;
        }
    }
}

fn judge(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Heard {
    if status.is_success() {
        return Heard::Delivered;
    }
    if status == StatusCode::GONE {
        return Heard::GivenUp("it answered 410: nobody is there any longer".to_owned());
    }
    let what = if status.is_redirection() {
        ", and redirects are not followed"
    } else {
        ""
    };
    Heard::Again {
        why: format!("it answered {}{what}", status.as_u16()),
        asked: retry_after(headers, now),
    }
}

fn again(why: String) -> Heard {
    Heard::Again { why, asked: None }
}

/// Seconds, or a date (RFC 9110 §10.2.3).
fn retry_after(all: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers::text(all, RETRY_AFTER.as_str())?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let date = Timestamp::try_from(date).ok()?;
    Duration::try_from(date.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn heard(status: u16, retry_after: &str) -> Heard {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(retry_after) {
            headers.insert(RETRY_AFTER, value);
        }
        judge(StatusCode::from_u16(status).unwrap(), &headers, NOW)
    }

    #[test]
    fn a_status_says_what_came_of_it() {
        for status in [200, 201, 204, 299] {
            assert_eq!(heard(status, "9"), Heard::Delivered);
        }
        assert!(matches!(heard(410, ""), Heard::GivenUp(_)));
        for status in [301, 307, 400, 401, 404, 429, 500, 503] {
            let Heard::Again { why, asked } = heard(status, "7") else {
                panic!("{status}")
            };
            assert!(why.contains(&status.to_string()), "{why}");
            assert_eq!(asked, Some(Duration::from_secs(7)));
        }
    }

    #[test]
    fn a_receiver_says_when_in_two_ways() {
        let asked = |text: &str| match heard(503, text) {
            Heard::Again { asked, .. } => asked,
            Heard::Delivered | Heard::GivenUp(_) => panic!("{text}"),
        };
        let wait = asked("Thu, 01 Jan 1970 00:10:00 GMT");
        assert_eq!(wait, Some(Duration::from_mins(10)));
        for text in ["", "soon", "-1", "Wed, 31 Dec 1969 00:00:00 GMT"] {
            assert_eq!(asked(text), None, "{text}");
        }
    }
}
