//! One client and one generation: what is done before the program dies, and what must hold after.

use std::time::{Duration, Instant};

use crate::books;
use crate::home::{Home, Memory};
use crate::long;
use crate::program::Program;
use crate::sort::{Sort, succeeded};
use crate::visitor::{Answer, Broken, Call};

pub(crate) const PROMPT: &str = "the one";
const KEY: &str = "order-1";

/// How long a job may take to its end; it takes milliseconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a client does: asks, waits for the end of its job, and asks again.
pub(crate) async fn visit(program: &Program, sort: Sort, memory: &mut Memory) {
    let call = sort.call(PROMPT).header("idempotency-key", KEY);
    let first = match call.send(program.addr).await {
        Ok(first) => first,
        Err(Broken(part)) => {
            // Whoever has the end of a stream has all of it, however the connection ends.
            if part.ends_with(b"data: [DONE]\n\n") {
                memory.answer = Some(part);
            }
            return;
        }
    };
    assert_eq!(first.status, 200, "{}", first.brief());
    memory.answer = Some(first.body.clone());
    if let Some(poll) = sort.poll(&first) {
        loop {
            let Ok(poll) = poll.send(program.addr).await else {
                return;
            };
            if succeeded(&poll) {
                memory.end = Some(poll.body);
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    if let Ok(again) = call.send(program.addr).await {
        assert!(again.is_kept(), "{}", again.brief());
        assert!(again.body == first.body, "another answer");
    }
}

async fn until_it_succeeds(poll: &Call, program: &Program, named: &str) {
    let began = Instant::now();
    while !succeeded(&poll.clone().send(program.addr).await.unwrap()) {
        assert!(began.elapsed() < PATIENCE, "{named}: the job has no end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What is looked at once the program has died.
pub(crate) struct Trial<'a> {
    pub(crate) home: &'a Home,
    pub(crate) sort: Sort,
    pub(crate) named: &'a str,
    /// The disk failed: a note may say so beside an answer that is kept after all.
    pub(crate) doubtful: bool,
}

impl Trial<'_> {
    /// Starts it again and holds it to everything that is promised.
    pub(crate) async fn hold(&self, memory: &Memory) {
        let named = self.named;
        let billed = self.home.billed();
        // What is cheap was run again for who asked again, where it could not be kept.
        let most = if self.doubtful && !self.sort.is_dear() {
            2
        } else {
            1
        };
        assert!(billed <= most, "{named}: paid {billed} times");
        let unknown = !self.home.pending().is_empty();
        let program = self.home.launch.must_start().await;
        assert_eq!(
            self.home.billed(),
            billed,
            "{named}: the start runs something"
        );
        let now = self.ask_again(&program, memory, (billed, unknown)).await;
        if let Some(end) = &memory.end {
            let poll = self.sort.poll(&now).expect("a job");
            let poll = poll.send(program.addr).await.unwrap();
            assert!(
                poll.is_hit() && poll.body == *end,
                "{named}: {}",
                poll.brief()
            );
        }
        let settled = self.home.pending().is_empty();
        assert!(settled || self.doubtful, "{named}: a note stays");
        let booked = !self.doubtful && self.home.launch.has(books::BUDGET.0);
        if booked && let Some(poll) = self.sort.poll(&now) {
            // A job is booked when it ends.
            until_it_succeeds(&poll, &program, named).await;
        }
        let ended = program.kill().await;
        assert!(!ended.log.contains("panicked"), "{named}: {}", ended.log);
        if booked {
            books::check(self.home, self.sort, named);
        }
        if !long() {
            return;
        }
        // And once more, now that all is known.
        let billed = self.home.billed();
        let program = self.home.launch.must_start().await;
        let call = self.sort.call(PROMPT).header("idempotency-key", KEY);
        let last = call.send(program.addr).await.unwrap();
        assert!(
            last.is_kept() && last.body == now.body,
            "{named}: {}",
            last.brief()
        );
        assert_eq!(self.home.billed(), billed, "{named}");
    }

    /// Starts it again, and looks at what is there without paying for anything.
    pub(crate) async fn starts_whole(&self, memory: &Memory) {
        let named = self.named;
        let billed = self.home.billed();
        let program = self.home.launch.must_start().await;
        let again = self.sort.call(PROMPT).cache_control("only-if-cached");
        let again = again.send(program.addr).await.unwrap();
        match &memory.answer {
            Some(seen) => assert!(again.body == *seen, "{named}: {}", again.brief()),
            None => assert!(
                [200, 504].contains(&again.status),
                "{named}: {}",
                again.brief()
            ),
        }
        assert_eq!(self.home.billed(), billed, "{named}");
        let ended = program.kill().await;
        assert!(!ended.log.contains("panicked"), "{named}: {}", ended.log);
    }

    /// The same request again, as a client's retry; what it is answered in the end.
    async fn ask_again(
        &self,
        program: &Program,
        memory: &Memory,
        (billed, unknown): (u64, bool),
    ) -> Answer {
        let named = self.named;
        let call = self.sort.call(PROMPT).header("idempotency-key", KEY);
        let again = call.send(program.addr).await.unwrap();
        let told = format!("{named}: bill {billed}, {}", again.brief());
        if let Some(seen) = &memory.answer {
            assert!(again.is_kept(), "lost: {told}");
            assert!(again.body == *seen, "another answer: {told}");
            assert_eq!(self.home.billed(), billed, "{told}");
            return again;
        }
        if memory.refused {
            assert_eq!(
                (again.status, billed),
                (200, 0),
                "nothing was started: {told}"
            );
        }
        if again.status == 409 && self.sort.is_dear() {
            assert!(unknown, "no note says so: {told}");
            assert_eq!(again.error_code(), "outcome_unknown", "{told}");
            assert_eq!(again.header("x-should-retry"), "false", "{told}");
            assert_eq!(self.home.billed(), billed, "{told}");
            let asked = call.clone().cache_control("no-cache");
            let asked = asked.send(program.addr).await.unwrap();
            assert_eq!(asked.status, 200, "{named}: {}", asked.brief());
            assert_eq!(self.home.billed(), billed + 1, "{told}");
            return asked;
        }
        assert_eq!(again.status, 200, "{told}");
        let most = if self.sort.is_dear() { 1 } else { billed + 1 };
        assert!(self.home.billed() <= most, "paid twice: {told}");
        assert!(
            again.is_kept() == (self.home.billed() == billed),
            "it says otherwise: {told}"
        );
        again
    }
}
