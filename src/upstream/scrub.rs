//! The upstream key, should an answer show it, replaced before anybody sees it.
//!
//! Some upstreams repeat a wrong key in the message of a 401, and debugging aids mirror a request's
//! headers. Where an answer would show the key, `***` stands there; nothing else in it changes.
//! What upstream has coded is looked into where it is short: if it shows the key, it is sent plain.

mod sieve;

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Extensions, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::ext::ReasonPhrase;
use secrecy::{ExposeSecret, SecretString};

use crate::message::coding::{self, Coding};
use crate::message::{BodyError, headers};
use sieve::{Needle, Sieve};

/// The shortest key that is looked for. A shorter one is no real key, and would be found in words
/// that have nothing to do with it: looking for `test` would mangle answers.
const SHORTEST: usize = 8;

/// A body that says its length and is at most this long is looked at whole before its head goes
/// on, so that the length can be corrected: 64 KiB. A longer one keeps its length.
const WHOLE: u64 = 64 * 1024;

/// What is longer than this in its plain form is not looked into behind its content coding.
const PLAIN: u64 = 1024 * 1024;

/// Takes the key out of answers. No `Debug`: it holds the key.
pub(super) struct Scrub(Option<Arc<Needle>>);

/// An answer's body without the key in it.
pub struct Scrubbed<B> {
    source: Source<B>,
    sieve: Option<Sieve>,
    ready: VecDeque<Frame<Bytes>>,
}

enum Source<B> {
    Arriving(B),
    /// It broke off, which is still to be said.
    Broken {
        error: BodyError,
        paused: bool,
    },
    /// Nothing more comes.
    Ended,
}

/// What a coded body shows when its coding is undone.
enum Uncovered {
    /// No key.
    Clean,
    /// It showed the key; the plain form stands in its place, which is so many bytes long.
    Replaced(usize),
    /// It cannot be said: it is damaged, not whole, or too long.
    Unknown,
}

impl<B> Source<B> {
    /// Ends it, and gives out the error that is still to be said.
    fn end(&mut self) -> Option<BodyError> {
        match mem::replace(self, Self::Ended) {
            Self::Broken { error, .. } => Some(error),
            Self::Arriving(_) | Self::Ended => None,
        }
    }
}

impl Scrub {
    /// Looks for `key`, unless it is shorter than 8 bytes.
    pub(super) fn new(key: &SecretString) -> Self {
        let key = key.expose_secret().as_bytes();
        Self((key.len() >= SHORTEST).then(|| Arc::new(Needle::new(key))))
    }

    /// The same answer without the key in its headers, its body and its trailers.
    ///
    /// Waits for a body that says it is short, and for the first 64 KiB of an error in a content
    /// coding; any other goes through as it arrives.
    ///
    /// A coded body that can be undone is never changed in its coded form: that would damage it.
    ///
    /// # Cancel safety
    /// Dropping the future drops the answer.
    pub(super) async fn clean<B>(&self, response: Response<B>) -> Response<Scrubbed<B>>
    where
        B: Body<Data = Bytes, Error = BodyError> + Unpin,
    {
        let Some(needle) = &self.0 else {
            return response.map(|body| Scrubbed::new(body, None));
        };
        let (mut head, body) = response.into_parts();
        clean_headers(needle, &mut head.headers);
        clean_reason(needle, &mut head.extensions);
        let length = body.size_hint().exact();
        let sieve = match length {
            Some(length) if length > WHOLE => Sieve::of_same_length(needle.clone()),
            Some(_) | None => Sieve::of_three_stars(needle.clone()),
        };
        let mut body = Scrubbed::new(body, None);
        let is_short = length.is_some_and(|length| length <= WHOLE);
        let is_error = head.status.is_client_error() || head.status.is_server_error();
        if let Some(coding) = Coding::of(&head.headers).filter(|_| is_short || is_error) {
            body.arrive(if is_short { u64::MAX } else { WHOLE }).await;
            match body.uncover(coding, needle) {
                Uncovered::Clean => return Response::from_parts(head, body),
                Uncovered::Replaced(length) => {
                    coding::forget_coding(&mut head.headers);
                    let length = HeaderValue::from(length);
                    head.headers.insert(header::CONTENT_LENGTH, length);
                    return Response::from_parts(head, body);
                }
                Uncovered::Unknown => {}
            }
        }
        body.look_through(sieve);
        if is_short {
            body.arrive(u64::MAX).await;
            if let Some(length) = body.corrected_length() {
                let length = HeaderValue::from(length);
                if let Some(told) = head.headers.get_mut(header::CONTENT_LENGTH) {
                    *told = length;
                }
            }
        }
        Response::from_parts(head, body)
    }
}

fn clean_headers(needle: &Needle, headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        let Some(clean) = needle.replaced(value.as_bytes()) else {
            continue;
        };
        *value = HeaderValue::from_bytes(&clean).unwrap_or(HeaderValue::from_static("***"));
    }
}

/// The words behind an HTTP/1.1 status are upstream's own, and are passed on.
fn clean_reason(needle: &Needle, extensions: &mut Extensions) {
    let reason = extensions.get::<ReasonPhrase>();
    if let Some(clean) = reason.and_then(|reason| needle.replaced(reason.as_bytes())) {
        extensions.remove::<ReasonPhrase>();
        if let Ok(clean) = ReasonPhrase::try_from(clean) {
            extensions.insert(clean);
        }
    }
}

impl<B> Scrubbed<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    fn new(body: B, sieve: Option<Sieve>) -> Self {
        Self {
            source: Source::Arriving(body),
            sieve,
            ready: VecDeque::new(),
        }
    }

    /// Waits for all of it, for the error that it ends with, or for more than so many bytes.
    async fn arrive(&mut self, enough: u64) {
        while self.waiting() <= enough
            && let Source::Arriving(body) = &mut self.source
        {
            let frame = body.frame().await;
            self.take(frame);
        }
    }

    /// Puts the plain form in the place of a whole coded body that shows the key.
    fn uncover(&mut self, coding: Coding, needle: &Needle) -> Uncovered {
        if !matches!(self.source, Source::Ended) {
            return Uncovered::Unknown;
        }
        let data = self.ready.iter().filter_map(Frame::data_ref);
        let coded: Vec<u8> = data.flat_map(|piece| piece.iter().copied()).collect();
        let Some(plain) = coding::decoded(coding, &coded.into(), PLAIN) else {
            return Uncovered::Unknown;
        };
        let clean = needle.replaced(&plain);
        let length = clean.as_ref().map(Vec::len);
        let seen = mem::take(&mut self.ready).into_iter();
        let seen = seen.filter(|frame| clean.is_none() || frame.is_trailers());
        let seen: Vec<_> = seen
            .map(|frame| clean_trailers(Some(needle), frame))
            .collect();
        let plain = clean.map(|clean| Frame::data(clean.into()));
        self.ready = plain.into_iter().chain(seen).collect();
        length.map_or(Uncovered::Clean, Uncovered::Replaced)
    }

    /// Looks for the key from now on, and in what has arrived.
    fn look_through(&mut self, sieve: Sieve) {
        self.sieve = Some(sieve);
        for frame in mem::take(&mut self.ready) {
            self.take(Some(Ok(frame)));
        }
        match self.source {
            Source::Arriving(_) => {}
            Source::Broken { .. } => self.sieve = None,
            Source::Ended => self.take(None),
        }
    }

    /// The length in bytes of a body that arrived whole and had the key in it.
    fn corrected_length(&self) -> Option<u64> {
        let changed = self.sieve.as_ref().is_some_and(Sieve::has_found);
        let whole = matches!(self.source, Source::Ended);
        (changed && whole).then(|| self.waiting())
    }

    /// Makes of what arrived what may be seen of it.
    fn take(&mut self, frame: Option<Result<Frame<Bytes>, BodyError>>) {
        let seen = &mut self.ready;
        let mut emit = |piece| seen.push_back(Frame::data(piece));
        match frame {
            Some(Ok(frame)) => match (frame.into_data(), &mut self.sieve) {
                (Ok(piece), Some(sieve)) => sieve.push(piece, &mut emit),
                (Ok(piece), None) => emit(piece),
                (Err(other), Some(sieve)) => {
                    sieve.finish(&mut emit);
                    seen.push_back(clean_trailers(Some(sieve.needle()), other));
                }
                (Err(other), None) => seen.push_back(clean_trailers(None, other)),
            },
            // SECURITY: what is held back is the beginning of the key, cut off; it is dropped with
            // the end that never came.
            Some(Err(error)) => {
                self.sieve = None;
                self.source = Source::Broken {
                    error,
                    paused: false,
                };
            }
            None => {
                if let Some(sieve) = &mut self.sieve {
                    sieve.finish(&mut emit);
                }
                self.source = Source::Ended;
            }
        }
    }

    fn held(&self) -> usize {
        self.sieve.as_ref().map_or(0, Sieve::held)
    }

    /// How many bytes may be seen already.
    fn waiting(&self) -> u64 {
        let data = self.ready.iter().filter_map(Frame::data_ref);
        data.map(|piece| piece.len() as u64).sum()
    }
}

fn clean_trailers(needle: Option<&Needle>, frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            headers::remove_misplaced(&mut trailers);
            if let Some(needle) = needle {
                clean_headers(needle, &mut trailers);
            }
            Frame::trailers(trailers)
        }
        Err(other) => other,
    }
}

impl<B> Body for Scrubbed<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            match &mut self.source {
                Source::Arriving(body) => {
                    let frame = ready!(Pin::new(body).poll_frame(context));
                    self.take(frame);
                }
                // hyper throws away what it has not written when an error follows at once; a client
                // is to see what came, and that it broke off.
                Source::Broken { paused, .. } if !*paused => {
                    *paused = true;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Source::Broken { .. } | Source::Ended => {
                    return Poll::Ready(self.source.end().map(Err));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let over = match &self.source {
            Source::Arriving(body) => body.is_end_stream(),
            Source::Broken { .. } => false,
            Source::Ended => true,
        };
        over && self.ready.is_empty() && self.held() == 0
    }

    /// Whoever writes the answer takes the framing from this: exact only where it will be true.
    fn size_hint(&self) -> SizeHint {
        let to_come = match &self.source {
            Source::Arriving(body) => body.size_hint().exact(),
            Source::Broken { .. } => None,
            Source::Ended => Some(0),
        };
        match to_come {
            Some(bytes) => SizeHint::with_exact(bytes + self.waiting() + self.held() as u64),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
