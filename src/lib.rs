//! Reprise: a local, OpenAI-compatible caching proxy for an API that is paid for by the run.
//!
//! # The life of a request
//!
//! 1. [`server`] accepts, and gives everything below `/v1` to [`proxy`], `/api` to [`console`].
//! 2. [`proxy`] lets the client in, takes its credentials out, and asks [`generation`] what the
//!    request is.
//! 3. A generation has a [`generation::Fingerprint`]; [`once`] says whether it is kept, under way,
//!    or to be run. A run goes on without its client, and [`store`] has its answer durably before
//!    anyone has all of it.
//! 4. A poll of a video job goes to [`jobs`], everything else through [`upstream`] as it came.
//! 5. A link to a kept file (`/media/…`) is answered by [`media`], and needs no client key.
//!
//! # The rooms
//!
//! | room | what it is about |
//! | --- | --- |
//! | [`cli`] | the commands |
//! | [`app`] | wiring: a configuration becomes something that serves and drains |
//! | [`server`] | connections and routes |
//! | [`console`] | the admin API |
//! | [`proxy`] | the life of a request |
//! | [`books`] | the money of every run: held, booked, given back |
//! | [`callbacks`] | who hears of the end of a job, and how |
//! | [`once`] | paying once: flights, leads, recordings, intents |
//! | [`jobs`] | video jobs: every shape of their answers, and polls |
//! | [`media`] | what results link to: links found and rewritten, files fetched, kept and served |
//! | [`upstream`] | the way to the API, and the only one with the real key |
//! | [`egress`] | the way to addresses that answers and clients name: checked, without a key |
//! | [`limits`] | how much a client may use: by the minute, at once, and in dollars |
//! | [`ledger`] | what was paid and what was saved, a line for each generation |
//! | [`store`] | what is kept: files are the truth, sled is their index |
//! | [`metrics`] | what is counted for whoever watches, and the page that shows it |
//! | [`price`] | what generations cost; pure |
//! | [`generation`] | what is paid for: kinds, fingerprints, outcomes; pure |
//! | [`config`], [`clock`], [`message`], [`fault`] | what everybody needs |
//! | [`tls`] | certificates: whom we believe, and who we are |
//! | [`secret_file`] | files that are for their owner alone |
//! | [`sandbox`] | a simulated upstream, for the demo and the tests |
//!
//! A room uses only rooms below it in this table; a test holds that.

pub mod app;
pub mod books;
pub mod callbacks;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod egress;
pub mod fault;
pub mod generation;
pub mod jobs;
pub mod ledger;
pub mod limits;
pub mod media;
pub mod message;
pub mod metrics;
pub mod once;
pub mod price;
pub mod proxy;
pub mod sandbox;
pub mod secret_file;
pub mod server;
pub mod store;
pub mod tls;
pub mod upstream;
