//! Many jobs with many callers each, killed in the middle of telling them: every job ends, every caller hears
//! of it, and each job is paid for once.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::home::Home;
use crate::visitor::Call;

/// How many clients there are at once.
const CROWD: usize = 16;
/// As many calls are under way at once at most, and a kill may cost each its mark.
const CALLS_AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_mins(10);

/// Who is called: the webhook ids that came to each path, one for each call.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<HashMap<String, Vec<String>>>>);

impl Receiver {
    /// Listens until the test is over; where.
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = receiver.clone();
                tokio::spawn(async move { receiver.hear(stream).await });
            }
        });
        format!("http://{address}")
    }

    /// One call; one that breaks off is none.
    async fn hear(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let path = lines.first()?.split(' ').nth(1)?.to_owned();
        let field = |name: &str| {
            let mut fields = lines.iter().filter_map(|line| line.split_once(": "));
            let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_owned())
        };
        let length = field("content-length")?.parse().ok()?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let told: serde_json::Value = serde_json::from_slice(&body).ok()?;
        assert!(told.to_string().contains("SUCCESS"), "{told}");
        let id = field("webhook-id")?;
        self.0.lock().unwrap().entry(path).or_default().push(id);
        let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).await.ok()
    }

    /// How many have heard.
    fn heard(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    async fn until_heard(&self, enough: usize) {
        let heard = async {
            while self.heard() < enough {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        assert!(heard.is_ok(), "{} of {enough} have heard", self.heard());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_caller_hears_once_of_its_job_over_a_crash() {
    let (jobs, callers) = if crate::long() { (1000, 50) } else { (40, 10) };
    let home = Home::empty().await;
    home.sandbox.set_job_time(Duration::from_hours(1));
    let receiver = Receiver::default();
    let address = receiver.start().await;
    let launch = home
        .launch
        .with("REPRISE_JOBS__POLL_INTERVAL", "2s")
        .with("REPRISE_MEDIA__ARCHIVE", "false")
        .with("REPRISE_CALLBACKS__DELIVER", "all")
        .with("REPRISE_CALLBACKS__ALLOW", r#"["127.0.0.0/8"]"#);

    let program = launch.must_start().await;
    let (next, addr) = (Arc::new(AtomicUsize::new(0)), program.addr);
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| {
            let (next, address) = (next.clone(), address.clone());
            tokio::spawn(async move {
                let mut promised = 0;
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= jobs * callers {
                        return promised;
                    }
                    let (caller, job) = (nth / jobs, nth % jobs);
                    let body = json!({
                        "model": "doubao-seedance-2-0-720p",
                        "prompt": format!("told of {job}"),
                        "metadata": {"callback_url": format!("{address}/{job}/{caller}")},
                    });
                    let answer = Call::post("/v1/video/generations", &body).send(addr).await;
                    promised += usize::from(answer.is_ok_and(|answer| answer.status == 200));
                }
            })
        })
        .collect();
    let mut promised = 0;
    for client in crowd {
        promised += client.await.unwrap();
    }
    assert_eq!(promised, jobs * callers);
    assert_eq!(receiver.heard(), 0);

    home.sandbox.finish_jobs();
    receiver.until_heard(jobs * callers / 3).await;
    program.kill().await;
    let program = launch.must_start().await;
    receiver.until_heard(jobs * callers).await;
    let stopped = program.stop().await;
    assert!(stopped.status.success(), "{}", stopped.log);

    let heard = receiver.0.lock().unwrap();
    assert_eq!(heard.len(), jobs * callers);
    let mut ids = HashSet::new();
    for (who, calls) in heard.iter() {
        assert!(calls.iter().all(|id| *id == calls[0]), "{who}: {calls:?}");
        assert!(ids.insert(&calls[0]), "{who} has another's id");
    }
    let calls: usize = heard.values().map(Vec::len).sum();
    assert!(calls - heard.len() <= CALLS_AT_ONCE, "{calls} calls");
    assert_eq!(home.sandbox.bill().total(), jobs as u64);
}
