//! How much a request asks for: what its price depends on.
//!
//! Read in the pass that makes the fingerprint: [`Member`] says which members matter, [`Said`] holds
//! what they say, and [`Extent`] is what comes of it with every default filled in. Nothing here is
//! checked against what a model can do: upstream refuses what it cannot, and that costs nothing.

mod frame;
mod said;

use serde::{Deserialize, Serialize};

pub(super) use said::{Member, Said, Value};

/// Frames in a second of video, of every model that is paid by tokens (RelayDance).
const FPS: u32 = 24;

/// How good a picture is to be. OpenAI's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// `low`.
    Low,
    /// `medium`, and `standard`.
    Medium,
    /// `high`, and `hd`.
    High,
    /// The model's choice.
    #[default]
    Auto,
}

/// What a request says of its size, and the defaults for what it does not say. Every number is
/// bounded, whatever the request says.
///
/// Kept with running jobs: what an older version did not write takes its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extent {
    /// Frames of the clip, `fps` to a second.
    pub frames: u32,
    /// Frames in a second.
    pub fps: u32,
    /// Width of the clip or the picture in pixels.
    pub width: u32,
    /// Its height.
    pub height: u32,
    /// How many results are asked for (`n`), at least 1.
    pub count: u32,
    /// How good a picture is to be.
    pub quality: Quality,
    /// The most tokens that may come out, where the request says so.
    pub max_tokens: Option<u32>,
    /// Bytes of the request: a JSON body as it is, of a form what is no file.
    pub body: u64,
}

impl Extent {
    /// Seconds of the clip.
    pub fn seconds(&self) -> f64 {
        f64::from(self.frames) / f64::from(self.fps.max(1))
    }
}

/// A clip of five seconds at 720p: what is meant where a request for a video says nothing.
impl Default for Extent {
    fn default() -> Self {
        Said::default().extent(super::Kind::Video, None, 0)
    }
}

#[cfg(test)]
mod tests;
