//! Browsers: the admin token exchanged for a session, so that no page holds the token.
//!
//! A session is a random value in a cookie that no script reads and no other site sends. It lives in
//! memory only, for half a day or until it is ended. SECURITY: a browser sends its cookie with what any
//! page has it ask for, and `SameSite` calls other ports of this machine the same site; so a request with
//! a cookie has to come from this very origin, and one that changes something has to prove it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::api::whole;
use super::refusal::Refusal;
use super::{Console, token_of};
use crate::message::{Body, body, headers};
use crate::proxy::{Error, Proxy, SECURE_SESSION, SESSION};

/// How long a session lives.
const LIFE: Duration = Duration::from_hours(12);
/// With more of them, the oldest goes.
const MOST: usize = 64;
/// So many wrong tokens are answered at once, each after such a pause.
const WRONG_AT_ONCE: usize = 2;
const PAUSE: Duration = Duration::from_millis(100);
/// So many wait for that, so that none waits longer than 1.6 s, a drain included; one more is not heard.
const WRONG_WAITING: usize = 32;

/// The sessions that stand.
#[derive(Debug)]
pub(super) struct Sessions {
    /// By the hash of their value: when they end.
    table: Mutex<HashMap<blake3::Hash, Instant>>,
    /// SECURITY: who guesses waits for his turn; who has the token does not, so it is the length of the
    /// token that keeps guesses from being right.
    wrong: Semaphore,
    /// Room to wait in.
    waiting: Semaphore,
}

#[derive(Deserialize)]
struct Login {
    token: String,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
            wrong: Semaphore::new(WRONG_AT_ONCE),
            waiting: Semaphore::new(WRONG_WAITING),
        }
    }
}

impl Sessions {
    /// Begins one, and gives back its value: 64 hexadecimal digits.
    fn begin(&self) -> Result<String, Refusal> {
        let mut random = [0; 32];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| Refusal::NoRandom)?;
        let value = blake3::Hash::from_bytes(random).to_hex().to_string();
        let now = Instant::now();
        let mut table = self.table();
        table.retain(|_, end| *end > now);
        let oldest = table.iter().min_by_key(|(_, end)| **end);
        if let Some(oldest) = oldest.map(|(hash, _)| *hash)
            && table.len() >= MOST
        {
            table.remove(&oldest);
        }
        table.insert(blake3::hash(value.as_bytes()), now + LIFE);
        Ok(value)
    }

    /// Whether one of the cookies is a session's. SECURITY: looked up by a hash, so that the time it
    /// takes says nothing about the value.
    fn holds(&self, sent: &HeaderMap) -> bool {
        let (table, now) = (self.table(), Instant::now());
        values(sent).any(|value| {
            let end = table.get(&blake3::hash(value.as_bytes()));
            end.is_some_and(|end| *end > now)
        })
    }

    fn end(&self, sent: &HeaderMap) {
        let mut table = self.table();
        for value in values(sent) {
            table.remove(&blake3::hash(value.as_bytes()));
        }
    }

    /// Lets who guesses wait, and says what he gets then. At most 20 wrong tokens in a second are told
    /// that they are wrong; who finds no room to wait is sent away at once.
    pub(super) async fn slow_down(&self) -> Refusal {
        let Ok(_room) = self.waiting.try_acquire() else {
            return Refusal::Guard(Error::TooManyGuesses);
        };
        // It fails only when it is closed, which nobody does.
        if let Ok(_turn) = self.wrong.acquire().await {
            tokio::time::sleep(PAUSE).await;
        }
        Refusal::NoToken
    }

    fn table(&self) -> MutexGuard<'_, HashMap<blake3::Hash, Instant>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Console {
    /// `POST /api/session` exchanges the token for a session, `DELETE` ends it.
    pub(super) async fn answer_session(
        &self,
        parts: &Parts,
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        if parts.method == Method::POST {
            let bytes = whole(body).await?;
            let login: Login = serde_json::from_slice(&bytes).map_err(|_| {
                Refusal::BadRequest("Send {\"token\":\"…\"} with the admin token.".to_owned())
            })?;
            if !self.is_token(&login.token) {
                return Err(self.sessions.slow_down().await);
            }
            let value = self.sessions.begin()?;
            return self.with_cookie(&value, LIFE);
        }
        if parts.method == Method::DELETE {
            self.admit(parts).await?;
            self.sessions.end(&parts.headers);
            return self.with_cookie("", Duration::ZERO);
        }
        Err(Refusal::Method(parts.method.to_string()))
    }

    /// Lets in who shows the token in `Authorization`, or a session that the console's own page has.
    ///
    /// # Errors
    /// When it is neither, or a cookie comes from anywhere else.
    pub(super) async fn admit(&self, parts: &Parts) -> Result<(), Refusal> {
        if let Some(token) = token_of(&parts.headers) {
            if self.is_token(token) {
                return Ok(());
            }
            return Err(self.sessions.slow_down().await);
        }
        if !self.sessions.holds(&parts.headers) {
            return Err(Refusal::NoToken);
        }
        if is_from_the_page(parts, Proxy::is_same_origin(parts)) {
            Ok(())
        } else {
            Err(Refusal::NotOurPage)
        }
    }

    fn with_cookie(&self, value: &str, life: Duration) -> Result<Response<Body>, Refusal> {
        let (name, secure) = if self.secure {
            (SECURE_SESSION, "; Secure")
        } else {
            (SESSION, "")
        };
        let life = life.as_secs();
        let cookie =
            format!("{name}={value}; Path=/; Max-Age={life}; HttpOnly; SameSite=Strict{secure}");
        let cookie = HeaderValue::try_from(cookie).map_err(|_| Refusal::NoRandom)?;
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        let fresh = HeaderValue::from_static("no-store");
        response.headers_mut().insert(header::CACHE_CONTROL, fresh);
        Ok(response)
    }
}

/// Whether a browser says that this very origin asks. To read, it may also not say who asks: browsers
/// that are old, and addresses typed in.
fn is_from_the_page(parts: &Parts, same_origin: bool) -> bool {
    let site = headers::text(&parts.headers, "sec-fetch-site");
    let has_origin = parts.headers.contains_key(header::ORIGIN);
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    match (site, has_origin) {
        (Some("same-origin"), false) => true,
        (Some("same-origin") | None, true) => same_origin,
        (Some("none") | None, false) => reads,
        (Some(_), _) => false,
    }
}

fn values(sent: &HeaderMap) -> impl Iterator<Item = &str> {
    sent.get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| [SESSION, SECURE_SESSION].contains(name))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn cookie(value: &str) -> HeaderMap {
        let mut sent = HeaderMap::new();
        let text = format!("a=b; {SESSION}={value}; c");
        sent.insert(header::COOKIE, HeaderValue::try_from(text).unwrap());
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_end_and_are_few() {
        let sessions = Sessions::default();
        let first = sessions.begin().unwrap();
        assert!(sessions.holds(&cookie(&first)));
        assert!(!sessions.holds(&cookie("")) && !sessions.holds(&HeaderMap::new()));
        sessions.end(&cookie(&first));
        assert!(!sessions.holds(&cookie(&first)));
        let old = sessions.begin().unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let some: Vec<_> = (0..MOST).map(|_| sessions.begin().unwrap()).collect();
        assert!(!sessions.holds(&cookie(&old)), "the oldest went");
        assert!(some.iter().all(|value| sessions.holds(&cookie(value))));
        tokio::time::advance(LIFE).await;
        assert!(!sessions.holds(&cookie(&some[0])), "it has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_take_their_time() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let guesses = (0..20).map(|_| sessions.slow_down());
        futures_util::future::join_all(guesses).await;
        assert_eq!(start.elapsed(), PAUSE * 10);
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_beyond_the_room_to_wait_do_not_wait() {
        let sessions = Sessions::default();
        let start = Instant::now();
        let guesses = (0..50).map(|_| async {
            let refusal = sessions.slow_down().await;
            (refusal.response(), start.elapsed())
        });
        let answers = futures_util::future::join_all(guesses).await;
        assert!(start.elapsed() <= PAUSE * 16, "a drain waits no longer");
        let (sent_away, heard): (Vec<_>, Vec<_>) = answers
            .into_iter()
            .partition(|(answer, _)| answer.status() == StatusCode::TOO_MANY_REQUESTS);
        assert_eq!((sent_away.len(), heard.len()), (18, WRONG_WAITING));
        for (answer, took) in sent_away {
            assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
            assert_eq!(took, Duration::ZERO);
        }
        for (answer, took) in heard {
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            assert!(took >= PAUSE);
        }
        assert!(matches!(sessions.slow_down().await, Refusal::NoToken));
    }

    #[test]
    fn a_cookie_counts_from_its_own_page_only() {
        for (method, site, origin, same, expected) in [
            ("POST", Some("same-origin"), true, true, true),
            ("POST", Some("same-origin"), false, false, true),
            ("POST", None, true, true, true),
            ("POST", None, true, false, false),
            ("POST", None, false, false, false),
            ("POST", Some("none"), false, false, false),
            ("POST", Some("same-site"), true, true, false),
            ("DELETE", Some("cross-site"), false, false, false),
            ("GET", Some("same-origin"), false, false, true),
            ("GET", Some("none"), false, false, true),
            ("GET", None, false, false, true),
            ("GET", Some("same-site"), false, false, false),
            ("GET", None, true, false, false),
        ] {
            let mut request = Request::builder().method(method);
            if let Some(site) = site {
                request = request.header("sec-fetch-site", site);
            }
            if origin {
                request = request.header("origin", "http://some");
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let judged = is_from_the_page(&parts, same);
            assert_eq!(judged, expected, "{method} {site:?} {origin} {same}");
        }
    }
}
