//! What is being paid for.
//!
//! Pure rules over bytes, in the order in which a request meets them:
//!
//! 1. [`kind`] says which requests are generations, on a path that [`path`] has made plain.
//! 2. [`request`] gives a generation its name, a [`Fingerprint`]: two requests with the same one
//!    are the same generation. [`query`] takes the credential out of it; `json` and `multipart`
//!    read the body by its meaning; `left_out` lists what does not change the result, which
//!    `metadata` cuts out of a text. The same pass notes how much is asked for, its [`Extent`];
//!    `raw` finds that in a body that has no meaning here and may have one upstream.
//! 3. [`outcome`] says whether an answer is worth keeping. [`events`] follows an event stream to
//!    its end, [`task`] reads the id and the [`state`] of a video job.
//! 4. [`run`] names one run, by the time it was asked for.
//! 5. [`thing`] says which things of its account upstream is asked for, and which were made: whose they
//!    are is for others to know. `strings` finds ids in a text, or in its beginning.

pub mod events;
pub mod extent;
mod facts;
pub mod fingerprint;
mod json;
pub mod kind;
mod left_out;
mod marks;
mod metadata;
mod multipart;
pub mod outcome;
pub mod path;
mod percent;
pub mod query;
mod raw;
pub mod request;
pub mod run;
pub mod state;
mod strings;
pub mod task;
pub mod thing;
mod top;

pub use extent::{Extent, Quality};
pub use fingerprint::Fingerprint;
pub use kind::{Kind, classify};
pub use outcome::judge;
pub use path::{escapes_root, has_nul};
pub(crate) use percent::decode as percent_decoded;
pub use query::{key_of, without_key};
pub use raw::LONGEST_PLAIN;
pub use request::{Identity, Request};
pub use run::{asked_at, new_run};
pub use thing::{Collection, Thing, ThingKey};
pub(crate) use top::{is_called, members as json_members};
