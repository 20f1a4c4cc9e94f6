//! Whether a client may: its limits are asked here, and nowhere else.
//!
//! - [`Proxy::count`] for every request below `/v1`, as soon as its client is known;
//! - [`Proxy::admit`] where a paid call is about to begin, and not before: behind the look at what
//!   is kept and under way, since hits, joins and polls are free. It gives an [`Admission`], which
//!   goes with the call to its end.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};

use super::auth::Client;
use super::{Error, Proxy};
use crate::books::{Claim, Stake};
use crate::generation::Fingerprint;
use crate::jobs::{End, Ends};
use crate::limits::{Limits, Refusal, Slot, Standing};
use crate::message::{Body, BodyError, body};
use crate::once::{Ending, Lead, Resolution, TaskId, Unresolved};
use crate::store::{Intent, Record, Store, StoreError, TaskState};

/// What a paid call holds of its client's limits. Given back when it is dropped, whatever ended the
/// call: a refusal, a failure, a cut, a panic.
pub(super) struct Admission {
    slot: Slot,
}

impl Admission {
    /// The call has submitted a job. To be called before anybody can hear of the job, since its end
    /// may be told at once.
    pub(super) fn for_job(&mut self, task_id: &str) {
        self.slot.for_job(task_id);
    }

    /// The answer is durable: a job holds from now on what its call held, and gives it back at its
    /// end.
    pub(super) fn kept(&mut self) {
        self.slot.stay();
    }

    /// The answer of a call that nobody takes down, which holds this to its last byte.
    pub(super) fn within(self, answer: Response<Body>) -> Response<Body> {
        answer.map(|body| {
            body::boxed(Held {
                // What has no body is over.
                admission: (!body.is_end_stream()).then_some(self),
                body,
            })
        })
    }
}

impl Proxy {
    /// Counts a request; `standing` is what its answer shall say of the limit, if there is one.
    ///
    /// # Errors
    /// When there were too many of this client in the last minute.
    pub(super) fn count(
        &self,
        client: &Client,
        standing: &mut Option<Standing>,
    ) -> Result<(), Error> {
        let counted = self.limits.request(&client.name);
        *standing = match &counted {
            Ok(standing) => *standing,
            Err(refusal) => refusal.standing(),
        };
        counted?;
        Ok(())
    }

    /// Asks whether a call may be paid for its client, and holds what it is estimated at.
    ///
    /// # Errors
    /// When one of its limits is reached: nothing is sent then, and nothing was counted. What can be
    /// given back is asked for before what cannot.
    pub(super) fn admit(&self, claim: &Claim) -> Result<(Admission, Stake), Refusal> {
        let open = || self.books.open(claim.clone());
        let (slot, stake) = self.limits.generation_with(&claim.client, open)?;
        Ok((Admission { slot }, stake))
    }

    /// As [`admit`](Self::admit), for one who may lead. Refused, it leads nobody: others may, while
    /// those of the same client hear what it hears.
    pub(super) fn admit_lead(
        &self,
        lead: Lead,
        claim: &Claim,
    ) -> Result<(Lead, (Admission, Stake)), Error> {
        match self.admit(claim) {
            Ok(admitted) => Ok((lead, admitted)),
            Err(refusal) => {
                lead.end(Ending::Declined {
                    client: claim.client.as_str().into(),
                    refusal: refusal.clone(),
                });
                Err(Error::Limited(refusal))
            }
        }
    }

    /// Counts the jobs that run since an earlier process. Those that cannot be read now are told by
    /// whoever follows jobs, as soon as they can.
    pub(super) async fn count_running_jobs(&self) {
        let limits = self.limits.clone();
        let looking = move |store: &dyn Store| {
            store.open_work(&mut |record| {
                if let Some(task) = &record.task
                    && task.state == TaskState::Running
                {
                    limits.jobs_running([(task.id.as_str(), record.client.as_str())]);
                }
                ControlFlow::Continue(())
            })
        };
        if let Err(error) = self.shelf.blocking(looking).await {
            tracing::warn!(%error, "there may be running jobs that count for no limit yet");
        }
    }

    /// Carries out what a person decided about an unknown outcome. A job that was found upstream is
    /// followed, and counted for its client.
    ///
    /// # Errors
    /// As [`Once::resolve`](crate::once::Once::resolve).
    ///
    /// # Cancel safety
    /// A decision that was begun is carried out whether or not anyone waits.
    pub(crate) async fn resolve(
        self: &Arc<Self>,
        key: Fingerprint,
        resolution: Resolution,
    ) -> Result<Intent, Unresolved> {
        let proxy = self.clone();
        let resolving = self.tasks.spawn(async move {
            let task = match &resolution {
                Resolution::Task(id) => Some(id.clone()),
                Resolution::Rerun | Resolution::Forget => None,
            };
            // Before the job is known, since its end may be told at once.
            let slot = proxy.slot_for_found(key, task.as_ref()).await?;
            let intent = proxy.once.resolve(key, resolution).await?;
            if let Some(mut slot) = slot {
                slot.stay();
            }
            // A job that was found is the run that the note was about, and goes on holding its money.
            let free = match &task {
                Some(_) => intent.beside.clone(),
                None => intent.stakes(),
            };
            proxy.books.give_back(&free);
            if let Some(task) = task {
                proxy.watch_job(task.as_str(), &intent.path);
            }
            Ok::<_, Unresolved>(intent)
        });
        let panicked = |error: tokio::task::JoinError| StoreError::Panicked(error.to_string());
        resolving.await.map_err(panicked)?
    }

    async fn slot_for_found(
        &self,
        key: Fingerprint,
        task: Option<&TaskId>,
    ) -> Result<Option<Slot>, StoreError> {
        let Some(task) = task else {
            return Ok(None);
        };
        let intent = self.shelf.intent(key).await?;
        Ok(intent.map(|intent| self.limits.job_found(task.as_str(), &intent.client)))
    }
}

/// Gives back what jobs hold.
pub(super) struct Leaving(pub(super) Arc<Limits>);

impl Ends for Leaving {
    fn ended(&self, end: &End) -> Result<(), StoreError> {
        self.0.job_ended(&end.task_id);
        Ok(())
    }

    fn gone(&self, task_id: &str) {
        self.0.job_ended(task_id);
    }

    fn found(&self, running: &[Record]) {
        let jobs = running.iter().filter_map(|record| {
            let task = record.task.as_ref()?;
            Some((task.id.as_str(), record.client.as_str()))
        });
        self.0.jobs_running(jobs);
    }
}

/// A body that holds an admission. Given back before the last byte is handed on: whoever has that
/// may ask again at once.
struct Held {
    body: Body,
    admission: Option<Admission>,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let over = match &frame {
            Some(Ok(_)) => self.is_end_stream() || self.size_hint().exact() == Some(0),
            Some(Err(_)) | None => true,
        };
        if over {
            self.admission = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};
    use http_body_util::{BodyExt, StreamBody};

    fn one_at_once() -> Arc<Limits> {
        let sources = Sources {
            data_dir: Some("/nowhere".into()),
            cwd: "/nowhere".into(),
            ..Sources::default()
        };
        let mut config = config::load(&sources).expect("defaults").config;
        config.limits.concurrent_generations = 1;
        Arc::new(Limits::new(&config))
    }

    fn held(limits: &Limits, body: Body) -> Body {
        let slot = limits.generation("local").expect("a slot");
        let answer = Admission { slot }.within(Response::new(body));
        answer.into_body()
    }

    #[tokio::test]
    async fn it_is_given_back_with_the_last_piece_and_not_before() {
        let limits = one_at_once();
        let pieces = [Ok(Bytes::from("one")), Ok(Bytes::from("two"))];
        let frames = pieces.map(|piece: Result<_, BodyError>| piece.map(Frame::data));
        let stream = StreamBody::new(futures_util::stream::iter(frames));
        let mut body = held(&limits, body::boxed(stream));
        for _ in 0..2 {
            assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
            assert_eq!(limits.under_way("local"), 1);
        }
        assert!(body.frame().await.is_none());
        assert_eq!(limits.under_way("local"), 0, "before its end is sent");
    }

    #[tokio::test]
    async fn a_body_of_known_length_gives_it_back_with_its_last_byte() {
        let limits = one_at_once();
        let mut body = held(&limits, body::full("all of it"));
        assert_eq!(limits.under_way("local"), 1);
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        assert_eq!(limits.under_way("local"), 0);
    }

    #[tokio::test]
    async fn whoever_leaves_or_has_no_body_gives_it_back() {
        let limits = one_at_once();
        let body = held(&limits, body::full("never read"));
        assert_eq!(limits.under_way("local"), 1);
        drop(body);
        assert_eq!(limits.under_way("local"), 0);
        let _empty = held(&limits, body::empty());
        assert_eq!(limits.under_way("local"), 0);
        let broken: Result<Frame<Bytes>, BodyError> = Err("it broke".into());
        let stream = StreamBody::new(futures_util::stream::iter([broken]));
        let mut body = held(&limits, body::boxed(stream));
        assert!(body.frame().await.is_some_and(|frame| frame.is_err()));
        assert_eq!(limits.under_way("local"), 0);
    }
}
