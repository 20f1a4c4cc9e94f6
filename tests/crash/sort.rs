//! One request of every sort that is kept in its own way.

use reprise::sandbox::Sandbox;
use serde_json::{Value, json};

use crate::books;
use crate::program::Launch;
use crate::visitor::{Answer, Call};

/// A sort of generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// A job.
    Video,
    /// JSON inside its record.
    Image,
    /// JSON as a blob.
    ImageInline,
    /// Shown while it arrives, all but its last byte.
    Speech,
    /// A blob that was too large for memory.
    SpeechLarge,
    Chat,
    /// Chat that shall be asked about, which makes it dear.
    ChatAsk,
    /// Events, shown while they arrive.
    ChatStream,
    Embedding,
}

pub(crate) const ALL: [Sort; 9] = [
    Sort::Video,
    Sort::Image,
    Sort::ImageInline,
    Sort::Speech,
    Sort::SpeechLarge,
    Sort::Chat,
    Sort::ChatAsk,
    Sort::ChatStream,
    Sort::Embedding,
];

impl Sort {
    /// Whether nobody runs it again without being asked.
    pub(crate) fn is_dear(self) -> bool {
        match self {
            Self::Video
            | Self::Image
            | Self::ImageInline
            | Self::Speech
            | Self::SpeechLarge
            | Self::ChatAsk => true,
            Self::Chat | Self::ChatStream | Self::Embedding => false,
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Video => "/v1/video/generations",
            Self::Image | Self::ImageInline => "/v1/images/generations",
            Self::Speech | Self::SpeechLarge => "/v1/audio/speech",
            Self::Chat | Self::ChatAsk | Self::ChatStream => "/v1/chat/completions",
            Self::Embedding => "/v1/embeddings",
        }
    }

    pub(crate) fn body(self, prompt: &str) -> Value {
        let said = json!([{"role": "user", "content": prompt}]);
        match self {
            Self::Video => json!({"model": "doubao-seedance-2-0-720p", "prompt": prompt}),
            Self::Image => json!({"model": "gpt-image-2", "prompt": prompt}),
            Self::ImageInline => {
                json!({"model": "gpt-image-2", "prompt": prompt, "response_format": "b64_json"})
            }
            Self::Speech | Self::SpeechLarge => json!({"model": "tts-1", "input": prompt}),
            Self::Chat | Self::ChatAsk => json!({"model": "grok-4.5", "messages": said}),
            Self::ChatStream => json!({"model": "grok-4.5", "messages": said, "stream": true}),
            Self::Embedding => json!({"model": "e", "input": prompt}),
        }
    }

    /// What its program is told beside the rest.
    pub(crate) fn configure(self, launch: &mut Launch) {
        // Of what has no price it would note the same.
        if self != Self::Embedding {
            let (name, value) = books::BUDGET;
            *launch = launch.with(name, value);
        }
        if self == Self::ChatAsk {
            *launch = launch.with("REPRISE_CACHE__CHAT__UNKNOWN_OUTCOME", "ask");
        }
    }

    pub(crate) fn call(self, prompt: &str) -> Call {
        Call::post(self.path(), &self.body(prompt))
    }

    /// What upstream has to be told for it.
    pub(crate) fn prepare(self, sandbox: &Sandbox) {
        let (content_type, body) = match self {
            Self::ImageInline => {
                let picture = json!({"b64_json": "QUJD".repeat(50_000)});
                let body = json!({"created": 1, "data": [picture]});
                ("application/json", body.to_string().into_bytes())
            }
            Self::SpeechLarge => {
                let sound = (0..2_500_000_u32).map(|at| (at % 251) as u8);
                ("audio/wav", sound.collect())
            }
            Self::Video
            | Self::Image
            | Self::Speech
            | Self::Chat
            | Self::ChatAsk
            | Self::ChatStream
            | Self::Embedding => return,
        };
        let route = format!("POST {}", self.path());
        let fault = sandbox.on(&route);
        fault.answer_billed(200, content_type, body).always();
    }

    /// Where the job of this answer is polled; nowhere when there is none.
    pub(crate) fn poll(self, answer: &Answer) -> Option<Call> {
        if self != Self::Video {
            return None;
        }
        let task = answer.json()["task_id"].as_str()?.to_owned();
        Some(Call::get(&format!("/v1/video/generations/{task}")))
    }
}

/// Whether a poll shows a job that succeeded.
pub(crate) fn succeeded(poll: &Answer) -> bool {
    poll.status == 200 && String::from_utf8_lossy(&poll.body).contains("SUCCESS")
}
