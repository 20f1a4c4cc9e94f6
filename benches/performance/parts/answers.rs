//! What the upstream answers, byte for byte the same whenever it is asked for the same sort.

use bytes::Bytes;
use memchr::memmem;

/// How many events a ready stream has.
const EVENTS: usize = 50;

/// A sort of answer; the request names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// A chat answer of 1 KiB.
    Small,
    /// A chat answer of 200 KiB.
    Large,
    /// A picture in the answer itself, of 1 KiB in all.
    Picture,
}

impl Sort {
    /// The model that stands for it in a request.
    pub(crate) const fn model(self) -> &'static str {
        match self {
            Self::Small => "bench-small",
            Self::Large => "bench-large",
            Self::Picture => "bench-picture",
        }
    }

    /// The sort that a request's body asks for.
    pub(crate) fn asked_for(body: &[u8]) -> Self {
        let named = |sort: &Self| memmem::find(body, sort.model().as_bytes()).is_some();
        let sorts = [Self::Large, Self::Picture];
        sorts.into_iter().find(named).unwrap_or(Self::Small)
    }

    /// The whole answer.
    pub(crate) fn body(self) -> Bytes {
        match self {
            Self::Small => filled(CHAT, 1024),
            Self::Large => filled(CHAT, 200 * 1024),
            Self::Picture => filled(PICTURE, 1024),
        }
    }
}

const CHAT: [&str; 2] = [
    r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1793000000,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":""#,
    r#""},"finish_reason":"stop"}],"usage":{"prompt_tokens":40,"completion_tokens":200,"total_tokens":240}}"#,
];
const PICTURE: [&str; 2] = [
    r#"{"created":1793000000,"data":[{"b64_json":""#,
    r#""}],"usage":{"input_tokens":40,"output_tokens":200,"total_tokens":240}}"#,
];

/// Both ends with as much in between as makes `len` bytes.
fn filled([begin, end]: [&str; 2], len: usize) -> Bytes {
    let middle = "abcdefghij"
        .chars()
        .cycle()
        .take(len - begin.len() - end.len());
    Bytes::from(format!("{begin}{}{end}", middle.collect::<String>()))
}

/// What a question that costs nothing is answered with, of 1 KiB.
pub(crate) fn small() -> Bytes {
    filled([r#"{"object":"list","data":[{"id":""#, r#""}]}"#], 1024)
}

/// One event of a stream; about as long as those of a chat.
fn event(nth: usize) -> Bytes {
    Bytes::from(format!(
        "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"word {nth:04}\"}}}}]}}\n\n"
    ))
}

/// All events of a ready stream.
pub(crate) fn events() -> Vec<Bytes> {
    (0..EVENTS).map(event).collect()
}

/// A whole ready stream.
pub(crate) fn ready() -> Bytes {
    Bytes::from(events().concat())
}
