//! The answer of a paid call, taken down while it arrives.
//!
//! An event stream or a sound is shown to its clients as it comes, except for its end: the event
//! that ends a stream, the last byte of anything else. That is shown when the record is durable,
//! so nobody ever holds a complete answer that a crash could take back. Everything else (JSON) is
//! shown when it is whole and judged.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap};
use http::{Response, StatusCode, Version};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::bodies::Bodies;
use super::lead::Run;
use super::owners::Claiming;
use super::verdict::{self, AT_ONCE, Judged, LARGEST_JUDGED, apart};
use crate::fault;
use crate::generation::Kind;
use crate::generation::events::EventScanner;
use crate::message::coding::{self, Coding, Decoder};
use crate::message::headers;
use crate::once::{Lead, Live, Recorder};
use crate::store::Shelf;
use crate::upstream::Received;

/// The largest answer that is taken down: 2 GiB.
const LARGEST: u64 = 2 * 1024 * 1024 * 1024;

/// An answer that still arrives after this long is given up: upstream could keep a stream alive with
/// comments for ever, and nobody could end a call that belongs to no client.
const LONGEST: Duration = Duration::from_hours(6);

/// An answer that has arrived, whole or not.
pub(super) struct Taken {
    pub(super) answer: Arc<Live>,
    pub(super) recorder: Recorder,
    pub(super) judged: Judged,
    /// The id of the job that was submitted.
    pub(super) task: Option<String>,
}

/// How far an answer may be shown before it is judged.
pub(super) enum Showing {
    /// Not at all.
    Whole,
    /// All but the last byte.
    AllButLast,
    /// Up to the event that ends the stream.
    Events(Box<EventScanner>),
}

/// Takes an answer down to its end, showing what may be shown.
pub(super) async fn take(
    means: (&Shelf, &Bodies),
    lead: &Lead,
    response: Response<Received>,
    run: &Run,
) -> Taken {
    let (mut head, mut body) = response.into_parts();
    let framed = is_framed(head.version, &head.headers);
    let decoder = decoder(&mut head.headers);
    let coded = decoder.is_some();
    headers::remove_hop_by_hop(&mut head.headers);
    let mut recorder = Recorder::new(means.0.clone());
    let mut showing = Showing::of(head.status, &head.headers, run);
    let mut answer = Arc::new(Live {
        status: head.status,
        headers: head.headers,
        recording: recorder.recording().clone(),
    });
    if !matches!(showing, Showing::Whole) {
        lead.live(answer.clone());
    }
    fault::point("answer-head");
    let mut taking = Taking {
        recorder: &mut recorder,
        showing: &mut showing,
        deadline: Instant::now() + LONGEST,
        claiming: Claiming::of(means.0, run),
    };
    let broken = taking.all(&mut body, decoder).await.err();
    // JSON, event streams and content codings prove their own end; anything else has to be framed
    // (RFC 9112 §6.3).
    let end_is_sure = framed || coded || !matches!(showing, Showing::AllButLast);
    let (judged, task) = verdict::judge((run, means.1), &answer, (&recorder, &showing)).await;
    Taken {
        judged: at_the_end(judged, broken, (&mut answer, end_is_sure)),
        answer,
        recorder,
        task,
    }
}

/// MONEY: asked for plain; one that is coded all the same is undone, so that it can be judged, and
/// serves every client.
fn decoder(headers: &mut HeaderMap) -> Option<Decoder> {
    let decoder = Decoder::new(Coding::of(headers)?, LARGEST_JUDGED);
    coding::forget_coding(headers);
    Some(decoder)
}

/// What the answer says, by the way it ended.
fn at_the_end(
    judged: Judged,
    broken: Option<String>,
    (answer, end_is_sure): (&mut Arc<Live>, bool),
) -> Judged {
    match broken {
        Some(_) if nothing_ran(answer.status) => {
            *answer = without_length(answer);
            Judged::Refused
        }
        Some(how) => Judged::Cut(how),
        None if judged == Judged::Success && !end_is_sure => {
            Judged::Cut("its end cannot be told from a cut connection".to_owned())
        }
        None => judged,
    }
}

/// An answer that is being taken down.
struct Taking<'a> {
    recorder: &'a mut Recorder,
    showing: &'a mut Showing,
    deadline: Instant,
    /// What an event stream names, noted before it is shown.
    claiming: Option<Claiming<'a>>,
}

impl Taking<'_> {
    /// Takes all of it, or says how it broke off.
    async fn all(
        &mut self,
        body: &mut Received,
        mut decoder: Option<Decoder>,
    ) -> Result<(), String> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            if let Some(coded) = decoder.take() {
                decoder = Some(self.coded(coded, piece).await?);
            } else {
                self.piece(&piece).await?;
            }
        }
        match decoder {
            Some(mut decoder) => decoder.finish().map_err(|error| undecodable(&error)),
            None => Ok(()),
        }
    }

    async fn coded(&mut self, mut decoder: Decoder, piece: Bytes) -> Result<Decoder, String> {
        decoder.push(piece);
        loop {
            let large = self.recorder.recording().len() > AT_ONCE;
            let some = move || {
                let plain = if large {
                    batch(&mut decoder)
                } else {
                    decoder.step()
                };
                (decoder, plain)
            };
            let plain;
            (decoder, plain) = apart(large, some).await?;
            match plain.map_err(|error| undecodable(&error))? {
                Some(plain) if plain.is_empty() => {}
                Some(plain) => self.piece(&plain).await?,
                None => return Ok(decoder),
            }
        }
    }

    async fn piece(&mut self, piece: &Bytes) -> Result<(), String> {
        self.recorder
            .append(piece)
            .await
            .map_err(|error| error.to_string())?;
        fault::point("mid-answer");
        let len = self.recorder.recording().len();
        if len > LARGEST || Instant::now() > self.deadline {
            return Err(format!(
                "it did not end within {LARGEST} bytes and {LONGEST:?}"
            ));
        }
        match self.showing {
            Showing::Whole => {}
            Showing::AllButLast => self.recorder.show(len.saturating_sub(1)),
            Showing::Events(scanner) => {
                scanner.push(piece);
                if let Some(claiming) = self.claiming.take() {
                    self.claiming = claiming.look(piece).await;
                }
                self.recorder.show(scanner.safe_len());
            }
        }
        Ok(())
    }
}

fn undecodable(error: &std::io::Error) -> String {
    format!("its content coding cannot be undone: {error}")
}

/// What several steps say, at most a step more than 256 KiB.
fn batch(decoder: &mut Decoder) -> std::io::Result<Option<Bytes>> {
    const BATCH: usize = 256 * 1024;
    let mut plain = BytesMut::new();
    while let Some(step) = decoder.step()? {
        plain.extend_from_slice(&step);
        if plain.len() > BATCH {
            return Ok(Some(plain.freeze()));
        }
    }
    Ok((!plain.is_empty()).then(|| plain.freeze()))
}

impl Showing {
    /// Only what can be told to be a sound or an image by its type is not looked into: gateways
    /// send good JSON as `text/plain`, and what is paid for must not be misread.
    fn of(status: StatusCode, headers: &HeaderMap, run: &Run) -> Self {
        let content_type = headers::text(headers, "content-type").unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default();
        let essence = essence.trim().to_ascii_lowercase();
        let binary = match run.kind {
            Kind::Audio => {
                !essence.is_empty() && !essence.starts_with("text/") && !essence.ends_with("json")
            }
            Kind::Images => essence.starts_with("image/"),
            Kind::Video | Kind::Embeddings | Kind::Chat => false,
        };
        if !status.is_success() {
            Self::Whole
        } else if essence == "text/event-stream" {
            Self::Events(Box::new(EventScanner::new(&run.path)))
        } else if binary {
            Self::AllButLast
        } else {
            Self::Whole
        }
    }
}

/// Whether the message says where it ends (RFC 9112 §6.3): a body that ends with its connection
/// looks the same whole and cut.
fn is_framed(version: Version, headers: &HeaderMap) -> bool {
    version >= Version::HTTP_2
        || headers.contains_key(header::CONTENT_LENGTH)
        || headers.contains_key(header::TRANSFER_ENCODING)
}

/// Whether a status alone proves that nothing was run, however the body ends.
fn nothing_ran(status: StatusCode) -> bool {
    !status.is_success() && !matches!(status.as_u16(), 408 | 500 | 502 | 504 | 524)
}

/// A broken error answer passes as far as it came: its status proves that nothing ran.
fn without_length(answer: &Live) -> Arc<Live> {
    let mut headers = answer.headers.clone();
    headers.remove(header::CONTENT_LENGTH);
    Arc::new(Live {
        status: answer.status,
        headers,
        recording: answer.recording.clone(),
    })
}
