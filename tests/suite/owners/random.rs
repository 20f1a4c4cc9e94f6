//! Two clients do whatever comes, one after the other, over restarts: no word of one reaches the other.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;

const STEPS: usize = 160;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// What each has made: words that only its own answers may hold.
#[derive(Default)]
struct Secrets {
    words: BTreeMap<usize, Vec<String>>,
    jobs: BTreeMap<usize, Vec<String>>,
}

impl Secrets {
    fn check(&self, reader: usize, answer: &Answer, what: &str) {
        let text = format!("{} {:?}", answer.text(), answer.headers).to_lowercase();
        for word in &self.words[&(1 - reader)] {
            assert!(
                !text.contains(&word.to_lowercase()),
                "{what}: {word} in {text}"
            );
        }
    }
}

async fn step(house: &House, dice: &mut Dice, secrets: &mut Secrets, at: usize) {
    let who = dice.below(2);
    let (key, name) = [(ANNA, "nonceofanna"), (BEN, "nonceofben")][who];
    // Few different requests, so that both ask for the same as well.
    let nonce = format!("{name}{}", dice.below(5));
    let directive = ["max-age=100000", "no-store", "no-cache"][dice.below(3)];
    let jobs: Vec<String> = secrets.jobs.values().flatten().cloned().collect();
    let some_job = |dice: &mut Dice| match jobs.len() {
        0 => "task_none".to_owned(),
        many => jobs[dice.below(many)].clone(),
    };
    let client = house.client();
    let call = match dice.below(8) {
        0 | 1 => client
            .post("/v1/videos")
            .json(&video(&format!("same {}", dice.below(3)))),
        2 => client
            .post("/v1/chat/completions")
            .json(&json!({"model": "grok-4.5", "messages": [{"role": "user", "content": nonce}]})),
        3 => client
            .post("/v1/responses")
            .json(&json!({"model": "grok-4.5", "input": nonce, "stream": dice.below(2) == 0})),
        4 => client.get(&format!("/v1/videos/{}", some_job(dice))),
        5 => client.get(&format!("/v1/videos/{}/content", some_job(dice))),
        6 => client.get(&format!(
            "/v1/video/generations/{}",
            some_job(dice).to_uppercase()
        )),
        _ => {
            let data: Vec<_> = jobs.iter().map(|id| json!({"id": id})).collect();
            let list = json!({"object": "list", "data": data, "has_more": false}).to_string();
            house
                .sandbox
                .on("GET /v1/videos")
                .answer(200, "application/json", list);
            client.get("/v1/videos")
        }
    };
    let answer = call.key(key).cache_control(directive).send().await;
    secrets.check(who, &answer, &format!("step {at}"));
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if json["object"] == "video" && answer.status == 200 {
        let id = json["task_id"].as_str().unwrap_or_default().to_owned();
        secrets.words.entry(who).or_default().push(id.clone());
        secrets.jobs.entry(who).or_default().push(id);
    }
}

#[tokio::test]
async fn no_word_of_one_reaches_the_other() {
    let mut house = House::new().config(apart).await;
    let mut secrets = Secrets::default();
    for (who, name) in ["nonceofanna", "nonceofben"].into_iter().enumerate() {
        secrets.words.insert(who, vec![name.to_owned()]);
        secrets.jobs.insert(who, Vec::new());
    }
    let mut dice = Dice(0x5eed_0123_4567_89ab);
    for at in 0..STEPS {
        if at % 40 == 39 {
            house.sandbox.finish_jobs();
            house.restart().await;
        }
        step(&house, &mut dice, &mut secrets, at).await;
    }
    assert!(
        secrets.jobs.values().all(|jobs| jobs.len() > 5),
        "both made something"
    );
}
