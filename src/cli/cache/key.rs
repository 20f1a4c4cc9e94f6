//! `reprise cache key`: which generation a request is.

use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};

use crate::cli::Failure;
use crate::config::{self, Scope, Sources};
use crate::generation::{self, Fingerprint, Request};

#[derive(Args)]
pub(in crate::cli) struct KeyArgs {
    /// The request's path, with its query if it has one: /v1/images/generations
    path: String,
    /// A file with the request's body; - reads standard input
    body: PathBuf,
    /// The body's content type
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    content_type: String,
    /// A further header that may count, as NAME:VALUE
    #[arg(long, value_name = "NAME:VALUE")]
    header: Vec<String>,
    /// The take, as in the header Reprise-Take
    #[arg(long, value_name = "N", default_value_t = 1)]
    take: u32,
    /// Whose request it is; counts when cache.scope is "client"
    #[arg(long, value_name = "NAME", default_value = "local")]
    client: String,
}

/// Prints the key.
pub(super) fn run(args: &KeyArgs, sources: &Sources) -> Result<(), Failure> {
    let scope = config::load(sources)?.config.cache.scope;
    println!("{}", key(args, scope)?);
    Ok(())
}

fn key(args: &KeyArgs, scope: Scope) -> Result<Fingerprint, Failure> {
    let usage = |message: String| Failure::Usage(message);
    let uri: Uri = args
        .path
        .parse()
        .map_err(|_| usage(format!("{} is no path", args.path)))?;
    let kind = generation::classify(&Method::POST, uri.path()).ok_or_else(|| {
        usage(format!(
            "POST {} is not a generation; try /v1/images/generations",
            uri.path()
        ))
    })?;
    let body = read(&args.body)?;
    let scope = match scope {
        Scope::Shared => None,
        Scope::Client => Some(args.client.as_str()),
    };
    let request = Request {
        kind,
        path: uri.path(),
        query: uri.query(),
        scope,
        take: args.take.max(1),
        headers: &headers(args)?,
        body: &body,
    };
    Ok(request.identify().fingerprint)
}

fn read(path: &PathBuf) -> Result<Bytes, Failure> {
    let mut body = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut body).map(drop)
    } else {
        std::fs::read(path).map(|bytes| body = bytes)
    };
    read.map_err(|error| Failure::Runtime(format!("cannot read {}: {error}", path.display())))?;
    Ok(Bytes::from(body))
}

fn headers(args: &KeyArgs) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    let content_type = format!("content-type:{}", args.content_type);
    for written in std::iter::once(&content_type).chain(&args.header) {
        let parsed = written.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::try_from(name.trim()).ok()?;
            Some((name, HeaderValue::try_from(value.trim()).ok()?))
        });
        let Some((name, value)) = parsed else {
            return Err(Failure::Usage(format!(
                "{written} is no header; write NAME:VALUE"
            )));
        };
        headers.append(name, value);
    }
    Ok(headers)
}
