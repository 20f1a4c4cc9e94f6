//! The tour: the same request from several clients, and what each one cost.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Answer, Client};
use crate::cli::stats;
use crate::config::Config;
use crate::message::BodyError;
use crate::price::Usd;
use crate::sandbox::Sandbox;

const VIDEOS: &str = "/video/generations";

/// Everything that was asked for so far.
struct Tour<'a> {
    base: &'a str,
    sandbox: &'a Sandbox,
    asked: u32,
    /// What nobody had to wait for.
    spared: Duration,
    /// What the sandbox has billed so far, in dollars.
    billed: f64,
    /// How long the last run took that was paid for.
    last: Duration,
}

/// Sends the requests, and prints a line for each.
pub(super) async fn give(base: &str, sandbox: &Sandbox, config: &Config) -> Result<(), BodyError> {
    let mut tour = Tour {
        base,
        sandbox,
        asked: 0,
        spared: Duration::ZERO,
        billed: 0.0,
        last: Duration::ZERO,
    };
    println!(
        "Reprise demo: a simulated RelayDance behind the proxy. No key, no network, no cost.\n"
    );
    tour.video().await?;
    tour.image().await?;
    tour.chat().await?;
    let booked = stats::of_all(config).await;
    let booked = booked.map_err(|failure| failure.to_string())?;
    tour.sum(booked.total.usd_saved);
    Ok(())
}

impl Tour<'_> {
    async fn video(&mut self) -> Result<(), BodyError> {
        println!("A video (5 s, 720p), asked for by three clients:");
        let body = json!({
            "model": "doubao-seedance-2-0-720p",
            "prompt": "A paper boat on a rainy street",
            "seconds": "5",
            "metadata": { "resolution": "720p", "ratio": "16:9" },
        });
        let (first, second, third) = (self.client(), self.client(), self.client());
        let started = Instant::now();
        let submit = first.post(VIDEOS, &body).await?;
        let id = submit.json()["task_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.tell("anna  submits", &submit, None);
        let joined = second.post(VIDEOS, &body).await?;
        self.tell(
            "ben   submits the same a moment later",
            &joined,
            Some("the same job"),
        );
        self.finished(&first, &id).await?;
        let waited = started.elapsed();
        println!(
            "    {:<44} {:>8}",
            "anna  polls until it is done",
            seconds(waited)
        );
        let hit = third.post(VIDEOS, &body).await?;
        self.tell("chris submits the same after that", &hit, Some("kept"));
        // Chris has at once what Anna waited for; Ben waits as long as she does.
        self.spared += waited;
        let poll = third.get(&format!("{VIDEOS}/{id}")).await?;
        println!(
            "    {:<44} {:>8}   has the finished video at once",
            "chris polls",
            seconds(poll.took)
        );
        println!();
        Ok(())
    }

    async fn image(&mut self) -> Result<(), BodyError> {
        println!("An image, asked for by five clients at once:");
        let body = json!({ "model": "grok-imagine-image", "prompt": "A lighthouse made of glass" });
        let clients: Vec<Client> = (0..5).map(|_| self.client()).collect();
        let asked = clients
            .iter()
            .map(|client| client.post("/images/generations", &body));
        let mut answers = futures_util::future::try_join_all(asked).await?;
        answers.sort_by_key(|answer| !answer.cache.contains("stored"));
        for (name, answer) in ["dora ", "emil ", "fay  ", "gus  ", "hana "]
            .iter()
            .zip(&answers)
        {
            self.tell(&format!("{name} asks"), answer, Some("one answer for all"));
        }
        println!();
        Ok(())
    }

    async fn chat(&mut self) -> Result<(), BodyError> {
        println!("A chat with a stream of events, asked twice:");
        let body = json!({
            "model": "grok-4.5",
            "stream": true,
            "messages": [{ "role": "user", "content": "Why is the sky blue?" }],
        });
        for name in ["iris  asks", "jan   asks the same"] {
            let answer = self.client().post("/chat/completions", &body).await?;
            self.tell(name, &answer, Some("replayed byte for byte"));
        }
        println!();
        Ok(())
    }

    /// What upstream bills, and what the ledger says was saved.
    fn sum(&self, saved: Usd) {
        let saved = saved.dollars();
        let bill = self.sandbox.bill();
        println!(
            "{} generations asked for, {} paid: ${:.4} instead of ${:.4}. Saved: ${:.4} and {} of waiting.",
            self.asked,
            bill.total(),
            bill.usd,
            bill.usd + saved,
            saved,
            seconds(self.spared),
        );
    }

    fn client(&self) -> Client {
        Client::new(self.base)
    }

    async fn finished(&self, client: &Client, id: &str) -> Result<(), BodyError> {
        let deadline = Instant::now() + Duration::from_mins(1);
        while Instant::now() < deadline {
            let poll = client.get(&format!("{VIDEOS}/{id}")).await?.json();
            match poll.pointer("/data/status").and_then(Value::as_str) {
                Some("SUCCESS") => return Ok(()),
                Some("FAILURE") => return Err("the job failed".into()),
                _ => tokio::time::sleep(Duration::from_millis(250)).await,
            }
        }
        Err("the job did not end within a minute".into())
    }

    /// One line: who asked, how long it took, and whether it was paid.
    fn tell(&mut self, who: &str, answer: &Answer, otherwise: Option<&str>) {
        self.asked += 1;
        let paid = answer.cache.contains("stored");
        let how = if paid {
            let billed = self.sandbox.bill().usd;
            let cost = billed - self.billed;
            self.billed = billed;
            self.last = answer.took;
            format!("PAID ${cost:.4}")
        } else {
            self.spared += self.last.saturating_sub(answer.took);
            format!("free        {}", otherwise.unwrap_or_default())
        };
        println!("    {who:<44} {:>8}   {how}", seconds(answer.took));
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// How to go on by hand.
pub(super) fn farewell(base: &str, upstream: &str) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "\nStill serving. Point any OpenAI-style client here (any key will do):\n"
    );
    let _ = writeln!(
        text,
        "    export OPENAI_BASE_URL={base} OPENAI_API_KEY=any\n"
    );
    let _ = writeln!(text, "or try it by hand, twice:\n");
    let _ = writeln!(
        text,
        "    curl -i {base}/images/generations -H 'content-type: application/json' \\"
    );
    let _ = writeln!(
        text,
        "      -d '{{\"model\":\"grok-imagine-image\",\"prompt\":\"a red kite\"}}'\n"
    );
    let bill = upstream.trim_end_matches("/v1");
    let _ = writeln!(text, "The simulated bill: curl {bill}/sandbox/bill");
    let _ = writeln!(text, "Ctrl-C ends it.");
    text
}
