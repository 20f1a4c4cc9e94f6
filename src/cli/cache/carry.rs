//! `reprise cache export` and `import`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use http::Method;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::place::{self, Place, stop, stopped};
use super::target::{Target, cannot};
use super::{print, upload};
use crate::cli::admin::Admin;
use crate::cli::progress::Progress;
use crate::cli::{Failure, output};
use crate::clock::Clock;
use crate::config::Config;
use crate::message::body;
use crate::store::{self, DiskStore, Imported, Store};

#[derive(Args)]
pub(super) struct ExportArgs {
    /// The file to write; - is standard output
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Print JSON (with - to standard error)
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct ImportArgs {
    /// The file to read; - is standard input
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Writes everything into one file.
pub(super) async fn export(place: &Place, args: &ExportArgs) -> Result<(), Failure> {
    if let Place::Empty(dir) = place {
        return Err(Failure::Runtime(format!(
            "nothing was ever kept in {}: is it the right --data-dir?",
            dir.display()
        )));
    }
    // First, so that whoever sees the half-written file can already end this cleanly.
    let stop = stop()?;
    let mut target = Target::open(&args.file, args.force)?;
    match place {
        Place::Running(admin) => {
            let asked = (Method::GET, "/api/cache/export");
            let mut answer = Answer::to(admin, &stop, asked, body::empty()).await?;
            let mut progress = Progress::of_bytes("exported", answer.kept);
            while let Some(piece) = answer.piece().await? {
                let written = target.write_all(&piece);
                written.map_err(|error| cannot("write", &args.file, &error))?;
                progress.add(piece.len() as u64);
            }
        }
        Place::Ours(store) => export_ours(store, &mut target, &stop)?,
        Place::Empty(_) => {}
    }
    let done = target.finish()?;
    let shown = args.file.as_os_str() != "-";
    print::exported(&done, args.json, shown)
}

fn export_ours(
    store: &DiskStore,
    target: &mut Target,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut progress = Progress::of_bytes("exported", store.kept_bytes());
    let now = Clock::system().now();
    let done = store::export(store, io::BufWriter::new(target), now, &mut |more| {
        progress.add(more);
        go_on(stop)
    })?;
    done.map(drop).ok_or_else(stopped)
}

fn go_on(stop: &CancellationToken) -> ControlFlow<()> {
    if stop.is_cancelled() {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// Takes over what a file holds.
pub(super) async fn import(
    place: Place,
    args: &ImportArgs,
    config: &Config,
) -> Result<(), Failure> {
    let (from, len) = source(&args.file)?;
    let stop = stop()?;
    let progress = Progress::of_bytes("imported", len);
    let done = match place {
        Place::Running(admin) => import_there(&admin, from, progress, &stop).await?,
        Place::Ours(store) => import_here(&store, from, progress, &stop)?,
        Place::Empty(_) => {
            let store = place::open(&config.data_dir)?;
            import_here(&store, from, progress, &stop)?
        }
    };
    if args.json {
        output::json(&done)?;
    } else {
        print::imported(&done)?;
    }
    if stop.is_cancelled() {
        return Err(stopped());
    }
    match (&done.cut_off, done.refused) {
        (Some(why), _) => Err(Failure::Runtime(format!(
            "the export is not whole ({why}); what was whole in it is kept"
        ))),
        (None, 0) => Ok(()),
        (None, refused) => Err(Failure::Runtime(format!(
            "{refused} of its files were refused; the rest is kept"
        ))),
    }
}

fn source(path: &Path) -> Result<(Box<dyn Read + Send>, u64), Failure> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin()), 0));
    }
    let failed = |error: io::Error| cannot("read", path, &error);
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if found.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    Ok((Box::new(file), found.len()))
}

fn import_here(
    store: &DiskStore,
    from: Box<dyn Read + Send>,
    mut progress: Progress,
    stop: &CancellationToken,
) -> Result<Imported, Failure> {
    let from = io::BufReader::with_capacity(256 * 1024, from);
    Ok(store::import(store, None, from, &mut |more| {
        progress.add(more);
        go_on(stop)
    })?)
}

async fn import_there(
    admin: &Admin,
    from: Box<dyn Read + Send>,
    mut progress: Progress,
    stop: &CancellationToken,
) -> Result<Imported, Failure> {
    let (sent, count) = upload::body_of(from);
    let asking = async {
        let answer = admin.open(Method::POST, "/api/cache/import", sent).await?;
        let bytes = body::collect(answer.into_body(), 16 * 1024 * 1024).await;
        let bytes = bytes.map_err(|error| admin.failed(&format!("broke off: {error}")))?;
        serde_json::from_slice(&bytes).map_err(|error| admin.strange(&error))
    };
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    tokio::pin!(asking);
    loop {
        tokio::select! {
            answer = &mut asking => return answer,
            _ = ticks.tick() => progress.to(count.load(Ordering::Relaxed)),
            () = stop.cancelled() => return Err(stopped()),
        }
    }
}
