//! One file over the wire and onto the disk.
//!
//! Its bytes are hashed and written as they come, a quarter of a megabyte at a time; what breaks off is
//! continued where it stopped, if the server proves that the file is still the same ([`part`]).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode, Version};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::part::{self, Part};
use super::sniff::{self, Kind, OPENING};
use super::way::{Arrived, Astray, Way};
use crate::message::{Body, headers};
use crate::store::{BlobWriter, Payload, Shelf};

/// How much is written at once, in bytes.
const PIECE: usize = 256 * 1024;

/// After this long an attempt ends; the next one goes on with what it brought. A host that sends a
/// byte now and then must not hold one of a few places for ever.
const LONGEST: Duration = Duration::from_mins(10);

/// The same for a file that could not be gone on with: it comes at once or not at all.
const LONGEST_AT_ONCE: Duration = Duration::from_hours(2);

/// The longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// A file that is kept, but not yet named by a record.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) payload: Payload,
    pub(super) kind: Kind,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Missed {
    /// Trying again does not help.
    Never(String),
    /// It may help, after the pause that the server asks for.
    Again(String, Option<Duration>),
}

/// A file that has come in part.
pub(super) struct Partial {
    blob: BlobWriter,
    /// Judged by its first bytes.
    kind: Option<Kind>,
    /// The size of the whole, if it was said.
    total: Option<u64>,
    content_type: Option<String>,
    file_name: String,
    validator: Option<HeaderValue>,
}

/// Fetches files.
pub(super) struct Fetcher {
    pub(super) way: Way,
    pub(super) shelf: Shelf,
    /// The largest file, in bytes.
    pub(super) max_file: u64,
    /// The disk that is left free, in bytes.
    pub(super) min_free: u64,
}

impl Fetcher {
    /// Fetches the file behind a link, or goes on with what `partial` holds of it; a file that
    /// breaks off is left there, if it can be gone on with.
    ///
    /// # Cancel safety
    /// Dropping it ends the connection, and forgets what had come.
    pub(super) async fn fetch(
        &self,
        link: &str,
        partial: &mut Option<Box<Partial>>,
    ) -> Result<Fetched, Missed> {
        let begun = Instant::now();
        let headers = part::asked(partial.as_deref().map(Partial::part).as_ref());
        let arrived = match timeout_at(begun + LONGEST, self.way.get(link, &headers)).await {
            Ok(arrived) => arrived?,
            Err(_) => return Err(again("it sent no answer in time")),
        };
        let (file, body) = self.begin(arrived, partial).await?;
        let longest = match file.validator {
            Some(_) => LONGEST,
            None => LONGEST_AT_ONCE,
        };
        let file = match self.copy(file, body, begun + longest).await {
            Ok(file) => file,
            Err((file, missed)) => {
                *partial = file.filter(|file| file.validator.is_some() && file.kind.is_some());
                return Err(missed);
            }
        };
        let Some(kind) = file.kind else {
            return Err(again("the answer is empty"));
        };
        let payload = self
            .shelf
            .finish_blob(file.blob)
            .await
            .map_err(|error| again(error.to_string()))?;
        Ok(Fetched { payload, kind })
    }

    /// Reads the head: of a new file, or of the rest of the one in `partial`, which is taken out.
    async fn begin(
        &self,
        arrived: Arrived,
        partial: &mut Option<Box<Partial>>,
    ) -> Result<(Box<Partial>, Body), Missed> {
        let (head, body) = arrived.answer.into_parts();
        let status = head.status;
        if !matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            let why = format!("it answered {}", status.as_u16());
            if status == StatusCode::RANGE_NOT_SATISFIABLE {
                *partial = None;
            }
            // What there is of the file stays for the next attempt: a host that is busy now sends
            // the rest later.
            return Err(Missed::Again(why, retry_after(&head.headers)));
        }
        check_coding(&head.headers, head.version)?;
        let file = match (status, partial.take()) {
            (StatusCode::PARTIAL_CONTENT, Some(file))
                if part::continues(&head.headers, &file.part()) =>
            {
                file
            }
            (StatusCode::PARTIAL_CONTENT, _) => {
                return Err(again("it sent another part than was asked for"));
            }
            _ => self.new_file(&head.headers, arrived.file_name).await?,
        };
        if file.total.is_some_and(|total| total > self.max_file) {
            return Err(too_large());
        }
        let free = self
            .shelf
            .free_bytes()
            .await
            .map_err(|error| again(error.to_string()))?;
        let rest = file.total.unwrap_or_default();
        let rest = rest.saturating_sub(file.blob.len());
        if free < self.min_free.saturating_add(rest) {
            return Err(again("the disk is too full for it, by cache.min_free"));
        }
        Ok((file, body))
    }

    async fn new_file(&self, head: &HeaderMap, file_name: String) -> Result<Box<Partial>, Missed> {
        let (blob, _) = self
            .shelf
            .new_blob(Vec::new())
            .await
            .map_err(|error| again(error.to_string()))?;
        Ok(Box::new(Partial {
            blob,
            kind: None,
            total: part::length(head),
            content_type: headers::text(head, "content-type").map(str::to_owned),
            file_name,
            validator: part::validator(head),
        }))
    }

    /// Writes the body to its end. What broke off comes back, unless the disk has lost it.
    async fn copy(
        &self,
        mut file: Box<Partial>,
        mut body: Body,
        deadline: Instant,
    ) -> Result<Box<Partial>, (Option<Box<Partial>>, Missed)> {
        let mut piece = BytesMut::new();
        loop {
            let ended = match timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    piece.extend_from_slice(&frame.into_data().unwrap_or_default());
                    None
                }
                Ok(Some(Err(error))) => Some(Err(again(format!("it broke off: {error}")))),
                Ok(None) => Some(Ok(())),
                Err(_) => Some(Err(again("it is slow, and is gone on with later"))),
            };
            // Too few bytes to judge say nothing, unless they are all there are.
            let judged = file.kind.is_some() || piece.len() >= OPENING;
            let is_good_end = matches!(ended, Some(Ok(())));
            let due = piece.len() >= PIECE || is_good_end || (ended.is_some() && judged);
            if due && !piece.is_empty() {
                let writing = self.write(file, piece.split().freeze()).await;
                file = writing.map_err(|missed| (None, missed))?;
            }
            match ended {
                None => {}
                Some(Err(missed)) => return Err((Some(file), missed)),
                Some(Ok(())) => return file.checked(),
            }
        }
    }

    async fn write(&self, mut file: Box<Partial>, piece: Bytes) -> Result<Box<Partial>, Missed> {
        if file.kind.is_none() {
            let opening = piece.get(..OPENING).unwrap_or(&piece);
            let kind = sniff::kind_of(opening, file.content_type.as_deref(), &file.file_name);
            file.kind = Some(kind.map_err(again)?);
        }
        if file.blob.len().saturating_add(piece.len() as u64) > self.max_file {
            return Err(too_large());
        }
        file.blob = self
            .shelf
            .write_blob(file.blob, piece)
            .await
            .map_err(|error| again(error.to_string()))?;
        Ok(file)
    }
}

impl Partial {
    fn part(&self) -> Part<'_> {
        Part {
            len: self.blob.len(),
            total: self.total,
            validator: self.validator.as_ref(),
        }
    }

    /// A file whose body has ended well, if it is as long as it was said to be.
    fn checked(self: Box<Self>) -> Result<Box<Self>, (Option<Box<Self>>, Missed)> {
        match self.total {
            Some(total) if total != self.blob.len() => {
                let why = format!("{} bytes came instead of {total}", self.blob.len());
                Err((Some(self), again(why)))
            }
            Some(_) | None => Ok(self),
        }
    }
}

/// Nothing is kept whose bytes are coded, or whose end looks the same whole and cut (RFC 9112
/// §6.3).
fn check_coding(headers: &HeaderMap, version: Version) -> Result<(), Missed> {
    let coding = headers::text(headers, "content-encoding").unwrap_or("identity");
    if !coding.trim().eq_ignore_ascii_case("identity") {
        return Err(again(format!("it is coded as {coding:.32}")));
    }
    let framed = version >= Version::HTTP_2
        || headers.contains_key(header::CONTENT_LENGTH)
        || headers.contains_key(header::TRANSFER_ENCODING);
    if framed {
        Ok(())
    } else {
        Err(again("its end cannot be told from a cut connection"))
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers::text(headers, "retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

fn too_large() -> Missed {
    Missed::Never("larger than media.max_file".to_owned())
}

fn again(why: impl Into<String>) -> Missed {
    Missed::Again(why.into(), None)
}

impl From<Astray> for Missed {
    fn from(astray: Astray) -> Self {
        match astray {
            Astray::Refused(refusal) => Self::Never(refusal.to_string()),
            Astray::Failed(why) => again(why),
        }
    }
}

/// Whether an answer's head shows that the link works.
pub(super) fn is_alive<B>(answer: &Response<B>) -> bool {
    let kind = headers::text(answer.headers(), "content-type").unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    let page = [
        "text/html",
        "application/json",
        "application/xml",
        "text/xml",
    ];
    answer.status().is_success() && !page.iter().any(|start| kind.starts_with(start))
}
