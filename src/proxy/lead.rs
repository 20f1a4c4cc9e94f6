//! One paid call, from the intent to the record.
//!
//! It runs as a task of its own: the client that asked may leave at any moment, the call goes on,
//! and its answer is kept for the retry. In order:
//!
//! 1. room on the disk, and a durable intent, or nothing is sent;
//! 2. the request, once;
//! 3. the answer into the recording, shown to clients as far as it may be;
//! 4. the verdict: did it succeed, was nothing run, or does nobody know;
//! 5. the record, durable, before the answer's last byte is shown;
//! 6. the flight's end, for everyone who waits; only then the end of the answer, so that whoever has
//!    all of it and asks again does not board a flight that is over.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use tokio::time::Instant;

use super::Proxy;
use super::record::{self, Taken};
use super::verdict::Judged;
use crate::callbacks::Caller;
use crate::config::UnknownOutcome;
use crate::fault;
use crate::generation::{Collection, Identity, Kind};
use crate::media::{links, medium};
use crate::message::body;
use crate::once::{Ending, Failure, Lead, NotKept, Pledge};
use crate::store::{self, Entry, Intent, IntentState, Record, StoreError, Task, TaskState};
use crate::upstream::{Received, Reuse, SendError};

/// A generation that is about to be paid for.
pub(super) struct Run {
    pub(super) kind: Kind,
    /// The client's path, beginning with `/v1/`.
    pub(super) path: String,
    /// Path and query below `/v1`, without credentials.
    pub(super) target: Uri,
    /// The client's headers, without credentials and directives.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) identity: Identity,
    pub(super) client: String,
    /// Whom upstream calls about its job.
    pub(super) upstreams: Option<Caller>,
    /// Where what it makes stands upstream, if its client alone is to have it.
    pub(super) made_in: Option<Collection>,
}

impl Run {
    /// Whether an outcome that nobody knows has to be remembered over a crash: for what costs
    /// most, and wherever the operator wants to be asked.
    fn is_pledged(&self, policy: UnknownOutcome) -> bool {
        match (self.kind, policy) {
            (Kind::Video | Kind::Images | Kind::Audio, _) | (_, UnknownOutcome::Ask) => true,
            (Kind::Embeddings | Kind::Chat, UnknownOutcome::Rerun) => false,
        }
    }
}

/// A paid call that has been sent, until its flight ends.
struct Call {
    /// MONEY: before the lead, so that in a panic the note is in doubt before the flight ends;
    /// otherwise somebody could board in between and find neither.
    pledge: Option<Pledge>,
    lead: Lead,
    run: Run,
    started: Instant,
}

impl Proxy {
    /// Runs a generation to its end, whatever its clients do.
    ///
    /// # Cancel safety
    /// MONEY: never dropped while the process lives; it is a task that only the drain waits for.
    /// If the process dies, the intent stands.
    pub(super) async fn run(self: Arc<Self>, mut lead: Lead, run: Run) {
        fault::point("before-intent");
        let pledge = match self.prepare(&lead, &run).await {
            Ok(pledge) => pledge,
            Err(reason) => return lead.end(Ending::Failed(Failure::Store(reason))),
        };
        fault::point("after-intent");
        lead.about_to_send();
        fault::point("before-send");
        let mut call = Call {
            lead,
            pledge,
            run,
            started: Instant::now(),
        };
        let answer = self.send(&mut call.run).await;
        fault::point("after-send");
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return call.fail(error).await,
        };
        let taken = record::take((&self.shelf, &self.bodies), &call.lead, answer, &call.run).await;
        fault::point("answer-whole");
        self.claim_taken(&call.run, &taken).await;
        match taken.judged.clone() {
            Judged::Success => self.keep(call, taken).await,
            Judged::Refused => call.pass(taken).await,
            Judged::Unknown(reason) => call.doubt(taken, reason).await,
            Judged::Cut(reason) => call.cut(taken, reason).await,
        }
    }

    /// Nothing is sent unless it can be remembered.
    async fn prepare(&self, lead: &Lead, run: &Run) -> Result<Option<Pledge>, String> {
        let least = self.config.cache.min_free;
        let free = self
            .shelf
            .free_bytes()
            .await
            .map_err(|error| error.to_string())?;
        if free < least {
            return Err(format!(
                "the disk of data_dir has {free} bytes left and cache.min_free asks for {least}; \
                 free some space, and what is kept is served meanwhile"
            ));
        }
        self.shelf
            .check_writable()
            .await
            .map_err(|error| error.to_string())?;
        if !run.is_pledged(self.config.cache.policy(run.kind).unknown_outcome) {
            return Ok(None);
        }
        let intent = Intent {
            key: lead.key(),
            kind: run.kind,
            path: run.path.clone(),
            model: run.identity.model.clone(),
            client: run.client.clone(),
            started_at: self.clock.now(),
            state: IntentState::Pending,
            reason: None,
        };
        let pledge = self.once.pledge(intent).await;
        pledge.map(Some).map_err(|error| error.to_string())
    }

    /// Hands the body over: a call that waits for its answer does not hold it any more.
    async fn send(&self, run: &mut Run) -> Result<Response<Received>, SendError> {
        let mut request = Request::new(body::full(mem::take(&mut run.body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = run.target.clone();
        *request.headers_mut() = run.headers.clone();
        let reuse = match run.kind {
            Kind::Video | Kind::Images | Kind::Audio => Reuse::Fresh,
            Kind::Embeddings | Kind::Chat => Reuse::Pooled,
        };
        self.upstream.send(request, reuse).await
    }

    /// The run succeeded: durable first, then the intent goes, then the last byte.
    async fn keep(&self, mut call: Call, mut taken: Taken) {
        fault::point("before-record");
        let entry = match self.entry(&call, &mut taken).await {
            Ok(entry) => entry,
            Err(error) => return call.not_kept(taken, &error).await,
        };
        fault::point("after-record");
        if let Some(task) = &entry.record.task {
            self.watch_job(&task.id, &entry.record.path);
        }
        self.archive.fetch_for(&entry.record);
        // Before anybody can join or hit, and have the same address called a second time.
        self.note_upstreams(&entry, call.run.upstreams.take()).await;
        // Before anybody hears of the end: who asks for a younger answer at once must not find the
        // note of a run that is over.
        if let Some(pledge) = call.pledge {
            pledge.settle().await;
        }
        fault::point("after-settle");
        let answer = taken.answer;
        call.lead.end(Ending::Kept { entry, answer });
        fault::point("after-flight");
        taken.recorder.end();
    }

    async fn entry(&self, call: &Call, taken: &mut Taken) -> Result<Arc<Entry>, StoreError> {
        let run = &call.run;
        let task = match run.kind {
            Kind::Video => taken.task.take(),
            Kind::Images | Kind::Audio | Kind::Embeddings | Kind::Chat => None,
        };
        let now = self.clock.now();
        let found = match run.kind {
            Kind::Images if self.config.media.archive => self.links_in(taken).await,
            _ => Vec::new(),
        };
        let mut record = Record {
            key: call.lead.key(),
            kind: run.kind,
            path: run.path.clone(),
            model: run.identity.model.clone(),
            client: run.client.clone(),
            status: taken.answer.status.as_u16(),
            headers: store::keepable(&taken.answer.headers),
            created_at: now,
            elapsed_ms: u64::try_from(call.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            usd: None,
            previous: None,
            media: Vec::new(),
            task: task.map(|id| Task {
                id,
                state: TaskState::Running,
                started_at: now,
                ended_at: None,
                total_tokens: None,
                polls: Vec::new(),
            }),
        };
        medium::want(&mut record, found);
        let entry = Entry {
            record,
            body: taken.recorder.payload().await?,
            polls: Vec::new(),
        };
        self.shelf.put(entry).await
    }

    /// The links in an answer that is whole. One that cannot be read back is kept all the same.
    async fn links_in(&self, taken: &Taken) -> Vec<String> {
        let whole = taken.recorder.whole(links::LARGEST as u64).await;
        let body = whole.ok().flatten().unwrap_or_default();
        let finding = tokio::task::spawn_blocking(move || links::find(&body));
        finding.await.unwrap_or_default()
    }
}

impl Call {
    /// No head came. Only when nothing was sent does the intent go.
    async fn fail(self, error: SendError) {
        let reason = error.to_string();
        match (self.pledge, error.may_have_been_sent()) {
            (Some(pledge), true) => pledge.doubt(reason.clone()).await,
            (Some(pledge), false) => withdraw(pledge).await,
            (None, _) => {}
        }
        self.lead.end(Ending::Failed(match error {
            SendError::Unreachable(reason) => Failure::Unreachable(reason),
            SendError::Cut(_) | SendError::Client(_) => Failure::Cut(reason),
            SendError::TimedOut(_) | SendError::Stalled(_) => Failure::TimedOut(reason),
        }));
    }

    /// Upstream said no: its answer passes, and nothing of it stays. The intent goes before the
    /// answer does, since the client may ask again at once.
    async fn pass(self, taken: Taken) {
        if let Some(pledge) = self.pledge {
            withdraw(pledge).await;
        }
        taken.end(self.lead, NotKept::Refused);
    }

    /// The answer is whole, and leaves open whether a run was paid for.
    async fn doubt(self, taken: Taken, reason: String) {
        if let Some(pledge) = self.pledge {
            pledge.doubt(reason).await;
        }
        taken.end(self.lead, NotKept::Unknown);
    }

    /// The answer broke off after the run was accepted.
    async fn cut(self, taken: Taken, reason: String) {
        if let Some(pledge) = self.pledge {
            pledge.doubt(reason.clone()).await;
        }
        self.lead.end(Ending::Failed(Failure::Cut(reason.clone())));
        taken.recorder.fail(&reason);
    }

    /// MONEY: the caller has what was paid for; the intent stands, so that nobody pays for the same
    /// again without being asked.
    async fn not_kept(self, taken: Taken, error: &StoreError) {
        let key = self.lead.key().short();
        tracing::error!(key, %error, "an answer that was paid for could not be kept");
        if let Some(pledge) = self.pledge {
            pledge
                .doubt(format!("its answer could not be kept: {error}"))
                .await;
        }
        taken.end(self.lead, NotKept::StoreFailed);
    }
}

impl Taken {
    /// Shows the whole answer to everybody, and ends the flight with it.
    fn end(self, lead: Lead, why: NotKept) {
        let answer = self.answer;
        lead.end(Ending::Passed { answer, why });
        self.recorder.end();
    }
}

async fn withdraw(pledge: Pledge) {
    if let Err(error) = pledge.withdraw().await {
        tracing::warn!(%error, "an intent could not be taken back; the next identical request is asked about it");
    }
}
