//! Waiting for a run, as its leader does and all who have joined it.

use http::Response;

use super::reply::{self, Status};
use super::{Error, Proxy};
use crate::books::Claim;
use crate::message::Body;
use crate::once::{Ending, Flight, NotKept, Query, Reason, Stage};

/// How one look at a flight ended for one who waits for it.
pub(super) enum Turn {
    Answer(Response<Body>),
    /// Nothing was sent by whoever led: somebody else may lead.
    Again,
}

/// Whose request was sent.
#[derive(Clone, Copy)]
pub(super) enum Role {
    Leader(Reason),
    Follower,
}

impl Role {
    fn stored(self) -> Status {
        match self {
            Self::Leader(reason) => Status::Stored(reason),
            Self::Follower => Status::Collapsed,
        }
    }

    fn passed(self, status: http::StatusCode, why: NotKept) -> Status {
        match (self, why) {
            (Self::Leader(reason), NotKept::StoreFailed) => Status::NotKept(reason),
            (Self::Leader(reason), NotKept::Refused | NotKept::Unknown) => {
                Status::Answered(reason, status)
            }
            (Self::Follower, _) => Status::Collapsed,
        }
    }
}

impl Proxy {
    /// Waits for a flight as everyone does who asked for it, its leader included.
    pub(super) async fn follow(
        &self,
        query: &Query,
        (flight, claim): (&Flight, &Claim),
        role: Role,
    ) -> Result<Turn, Error> {
        let first = matches!(role, Role::Leader(_));
        let waits = self.metrics.request_waits();
        let stage = flight.answer().await;
        drop(waits);
        self.note_joined(&stage, (role, claim));
        let (mut response, status) = match stage {
            Stage::Live(answer) => (reply::arriving(&answer, first, None), role.stored()),
            Stage::Ended(Ending::Kept { entry, answer }) => {
                let stored = (entry.record.status, &entry.record.headers);
                match reply::kept(&self.shelf, stored, &entry.body).await {
                    Ok(mut response) => {
                        if first {
                            reply::add_per_exchange(response.headers_mut(), &answer.headers);
                        }
                        (response, role.stored())
                    }
                    // It is kept, but its file cannot be opened now (too many are): the caller
                    // gets it from the recording.
                    Err(error) => {
                        tracing::warn!(%error, "a kept answer cannot be opened");
                        (reply::arriving(&answer, first, None), role.stored())
                    }
                }
            }
            Stage::Ended(Ending::Passed { answer, why }) => (
                reply::arriving(&answer, first, Some(why)),
                role.passed(answer.status, why),
            ),
            Stage::Ended(Ending::Failed(failure)) => {
                return Err(Error::of_failure(query.key, failure, query.unknown_outcome));
            }
            Stage::Ended(Ending::Declined {
                client: of,
                refusal,
            }) if *of == *claim.client => {
                return Err(refusal.into());
            }
            Stage::Ended(Ending::Released | Ending::Declined { .. }) | Stage::Waiting => {
                return Ok(Turn::Again);
            }
        };
        reply::mark(response.headers_mut(), status, None);
        Ok(Turn::Answer(response))
    }

    /// One who has followed to an answer was spared a run of its own.
    fn note_joined(&self, stage: &Stage, (role, claim): (Role, &Claim)) {
        match (role, stage) {
            (Role::Follower, Stage::Live(_)) => self.books.joined(claim, None),
            (Role::Follower, Stage::Ended(Ending::Kept { entry, .. })) => {
                self.books.joined(claim, entry.record.usd);
            }
            (Role::Leader(_) | Role::Follower, _) => {}
        }
    }
}
