//! A generation: found, followed, or run.

use std::fs::File;
use std::sync::Arc;

use http::Response;

use super::asked::{Asked, Read, Wanted};
use super::follow::{Role, Turn};
use super::lead::Run;
use super::reply::{self, Status};
use super::shown;
use super::standing::Standing;
use super::{Error, Proxy};
use crate::books::Claim;
use crate::callbacks::Caller;
use crate::clock;
use crate::generation::Kind;
use crate::message::Body;
use crate::once::{Flight, Found, Lead};
use crate::store::Entry;

/// How often a request looks anew because what it found was forgotten.
const MOST_LOOKS: usize = 2;

impl Proxy {
    /// Answers a generation from what is kept, from a run under way, or by running it.
    ///
    /// # Errors
    /// When there is no answer to give; the error says whether money may have been spent.
    ///
    /// # Cancel safety
    /// The client may leave at any await: a run that was begun goes on without it.
    pub(super) async fn generate(
        self: &Arc<Self>,
        asked: Box<Asked>,
        body: Body,
    ) -> Result<Response<Body>, Error> {
        // One behind the other: who waits for an answer does not hold what reading the request took.
        match Box::pin(self.read(asked, body)).await? {
            Read::Wanted(wanted) => Box::pin(self.answer(wanted)).await,
            Read::Passed(response) => Ok(response),
        }
    }

    /// Answers it once it is known which one it is; the future of whoever waits for a run of it.
    pub(super) async fn answer(
        self: &Arc<Self>,
        mut wanted: Box<Wanted>,
    ) -> Result<Response<Body>, Error> {
        let caller = match wanted.asked.kind {
            Kind::Video => Box::pin(self.caller(&mut wanted)).await?,
            // Nothing else ends later than its answer.
            Kind::Images | Kind::Audio | Kind::Embeddings | Kind::Chat => None,
        };
        let caller = caller.as_ref();
        let query = wanted.query;
        let claim = Claim::new(
            &wanted.asked.client.name,
            wanted.asked.kind,
            &wanted.identity,
        );
        let mut looks = 0;
        // Made into a run only where one begins; what links begin with is kept from it then.
        let mut wanted = Some(wanted);
        let mut base = None;
        loop {
            let (flight, role) = match self.once.look_up(&query).await? {
                Found::Hit(entry, file) => {
                    let Some(entry) = self.good(entry, &mut looks).await? else {
                        continue;
                    };
                    self.note_caller(&entry, caller).await;
                    self.books.hit(&claim, entry.record.usd);
                    if !self.has_local_links(&entry.record) {
                        return Ok(self.hit(&entry, file));
                    }
                    let base = match &wanted {
                        Some(wanted) => self.base(&wanted.asked.parts),
                        None => base.unwrap_or_default(),
                    };
                    return Ok(Box::pin(self.hit_here(&entry, file, &base)).await);
                }
                Found::Joined(entry) => {
                    self.note_caller(&entry, caller).await;
                    self.books.joined(&claim, entry.record.usd);
                    return self.joined(&entry).await;
                }
                Found::Absent => return Err(Error::NotCached),
                Found::Follow(flight) => {
                    if let Some(wanted) = &mut wanted {
                        wanted.own();
                    }
                    (flight, Role::Follower)
                }
                Found::Lead(lead, reason) => {
                    let run = wanted.take().map(|wanted| {
                        base = Some(self.base(&wanted.asked.parts));
                        self.to_run(*wanted, caller)
                    });
                    let flight = self.lead(lead, run, &claim)?;
                    (flight, Role::Leader(reason))
                }
            };
            let leads = matches!(role, Role::Leader(_));
            let noted = self.note_after(&flight, caller, leads);
            if let Turn::Answer(response) = self.follow(&query, (&flight, &claim), role).await? {
                if let Some(noted) = noted {
                    // It only fails by a panic, which is reported by itself.
                    let _ = noted.await;
                }
                return Ok(response);
            }
        }
    }

    fn to_run(&self, wanted: Wanted, caller: Option<&Caller>) -> Run {
        Run {
            upstreams: self.upstreams(caller),
            made_in: self.made_in(&wanted.asked.parts, Some(&wanted.body)),
            ..wanted.into_run()
        }
    }

    /// What is to be shown of something kept; `None` when another look is due, of which there are few.
    async fn good(
        &self,
        entry: Arc<Entry>,
        looks: &mut usize,
    ) -> Result<Option<Arc<Entry>>, Error> {
        if !self.is_doubtful(&entry.record) {
            return Ok(Some(entry));
        }
        match Box::pin(self.standing(entry.clone())).await? {
            Standing::Good(entry) | Standing::Unsure(entry) => Ok(Some(entry)),
            // What takes its place has links of its own, which are young.
            Standing::Gone if *looks < MOST_LOOKS => {
                *looks += 1;
                Ok(None)
            }
            Standing::Gone => Ok(Some(entry)),
        }
    }

    /// Begins the run that everybody will wait for who asks for the same.
    ///
    /// `run` is none when it was begun before: a run that ended without sending, in a way nobody
    /// foresaw, is not tried again for the same request. It would end that way again.
    fn lead(
        self: &Arc<Self>,
        lead: Lead,
        run: Option<Run>,
        claim: &Claim,
    ) -> Result<Arc<Flight>, Error> {
        let run = run.ok_or_else(|| {
            let reason = "the run ended before it was sent";
            Error::StoreUnavailable(reason.to_owned())
        })?;
        let (lead, admitted) = self.admit_lead(lead, claim)?;
        let flight = lead.flight();
        // Boxed first: it is large, and moved several times on its way to the runtime.
        let running = Box::pin(self.clone().run(lead, run, admitted));
        self.tasks.spawn(running);
        Ok(flight)
    }

    fn hit(&self, entry: &Entry, file: Option<File>) -> Response<Body> {
        let stored = (entry.record.status, &entry.record.headers);
        self.marked(entry, reply::of_parts(stored, &entry.body, file))
    }

    /// A hit whose links lead to the files that are kept here, below `base`.
    async fn hit_here(&self, entry: &Entry, file: Option<File>, base: &str) -> Response<Body> {
        let stored = (entry.record.status, &entry.record.headers);
        let body = (entry.body.clone(), file);
        let (payload, file) = self.localized(&entry.record, base, body).await;
        let mut response = reply::of_parts(stored, &payload, file);
        if payload != entry.body {
            shown::drop_digests(response.headers_mut());
        }
        self.marked(entry, response)
    }

    fn marked(&self, entry: &Entry, mut response: Response<Body>) -> Response<Body> {
        let now = self.clock.now();
        self.shelf.used(&entry.record.key, now);
        let age = clock::age_seconds(now, entry.record.created_at);
        let status = Status::Hit(entry.record.key);
        reply::mark(response.headers_mut(), status, Some(age));
        response
    }

    /// The submit of a job that still runs is answered with what the first one was answered.
    async fn joined(&self, entry: &Entry) -> Result<Response<Body>, Error> {
        let stored = (entry.record.status, &entry.record.headers);
        let mut response = reply::kept(&self.shelf, stored, &entry.body).await?;
        let age = clock::age_seconds(self.clock.now(), entry.record.created_at);
        reply::mark(response.headers_mut(), Status::Collapsed, Some(age));
        Ok(response)
    }
}
