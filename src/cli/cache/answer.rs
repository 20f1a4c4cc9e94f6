//! A long answer of a running proxy, piece by piece or line by line.

use bytes::{Bytes, BytesMut};
use http::Method;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::place::stopped;
use crate::cli::Failure;
use crate::cli::admin::{ANSWER, Admin};
use crate::cli::progress::Progress;
use crate::console::cache::News;
use crate::message::Body;

/// The longest line, in bytes: a thousand findings of a verification.
const LONGEST: usize = 16 * 1024 * 1024;

/// The answer, and how it may end early.
pub(super) struct Answer<'a> {
    admin: &'a Admin,
    stop: CancellationToken,
    body: Body,
    /// What has arrived and is not a whole line yet.
    rest: BytesMut,
    /// How much is kept at the proxy, in bytes; 0 when it does not say.
    pub(super) kept: u64,
}

impl<'a> Answer<'a> {
    /// Asks.
    ///
    /// # Errors
    /// When the proxy does not answer, or refuses.
    pub(super) async fn to(
        admin: &'a Admin,
        stop: &CancellationToken,
        (method, path): (Method, &str),
        sent: Body,
    ) -> Result<Self, Failure> {
        let late = || admin.failed(&format!("did not answer within {} s", ANSWER.as_secs()));
        let answer = tokio::select! {
            answer = tokio::time::timeout(ANSWER, admin.open(method, path, sent)) => {
                answer.map_err(|_| late())??
            }
            () = stop.cancelled() => return Err(stopped()),
        };
        let kept = answer.headers().get("reprise-kept-bytes");
        let kept = kept.and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Self {
            admin,
            stop: stop.clone(),
            kept: kept.unwrap_or(0),
            body: answer.into_body(),
            rest: BytesMut::new(),
        })
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When it breaks off, or nothing comes for long.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        let frame = tokio::select! {
            frame = tokio::time::timeout(ANSWER, self.body.frame()) => frame,
            () = self.stop.cancelled() => return Err(stopped()),
        };
        match frame {
            Err(_) => Err(self.admin.failed("fell silent")),
            Ok(None) => Ok(None),
            Ok(Some(Err(error))) => Err(self
                .admin
                .failed(&format!("broke off ({error}); its log may say why"))),
            Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
        }
    }

    /// The next line, without its end; `None` at the end.
    ///
    /// # Errors
    /// As [`piece`](Self::piece), and when a line has no end.
    pub(super) async fn line(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut searched = 0;
        loop {
            let new = self.rest.get(searched..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', new) {
                let mut line = self.rest.split_to(searched + at + 1);
                line.truncate(searched + at);
                return Ok(Some(line.freeze()));
            }
            searched = self.rest.len();
            if searched > LONGEST {
                return Err(self.admin.failed("gave an answer of another version"));
            }
            match self.piece().await? {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None if searched == 0 => return Ok(None),
                None => return Err(self.admin.failed("broke off in the middle of a line")),
            }
        }
    }

    /// Shows how far it is until it says what came of it.
    ///
    /// # Errors
    /// As [`line`](Self::line), and what the proxy says has gone wrong.
    pub(super) async fn news<T: DeserializeOwned>(
        mut self,
        mut progress: Progress,
    ) -> Result<T, Failure> {
        while let Some(line) = self.line().await? {
            match serde_json::from_slice(&line).map_err(|error| self.admin.strange(&error))? {
                News::Progress(done) => progress.to(done),
                News::Done(done) => return Ok(done),
                News::Failed(why) => return Err(Failure::Runtime(why)),
            }
        }
        Err(self.admin.failed("broke off before it was done"))
    }
}
