//! `reprise sandbox`: the simulated RelayDance, as an upstream of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::{Failure, runtime, signals};
use crate::config;
use crate::sandbox::{Options, Sandbox, SubmitShape};

#[derive(Args)]
pub(super) struct SandboxArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9797")]
    listen: SocketAddr,
    /// How long a video job takes
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    job_time: Duration,
    /// How long images, audio and chat take
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = duration)]
    answer_time: Duration,
    /// How long a result's link works
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    link_lifetime: Duration,
    /// The form of a submit's answer: docs, openai or bare
    #[arg(long, value_name = "SHAPE", default_value = "openai")]
    submit_shape: SubmitShape,
}

fn duration(text: &str) -> Result<Duration, String> {
    if text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic()) == "0" {
        return Ok(Duration::ZERO);
    }
    config::parse_duration(text)
}

/// Serves until a signal.
pub(super) fn run(args: &SandboxArgs) -> Result<(), Failure> {
    let options = Options {
        job_time: args.job_time,
        answer_time: args.answer_time,
        link_lifetime: args.link_lifetime,
        submit_shape: args.submit_shape,
        ..Options::default()
    };
    runtime()?.block_on(async {
        let stop = signals::stop(Arc::default())?;
        let listener = tokio::net::TcpListener::bind(args.listen)
            .await
            .map_err(|error| {
                Failure::Runtime(format!(
                    "cannot listen on {}: {error}; choose another --listen",
                    args.listen
                ))
            })?;
        let sandbox = Sandbox::serve(options, listener, None).await;
        let addr = sandbox.addr();
        eprintln!("a simulated RelayDance: nothing here costs money, and any key is taken");
        eprintln!("listening on http://{addr}");
        eprintln!("what it would have billed: http://{addr}/sandbox/bill");
        eprintln!(
            "RELAYDANCE_API_KEY=any reprise --upstream {}",
            sandbox.base_url()
        );
        stop.cancelled().await;
        sandbox.stop().await;
        Ok(())
    })
}
