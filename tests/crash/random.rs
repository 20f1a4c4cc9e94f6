//! kill -9 at random moments under a crowd of clients that retry as the SDKs do; and the power that
//! goes in the same moments, on a disk that has done no more than it had to.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::dice::{Dice, seeds};
use crate::history::{Chapter, History, Wish};
use crate::home::{Home, copy, furnished};
use crate::long;
use crate::power::CUTS;
use crate::program::{Launch, Program};
use crate::shim::{Life, Shim};
use crate::sort::{Sort, succeeded};
use crate::visitor::{Answer, Broken, Call};

const CLIENTS: usize = 8;
const PROMPTS: usize = 3;
const KILLS_OF_A_TRIAL: u64 = 5;
/// What one client does in one life of the program, at most.
const WISHES: usize = 40;

/// With answers that fit into a record, and with larger ones.
const SMALL: [Sort; 6] = [
    Sort::Video,
    Sort::Image,
    Sort::Speech,
    Sort::Chat,
    Sort::ChatStream,
    Sort::Embedding,
];
const LARGE: [Sort; 6] = [
    Sort::Video,
    Sort::ImageInline,
    Sort::SpeechLarge,
    Sort::Chat,
    Sort::ChatStream,
    Sort::Embedding,
];

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_under_load() {
    trials("killed at random", if long() { 42 } else { 3 }, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_power_under_load() {
    let Some(shim) = Shim::build() else { return };
    trials("without power", if long() { 22 } else { 2 }, Some(&shim)).await;
}

async fn trials(what: &str, trials: usize, shim: Option<&Shim>) {
    let data = furnished().await;
    let (mut kills, mut paid) = (0, 0);
    for seed in seeds(trials) {
        println!("{what}: REPRISE_SEED={seed}");
        let trial = Trial::new(seed, data.path(), shim).await;
        trial.run().await;
        kills += KILLS_OF_A_TRIAL;
        paid += trial.home.billed();
    }
    println!("{what}: {kills} times, {paid} runs paid for, none twice");
}

/// One directory, one upstream, one crowd, several kills.
struct Trial<'a> {
    home: Home,
    dice: Dice,
    crowd: Arc<Crowd>,
    /// The disk loses what was not synced.
    shim: Option<&'a Shim>,
}

/// What all clients share.
struct Crowd {
    history: History,
    /// Where the program listens now.
    addr: Mutex<Option<SocketAddr>>,
    sorts: [Sort; 6],
}

impl Crowd {
    fn addr(&self) -> Option<SocketAddr> {
        *self.addr.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn move_to(&self, addr: Option<SocketAddr>) {
        *self.addr.lock().unwrap_or_else(PoisonError::into_inner) = addr;
    }
}

impl<'a> Trial<'a> {
    async fn new(seed: u64, data: &Path, shim: Option<&'a Shim>) -> Self {
        let mut dice = Dice::new(seed);
        let home = Home::slow(Duration::from_millis(30)).await;
        copy(data, &home.launch.data);
        let sorts = dice.one(&[SMALL, LARGE]);
        for sort in sorts {
            sort.prepare(&home.sandbox);
        }
        let crowd = Crowd {
            history: History::default(),
            addr: Mutex::default(),
            sorts,
        };
        Self {
            home,
            dice,
            crowd: Arc::new(crowd),
            shim,
        }
    }

    /// How to start it on the disk of this trial.
    fn launch(&self) -> (Launch, Option<Life>) {
        match self.shim {
            None => (self.home.launch.clone(), None),
            Some(shim) => {
                let (launch, life) = shim.life(&self.home);
                (launch, Some(life))
            }
        }
    }

    fn end(&self, life: Option<Life>, dice: &mut Dice) {
        if let Some(life) = life {
            life.cut(&self.home, dice.one(&CUTS), dice);
        }
    }

    async fn run(&self) {
        let mut dice = self.dice.clone();
        for kills in 1..=KILLS_OF_A_TRIAL {
            if dice.below(3) == 0 {
                let span = Duration::from_millis(dice.below(150) as u64);
                let (launch, life) = self.launch();
                launch.start_and_kill(span).await;
                self.end(life, &mut dice);
            }
            let (launch, life) = self.launch();
            let program = launch.must_start().await;
            self.crowd.move_to(Some(program.addr));
            let stop = CancellationToken::new();
            let clients = (0..CLIENTS).map(|_| self.client(dice.throw(), &stop));
            let clients: Vec<JoinHandle<()>> = clients.collect();
            let span = Duration::from_millis(10 + dice.below(500) as u64);
            tokio::time::sleep(span).await;
            let ended = program.kill().await;
            self.crowd.move_to(None);
            assert!(!ended.log.contains("panicked"), "{}", ended.log);
            stop.cancel();
            for client in join_all(clients).await {
                client.unwrap();
            }
            self.check(kills);
            self.end(life, &mut dice);
        }
        let program = self.home.launch.must_start().await;
        for (wish, chapter) in self.crowd.history.chapters() {
            self.hold(&program, &wish, &chapter).await;
        }
        self.check(KILLS_OF_A_TRIAL);
        let ended = program.stop().await;
        assert!(ended.status.success(), "{}", ended.log);
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
    }

    fn client(&self, seed: u64, stop: &CancellationToken) -> JoinHandle<()> {
        let client = Client {
            dice: Dice::new(seed),
            crowd: self.crowd.clone(),
        };
        tokio::spawn(client.live(stop.clone()))
    }

    /// The bill against everything that was asked for so far.
    fn check(&self, kills: u64) {
        for (wish, chapter) in self.crowd.history.chapters() {
            chapter.check(&wish, wish.billed(&self.home.sandbox), kills);
        }
    }

    /// What is there at last, against everything that was seen.
    async fn hold(&self, program: &Program, wish: &Wish, chapter: &Chapter) {
        let billed = wish.billed(&self.home.sandbox);
        let answer = wish.sort().call(&wish.prompt).send(program.addr).await;
        let answer = answer.unwrap();
        let now = wish.billed(&self.home.sandbox);
        let told = format!("{wish:?}, paid {billed} → {now}: {}", answer.brief());
        if !chapter.seen.is_empty() {
            assert!(answer.is_kept(), "lost: {told}");
            assert_eq!(now, billed, "{told}");
            let known = chapter.no_cache > 0 || chapter.seen.contains(&answer.body);
            assert!(known, "another answer: {told}");
        } else if wish.sort().is_dear() && answer.error_code() == "outcome_unknown" {
            // It may have died before it sent what it had noted: then nothing was paid.
            assert_eq!(now, billed, "{told}");
        } else if wish.sort().is_dear() && billed > 0 {
            assert_eq!(now, billed, "{told}");
            assert!(answer.is_kept(), "neither kept nor unknown: {told}");
        } else {
            assert_eq!(answer.status, 200, "{told}");
            assert!(now <= billed + 1, "{told}");
        }
        if chapter.no_cache > 0 {
            return;
        }
        for (path, end) in &chapter.ends {
            let poll = Call::get(path).send(program.addr).await.unwrap();
            assert!(
                poll.is_hit() && poll.body == *end,
                "{path}: {}",
                poll.brief()
            );
        }
    }
}

struct Client {
    dice: Dice,
    crowd: Arc<Crowd>,
}

impl Client {
    async fn live(mut self, stop: CancellationToken) {
        for _ in 0..WISHES {
            let sort = self.dice.one(&self.crowd.sorts);
            let prompt = format!("prompt {}", self.dice.below(PROMPTS));
            self.ask(&Wish::new(sort, &prompt), &stop).await;
            if stop.is_cancelled() {
                return;
            }
            let pause = Duration::from_millis(self.dice.below(20) as u64);
            tokio::time::sleep(pause).await;
        }
    }

    /// As the SDKs do: the same request again, twice at most, where the connection failed.
    async fn ask(&mut self, wish: &Wish, stop: &CancellationToken) {
        let sort = wish.sort();
        let mut call = sort.call(&wish.prompt);
        let no_cache = self.dice.below(40) == 0;
        if no_cache {
            call = call.cache_control("no-cache");
        }
        if self.dice.below(3) == 0 {
            call = call.header("idempotency-key", &format!("{wish:?}"));
        }
        for _ in 0..3 {
            if let Some(addr) = self.crowd.addr() {
                if no_cache {
                    self.crowd
                        .history
                        .change(wish, |chapter| chapter.no_cache += 1);
                }
                let answer = tokio::select! {
                    answer = call.send(addr) => answer,
                    () = long_gone(stop) => {
                        println!("{wish:?}: nobody ended the connection to {addr}, whose program is gone");
                        return;
                    }
                };
                match answer {
                    Ok(answer) => return self.take(wish, &answer, addr).await,
                    Err(Broken(part)) => {
                        // Whoever has the end of a stream has all of it.
                        if part.ends_with(b"data: [DONE]\n\n") {
                            self.crowd.history.seen(wish, part);
                        }
                    }
                }
            }
            let pause = Duration::from_millis(5 + self.dice.below(40) as u64);
            tokio::time::sleep(pause).await;
        }
    }

    async fn take(&mut self, wish: &Wish, answer: &Answer, addr: SocketAddr) {
        if answer.error_code() == "outcome_unknown" {
            assert!(wish.sort().is_dear(), "{wish:?}: {}", answer.brief());
            return;
        }
        assert_eq!(answer.status, 200, "{wish:?}: {}", answer.brief());
        self.crowd.history.seen(wish, answer.body.clone());
        let Some(poll) = wish.sort().poll(answer) else {
            return;
        };
        for _ in 0..self.dice.below(4) {
            if let Ok(end) = poll.send(addr).await
                && succeeded(&end)
            {
                let path = poll.path().to_owned();
                self.crowd.history.change(wish, |chapter| {
                    let known = chapter.ends.entry(path).or_insert(end.body.clone());
                    assert_eq!(*known, end.body, "{wish:?}: another end");
                });
                return;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

/// The program was killed and waited for, and what it had said has long been read. Its port may be
/// another program's by now, in whose hands a call may wait for whatever that one waits for.
async fn long_gone(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
}
