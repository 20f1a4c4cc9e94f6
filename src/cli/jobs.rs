//! `reprise jobs`: what runs, what nobody knows the outcome of, and what to do about it.

mod print;

use bytes::Bytes;
use clap::{Args, Subcommand};

use super::admin::{Admin, Reach, segment};
use super::{Failure, log, output, runtime};
use crate::clock::Clock;
use crate::config::{self, Config, Log, LogFormat, Sources};
use crate::console::{Census, Decision, Job, JobDetail, NotOne, Resolved, Seen, note_of, pick};
use crate::once::{self, Resolution, TaskId, Unresolved};
use crate::store::{DiskStore, Glance};

#[derive(Args)]
pub(super) struct JobsArgs {
    #[command(subcommand)]
    command: JobsCommand,
    /// Where what was paid for is kept [env: `REPRISE_DATA_DIR`]
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) data_dir: Option<std::path::PathBuf>,
}

#[derive(Subcommand)]
enum JobsCommand {
    /// Show what runs, and what has an unknown outcome
    List {
        /// Show what has ended too
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show everything about one job
    Show {
        /// Its task id, its key, or at least 4 digits of its key
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Decide about an unknown outcome; nothing runs because of it
    Resolve {
        /// The key, or at least 4 digits of it
        #[arg(value_parser = key_digits)]
        key: String,
        #[command(flatten)]
        choice: Choice,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Exactly one of these.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Choice {
    /// Let the next identical request run again
    #[arg(long)]
    rerun: bool,
    /// It runs upstream as the job ID: take that up (only a video)
    #[arg(long, value_name = "ID")]
    task: Option<TaskId>,
    /// It was not run, or it does not matter: forget it
    #[arg(long)]
    forget: bool,
}

impl Choice {
    fn resolution(self) -> Resolution {
        match self.task {
            Some(id) => Resolution::Task(id),
            None if self.rerun => Resolution::Rerun,
            None => Resolution::Forget,
        }
    }
}

fn key_digits(text: &str) -> Result<String, String> {
    let digits = text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if digits && (4..=64).contains(&text.len()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a key is 64 hexadecimal digits, and at least the first 4 name it".to_owned())
    }
}

impl From<NotOne> for Failure {
    fn from(error: NotOne) -> Self {
        Self::Runtime(error.to_string())
    }
}

impl From<Unresolved> for Failure {
    fn from(error: Unresolved) -> Self {
        Self::Runtime(error.to_string())
    }
}

/// Runs one of the commands about jobs.
pub(super) fn run(args: JobsArgs, sources: &Sources) -> Result<(), Failure> {
    let config = config::load(sources)?.config;
    log::start(&Log {
        format: LogFormat::Text,
        level: "warn".to_owned(),
    });
    runtime()?.block_on(async {
        let reach = Reach::find(&config, &sources.env).await?;
        match args.command {
            JobsCommand::List { all, json } => {
                let jobs = list(&reach, &config, all).await?;
                if json {
                    output::json(&jobs)
                } else {
                    print::list(&jobs)
                }
            }
            JobsCommand::Show { id, json } => {
                let job = show(&reach, &config, &id).await?;
                if json {
                    output::json(&job)
                } else {
                    print::job(&job)
                }
            }
            JobsCommand::Resolve { key, choice, json } => {
                let done = resolve(&reach, &config, &key, choice.resolution()).await?;
                if json {
                    output::json(&done)
                } else {
                    print::done(&done)
                }
            }
        }
    })
}

async fn list(reach: &Reach, config: &Config, all: bool) -> Result<Vec<Job>, Failure> {
    match reach {
        Reach::Running(admin) if all => admin.get("/api/jobs?all=1").await,
        Reach::Running(admin) => admin.get("/api/jobs").await,
        Reach::Stopped => {
            let mut jobs = stopped(config)?;
            jobs.retain(|detail| all || detail.is_open());
            Ok(jobs.into_iter().map(|detail| detail.job).collect())
        }
    }
}

async fn show(reach: &Reach, config: &Config, id: &str) -> Result<JobDetail, Failure> {
    match reach {
        Reach::Running(admin) => admin.get(&format!("/api/jobs/{}", segment(id))).await,
        Reach::Stopped => {
            let jobs = stopped(config)?;
            let mut detail = pick(&jobs, id)?.clone();
            if let (Some(task), Some(glance)) = (&detail.job.task_id, Glance::at(&config.data_dir)?)
            {
                let deliveries = glance.deliveries_of(task)?;
                detail = detail.with_callbacks(&deliveries);
            }
            Ok(detail.seen_at(Clock::system().now(), None))
        }
    }
}

async fn resolve(
    reach: &Reach,
    config: &Config,
    key: &str,
    resolution: Resolution,
) -> Result<Resolved, Failure> {
    match reach {
        Reach::Running(admin) => ask_to_resolve(admin, key, &resolution).await,
        Reach::Stopped => resolve_stopped(config, key, &resolution),
    }
}

async fn ask_to_resolve(
    admin: &Admin,
    key: &str,
    resolution: &Resolution,
) -> Result<Resolved, Failure> {
    let decision = serde_json::to_vec(&Decision::from(resolution))
        .map_err(|error| Failure::Runtime(error.to_string()))?;
    let path = format!("/api/jobs/{}/resolve", segment(key));
    admin.post(&path, Bytes::from(decision)).await
}

/// Reads the directory without taking it: a proxy that starts meanwhile is not kept from it.
fn stopped(config: &Config) -> Result<Vec<JobDetail>, Failure> {
    let Some(glance) = Glance::at(&config.data_dir)? else {
        return Ok(Vec::new());
    };
    Ok(Census::of_glance(&glance)?.jobs(|_| Seen::BY_NOBODY))
}

/// Takes the directory, so that no proxy starts while it is changed.
fn resolve_stopped(
    config: &Config,
    key: &str,
    resolution: &Resolution,
) -> Result<Resolved, Failure> {
    let Some(glance) = Glance::at(&config.data_dir)? else {
        return Err(NotOne::None(key.to_owned()).into());
    };
    let key = note_of(&Census::of_glance(&glance)?, key)??;
    let clock = Clock::system();
    let (store, _) = DiskStore::open(&config.data_dir, clock.clone())?;
    let intent = once::resolve(&store, key, resolution, clock.now())?;
    Ok(Decision::from(resolution).done(key, intent.kind))
}
