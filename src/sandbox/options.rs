//! What the sandbox is started with.

use std::str::FromStr;
use std::time::Duration;

/// How a sandbox behaves; the default is a quick, cheerful RelayDance that takes any key.
#[derive(Clone)]
pub struct Options {
    /// From a submit to the end of the job.
    pub job_time: Duration,
    /// The body of a submit's answer.
    pub submit_shape: SubmitShape,
    /// The body of a poll at `/v1/video/generations/{id}`.
    pub poll_shape: PollShape,
    /// How long a result link works, from the end of its run.
    pub link_lifetime: Duration,
    /// How long images, audio and chat take until the head of their answer.
    pub answer_time: Duration,
    /// The pause between two events of a stream.
    pub stream_gap: Duration,
    /// The only bearer key that is taken; any when `None`. A wrong one gets a 401 that repeats it in
    /// its message, as careless upstreams do.
    pub key: Option<String>,
    /// What result links start with, without a slash at the end; the sandbox's own address when `None`.
    pub public_url: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            job_time: Duration::from_secs(3),
            submit_shape: SubmitShape::OpenAi,
            poll_shape: PollShape::Captured,
            link_lifetime: Duration::from_hours(24),
            answer_time: Duration::ZERO,
            stream_gap: Duration::ZERO,
            key: None,
            public_url: None,
        }
    }
}

impl std::fmt::Debug for Options {
    // SECURITY: the key stays out, in case somebody develops with a real one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("job_time", &self.job_time)
            .field("submit_shape", &self.submit_shape)
            .field("poll_shape", &self.poll_shape)
            .field("link_lifetime", &self.link_lifetime)
            .field("answer_time", &self.answer_time)
            .field("stream_gap", &self.stream_gap)
            .field("key", &self.key.as_ref().map(|_| "***"))
            .field("public_url", &self.public_url)
            .finish()
    }
}

/// The three bodies that a RelayDance submit is known to answer with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubmitShape {
    /// `{"task_id","status":"submitted"}`, as its documentation says.
    Docs,
    /// The OpenAI video object, with `task_id` beside `id`.
    #[default]
    OpenAi,
    /// `{"task_id"}` and nothing else.
    Bare,
}

impl FromStr for SubmitShape {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "docs" => Ok(Self::Docs),
            "openai" => Ok(Self::OpenAi),
            "bare" => Ok(Self::Bare),
            other => Err(format!("`{other}` is not docs, openai or bare")),
        }
    }
}

/// The two bodies that a poll at `/v1/video/generations/{id}` is known to answer with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PollShape {
    /// The envelope that the live service sends: a row number as `id`, two statuses, "NN%".
    #[default]
    Captured,
    /// The flat object of the documentation.
    Docs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submit_shapes_by_word() {
        for (word, expected) in [
            ("docs", Some(SubmitShape::Docs)),
            ("openai", Some(SubmitShape::OpenAi)),
            ("bare", Some(SubmitShape::Bare)),
            ("OpenAI", None),
            ("", None),
        ] {
            assert_eq!(word.parse::<SubmitShape>().ok(), expected, "{word}");
        }
    }

    #[test]
    fn debug_hides_the_key() {
        let options = Options {
            key: Some("sk-canary".into()),
            ..Options::default()
        };
        assert!(!format!("{options:?}").contains("canary"));
    }
}
