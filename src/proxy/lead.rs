//! One paid call, from the intent to the record.
//!
//! It runs as a task of its own: the client that asked may leave at any moment, the call goes on,
//! and its answer is kept for the retry. In order:
//!
//! 1. room on the disk, and a durable intent, or nothing is sent;
//! 2. the request, once;
//! 3. the answer into the recording, shown to clients as far as it may be;
//! 4. the verdict: did it succeed, was nothing run, or does nobody know;
//! 5. the record and its line in the ledger, durable, before the answer's last byte is shown ([`keep`](super::keep),
//!    [`bill`](super::bill));
//! 6. the flight's end, for everyone who waits; only then the end of the answer, so that whoever has
//!    all of it and asks again does not board a flight that is over.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use tokio::time::Instant;

use super::admit::Admission;
use super::record::{self, Taken};
use super::verdict::Judged;
use super::{Proxy, Told};
use crate::books::{Books, Stake};
use crate::callbacks::Caller;
use crate::config::UnknownOutcome;
use crate::fault;
use crate::generation::{Collection, Identity, Kind};
use crate::message::body;
use crate::metrics::Sort;
use crate::once::{Ending, Failure, Lead, NotKept, Pledge};
use crate::store::{Intent, IntentState, StoreError};
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
    /// The request that it is run for.
    pub(super) told: Told,
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
pub(super) struct Call {
    /// MONEY: before the lead, so that in a panic the note is in doubt before the flight ends;
    /// otherwise somebody could board in between and find neither.
    pub(super) pledge: Option<Pledge>,
    /// Before the lead: whoever hears of the end may ask again at once.
    pub(super) admission: Admission,
    /// What is held for it, until it is known what became of that.
    pub(super) stake: Option<Stake>,
    pub(super) books: Arc<Books>,
    pub(super) lead: Lead,
    pub(super) run: Run,
    pub(super) started: Instant,
}

impl Proxy {
    /// Runs a generation to its end, whatever its clients do.
    ///
    /// # Cancel safety
    /// MONEY: never dropped while the process lives; it is a task that only the drain waits for.
    /// If the process dies, the intent stands.
    pub(super) async fn run(
        self: Arc<Self>,
        mut lead: Lead,
        run: Run,
        (admission, mut stake): (Admission, Stake),
    ) {
        fault::point("before-intent");
        let pledge = match self.prepare(&lead, &run, &stake).await {
            Ok(pledge) => pledge,
            Err(reason) => {
                drop((admission, stake));
                return lead.end(Ending::Failed(Failure::Store(reason)));
            }
        };
        fault::point("after-intent");
        lead.about_to_send();
        stake.sent(pledge.is_some());
        fault::point("before-send");
        let mut call = Call {
            lead,
            pledge,
            admission,
            stake: Some(stake),
            books: self.books.clone(),
            run,
            started: Instant::now(),
        };
        let answer = self.send(&mut call.run).await;
        let sort = Sort::Generation(call.run.kind);
        call.run.told.upstream(call.started.elapsed());
        if answer.is_ok() {
            self.metrics.upstream_head(sort, call.started.elapsed());
        }
        fault::point("after-send");
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return call.fail(error).await,
        };
        let taken = record::take((&self.shelf, &self.bodies), &call.lead, answer, &call.run).await;
        self.metrics.upstream_answer(sort, call.started.elapsed());
        fault::point("answer-whole");
        self.claim_taken(&call.run, &taken).await;
        match taken.judged.clone() {
            Judged::Success => Box::pin(self.keep(call, taken)).await,
            Judged::Refused => call.pass(taken).await,
            Judged::Unknown(reason) => call.doubt(taken, reason).await,
            Judged::Cut(reason) => call.cut(taken, reason).await,
        }
    }

    /// Nothing is sent unless it can be remembered.
    async fn prepare(
        &self,
        lead: &Lead,
        run: &Run,
        stake: &Stake,
    ) -> Result<Option<Pledge>, String> {
        let least = self.config.cache.min_free;
        let free = lead.free_bytes()?;
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
        let booking = self.books.check_writable().await;
        booking.map_err(|error| error.to_string())?;
        let policy = self.config.cache.policy(run.kind).unknown_outcome;
        if !run.is_pledged(policy) && !self.books.is_bounded(&run.client) {
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
            run: Some(stake.run()),
            usd: stake.expected(),
            extent: (run.kind == Kind::Video).then(|| stake.extent()),
            beside: Vec::new(),
            passed_by: None,
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
}

impl Call {
    /// No head came. Only when nothing was sent does the intent go.
    async fn fail(mut self, error: SendError) {
        let reason = error.to_string();
        if error.may_have_been_sent() {
            self.be_in_doubt(reason.clone()).await;
        } else {
            self.withdraw().await;
        }
        drop(self.admission);
        self.lead.end(Ending::Failed(match error {
            SendError::Unreachable(reason) => Failure::Unreachable(reason),
            SendError::Cut(_) | SendError::Client(_) => Failure::Cut(reason),
            SendError::TimedOut(_) | SendError::Stalled(_) => Failure::TimedOut(reason),
        }));
    }

    /// Upstream said no: its answer passes, and nothing of it stays. The intent goes before the
    /// answer does, since the client may ask again at once.
    async fn pass(mut self, taken: Taken) {
        self.withdraw().await;
        drop(self.admission);
        taken.end(self.lead, NotKept::Refused);
    }

    /// The answer is whole, and leaves open whether a run was paid for.
    async fn doubt(mut self, taken: Taken, reason: String) {
        self.be_in_doubt(reason).await;
        drop(self.admission);
        taken.end(self.lead, NotKept::Unknown);
    }

    /// The answer broke off after the run was accepted.
    async fn cut(mut self, taken: Taken, reason: String) {
        self.be_in_doubt(reason.clone()).await;
        drop(self.admission);
        self.lead.end(Ending::Failed(Failure::Cut(reason.clone())));
        taken.recorder.fail(&reason);
    }

    /// MONEY: the caller has what was paid for; the intent stands, so that nobody pays for the same
    /// again without being asked.
    pub(super) async fn not_kept(mut self, taken: Taken, error: &StoreError) {
        let key = self.lead.key().short();
        tracing::error!(key, %error, "an answer that was paid for could not be kept");
        let reason = format!("its answer could not be kept: {error}");
        self.be_in_doubt(reason).await;
        drop(self.admission);
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
