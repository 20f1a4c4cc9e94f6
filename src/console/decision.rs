//! What can be decided about an unknown outcome, as JSON.

use serde::{Deserialize, Serialize};

use crate::generation::{Fingerprint, Kind};
use crate::once::{Resolution, TaskId};

/// The body of `POST /api/jobs/{key}/resolve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// What is to be done.
    pub action: Action,
    /// The job that was found upstream; only with [`Action::Task`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
}

/// What is to be done about an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Let the next identical request run.
    Rerun,
    /// The same, because it was not run or nobody cares.
    Forget,
    /// Take up the job that was found upstream.
    Task,
}

/// What was done, as it is answered and as `reprise jobs resolve --json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The generation.
    pub key: Fingerprint,
    /// What it makes.
    pub kind: Kind,
    /// What was done.
    pub action: Action,
    /// The job that stands for it now; null when none does.
    pub task_id: Option<String>,
}

impl From<&Resolution> for Decision {
    fn from(resolution: &Resolution) -> Self {
        let (action, task_id) = match resolution {
            Resolution::Rerun => (Action::Rerun, None),
            Resolution::Forget => (Action::Forget, None),
            Resolution::Task(id) => (Action::Task, Some(id.as_str().to_owned())),
        };
        Self { action, task_id }
    }
}

impl Decision {
    /// The decision as it can be carried out.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn resolution(self) -> Result<Resolution, String> {
        match (self.action, self.task_id) {
            (Action::Rerun, None) => Ok(Resolution::Rerun),
            (Action::Forget, None) => Ok(Resolution::Forget),
            (Action::Task, Some(id)) => match id.parse::<TaskId>() {
                Ok(id) => Ok(Resolution::Task(id)),
                Err(error) => Err(format!("task_id: {error}.")),
            },
            (Action::Task, None) => Err("The action task needs a task_id.".to_owned()),
            (Action::Rerun | Action::Forget, Some(_)) => {
                Err("Only the action task takes a task_id.".to_owned())
            }
        }
    }

    /// What was done, once it is.
    pub fn done(self, key: Fingerprint, kind: Kind) -> Resolved {
        let Self { action, task_id } = self;
        Resolved {
            key,
            kind,
            action,
            task_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_read_strictly() {
        let task = || Resolution::Task("task_1".parse().unwrap());
        let table = [
            (r#"{"action":"rerun"}"#, Some(Resolution::Rerun)),
            (r#"{"action":"forget"}"#, Some(Resolution::Forget)),
            (
                r#"{"action":"forget","task_id":null}"#,
                Some(Resolution::Forget),
            ),
            (r#"{"action":"task","task_id":"task_1"}"#, Some(task())),
            (r#"{"action":"task"}"#, None),
            (r#"{"action":"task","task_id":"a/b"}"#, None),
            (r#"{"action":"rerun","task_id":"task_1"}"#, None),
            (r#"{"action":"Rerun"}"#, None),
            (r#"{"action":"rerun","force":true}"#, None),
            (r#"{"action":"rerun","action":"forget"}"#, None),
            ("{}", None),
            ("[]", None),
            ("", None),
        ];
        for (body, expected) in table {
            let read = serde_json::from_str::<Decision>(body)
                .ok()
                .and_then(|decision| decision.resolution().ok());
            assert_eq!(read, expected, "{body}");
        }
        for resolution in [Resolution::Rerun, Resolution::Forget, task()] {
            let decision = Decision::from(&resolution);
            let body = serde_json::to_string(&decision).unwrap();
            let back: Decision = serde_json::from_str(&body).unwrap();
            assert_eq!(back.resolution().unwrap(), resolution, "{body}");
        }
    }

    #[test]
    fn what_was_done_has_one_form() {
        let key = Fingerprint::from_bytes([0xab; 32]);
        let done = Decision::from(&Resolution::Rerun).done(key, Kind::Images);
        let expected =
            format!(r#"{{"key":"{key}","kind":"images","action":"rerun","task_id":null}}"#);
        assert_eq!(serde_json::to_string(&done).unwrap(), expected);
    }
}
