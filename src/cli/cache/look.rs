//! `reprise cache list` and `show`.

use std::io::{self, Write};
use std::ops::ControlFlow;

use bytes::Bytes;
use clap::Args;
use http::Method;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::place::Place;
use super::print::{self, Rows};
use crate::cli::admin::segment;
use crate::cli::{Failure, output};
use crate::console::cache::{self, Denied, Detail, Filter, Listed, find};
use crate::generation::Kind;
use crate::message::body;

#[derive(Args)]
pub(super) struct ListArgs {
    /// Only this kind: video, images, audio, embeddings or chat
    #[arg(long)]
    kind: Option<Kind>,
    /// Only this model
    #[arg(long)]
    model: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct ShowArgs {
    /// The key, or at least 8 digits of it
    key: String,
    /// Write the kept body of the answer to standard output, and nothing else
    #[arg(long, conflicts_with = "json")]
    body: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Lists what is kept.
pub(super) async fn list(place: &Place, args: ListArgs) -> Result<(), Failure> {
    let filter = Filter {
        kind: args.kind,
        model: args.model,
        limit: args.limit,
    };
    if args.json {
        list_json(place, &filter).await
    } else {
        list_rows(place, &filter).await
    }
}

async fn list_json(place: &Place, filter: &Filter) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match place {
        Place::Empty(_) => out.write_all(b"[]\n")?,
        Place::Ours(store) => cache::write(store.as_ref(), filter, &mut out)??,
        Place::Running(admin) => {
            let path = format!("/api/cache{}", filter.query());
            let never = CancellationToken::new();
            let asked = (Method::GET, path.as_str());
            let mut answer = Answer::to(admin, &never, asked, body::empty()).await?;
            while let Some(piece) = answer.piece().await? {
                out.write_all(&piece)?;
            }
        }
    }
    Ok(out.flush()?)
}

async fn list_rows(place: &Place, filter: &Filter) -> Result<(), Failure> {
    let mut rows = Rows::new();
    match place {
        Place::Empty(_) => {}
        Place::Ours(store) => {
            let mut shown = Ok(());
            cache::each(store.as_ref(), filter, &mut |listed| {
                shown = rows.add(&listed);
                match shown {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            })?;
            shown?;
        }
        Place::Running(admin) => {
            let path = format!("/api/cache{}", filter.query());
            let never = CancellationToken::new();
            let asked = (Method::GET, path.as_str());
            let mut answer = Answer::to(admin, &never, asked, body::empty()).await?;
            while let Some(line) = answer.line().await? {
                let listed = Listed::of_line(&line).map_err(|error| admin.strange(&error))?;
                if let Some(listed) = listed {
                    rows.add(&listed)?;
                }
            }
        }
    }
    Ok(rows.end()?)
}

/// Shows one generation, or its body.
pub(super) async fn show(place: &Place, args: &ShowArgs) -> Result<(), Failure> {
    if args.body {
        return show_body(place, &args.key).await;
    }
    let detail: Detail = match place {
        Place::Empty(_) => return Err(Denied::None(args.key.clone()).into()),
        Place::Ours(store) => {
            let key = find(store.as_ref(), &args.key)?;
            Detail::of(store.as_ref(), &key)?
        }
        Place::Running(admin) => {
            let path = format!("/api/cache/{}", segment(&args.key));
            admin.get(&path).await?
        }
    };
    if args.json {
        output::json(&detail)
    } else {
        print::detail(&detail)
    }
}

async fn show_body(place: &Place, key: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match place {
        Place::Empty(_) => return Err(Denied::None(key.to_owned()).into()),
        Place::Ours(store) => {
            let key = find(store.as_ref(), key)?;
            match cache::body(store.as_ref(), &key)? {
                Ok(bytes) => out.write_all(&bytes)?,
                Err((mut file, _)) => drop(io::copy(&mut file, &mut out)?),
            }
        }
        Place::Running(admin) => {
            let path = format!("/api/cache/{}/body", segment(key));
            let never = CancellationToken::new();
            let asked = (Method::GET, path.as_str());
            let mut answer = Answer::to(admin, &never, asked, body::full(Bytes::new())).await?;
            while let Some(piece) = answer.piece().await? {
                out.write_all(&piece)?;
            }
        }
    }
    Ok(out.flush()?)
}
