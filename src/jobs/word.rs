//! What one poll tells about the job it was for, and what it leaves open.

use std::time::Duration;

use http::StatusCode;

use super::answer::{PollAnswer, PollError};
use super::dialect::State;
use super::pace;

/// What came of a poll, for those who decide when to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It says how the job stands.
    Sign(Sign),
    /// 403: the gateway gives it by mistake to keys that are limited to certain models, so it says
    /// nothing; another path may be answered.
    Forbidden,
    /// Upstream speaks of this job, but says nothing of use: above all that it does not know it.
    Senseless,
    /// Nobody spoke of the job: no answer, no room, no key.
    Missed {
        /// How long upstream asked to be left alone.
        retry_after: Option<Duration>,
    },
}

/// How a job stands, as far as a change in it is a sign of life.
///
/// Only these two: the gateway touches its time stamps whenever it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sign {
    pub(super) state: State,
    /// In percent.
    pub(super) progress: Option<u8>,
}

impl Word {
    /// Reads what came of a poll of the job `task_id`.
    pub(super) fn of(
        answer: &Result<std::sync::Arc<PollAnswer>, PollError>,
        task_id: &str,
    ) -> Self {
        let Ok(answer) = answer else {
            return Self::Missed { retry_after: None };
        };
        if let Some(poll) = answer.about(task_id) {
            return Self::Sign(Sign {
                state: poll.state,
                progress: poll.progress,
            });
        }
        match answer.status {
            StatusCode::FORBIDDEN => Self::Forbidden,
            // The gateway's own words about a job that it cannot show.
            StatusCode::INTERNAL_SERVER_ERROR | StatusCode::NOT_IMPLEMENTED => Self::Senseless,
            // Also what stands before the gateway and cannot reach it: 520 to 527, 530.
            status if status.is_server_error() || is_wait(status) => Self::Missed {
                retry_after: pace::retry_after(&answer.headers),
            },
            _ => Self::Senseless,
        }
    }
}

fn is_wait(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    #[test]
    fn what_a_poll_tells() {
        let sign = |state, progress| Word::Sign(Sign { state, progress });
        let missed = |seconds: Option<u64>| Word::Missed {
            retry_after: seconds.map(Duration::from_secs),
        };
        let table = [
            (
                200,
                r#"{"task_id":"t","status":"queued"}"#,
                sign(State::Waiting, None),
            ),
            (
                200,
                r#"{"status":"running","progress":"30%"}"#,
                sign(State::Working, Some(30)),
            ),
            (
                200,
                r#"{"task_id":"t","status":"dreaming"}"#,
                sign(State::Unknown, None),
            ),
            (
                200,
                r#"{"task_id":"other","status":"failed"}"#,
                Word::Senseless,
            ),
            (200, "<html>", Word::Senseless),
            (400, r#"{"code":"task_not_exist"}"#, Word::Senseless),
            (404, "", Word::Senseless),
            (500, "", Word::Senseless),
            (501, "", Word::Senseless),
            (403, "", Word::Forbidden),
            (401, "", missed(Some(7))),
            (429, "", missed(Some(7))),
            (502, "<html>", missed(Some(7))),
            (503, "", missed(Some(7))),
            (504, "", missed(Some(7))),
            (520, "<html>", missed(Some(7))),
            (527, "<html>", missed(Some(7))),
            (530, "<html>", missed(Some(7))),
        ];
        for (status, body, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", "7".parse().unwrap());
            let status = StatusCode::from_u16(status).unwrap();
            let answer = PollAnswer::new(status, headers, Bytes::from_static(body.as_bytes()));
            assert_eq!(
                Word::of(&Ok(Arc::new(answer)), "t"),
                expected,
                "{status} {body}"
            );
        }
        assert_eq!(Word::of(&Err(PollError::Gone), "t"), missed(None));
    }
}
