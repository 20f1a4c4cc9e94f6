// The official Node client against a running proxy.
//
// Each kind of generation is asked for three times: one run on the sandbox's bill, three equal answers.
// Every check runs; the exit code is 1 if any failed.
"use strict";

const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");
const { default: OpenAI } = require("openai");

const { SANDBOX_BILL: BILL, SLOW_BASE_URL, SLOW_BILL, OPENAI_BASE_URL } = process.env;
const UPSTREAM = BILL.replace("/sandbox/bill", "/v1");
const VIDEO_MODEL = "doubao-seedance-2-0-720p";
const PNG = "\x89PNG\r\n\x1a\n";

const client = new OpenAI({ maxRetries: 0 });
const checks = [];
const check = (promise, run) => checks.push({ promise, run });

/** The bytes behind a link, asked for as a browser would: without any key. */
async function fetchBytes(link) {
  const answer = await fetch(link);
  assert.equal(answer.status, 200, link);
  return Buffer.from(await answer.arrayBuffer());
}

async function bill(kind, url) {
  const all = await (await fetch(url)).json();
  return [all[kind], all.total];
}

/** While `block` runs, `kind` rises by exactly `runs` on the bill and no other kind rises. */
async function paid(runs, kind, block, url = BILL) {
  const before = await bill(kind, url);
  const result = await block();
  const after = await bill(kind, url);
  const rise = after.map((count, i) => count - before[i]);
  assert.deepEqual(rise, [runs, runs], `what ${kind} and the total rose by`);
  return result;
}

/** The error that a call ends with. */
async function errorOf(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: "no error came" });
}

const chat = (prompt, more) => ({ model: "grok-4.5", messages: [{ role: "user", content: prompt }], ...more });
const image = (prompt, form) => ({ model: "grok-imagine-image", prompt, response_format: form });
const magic = (bytes, from, to) => bytes.subarray(from, to).toString("latin1");
const plain = (answer) => JSON.parse(JSON.stringify(answer));

async function seeStream(stream) {
  const events = [];
  for await (const event of stream) events.push(plain(event));
  const text = events.flatMap((e) => e.choices ?? []).map((c) => c.delta.content ?? "").join("");
  const done = events.at(-1).type === "response.completed";
  assert.ok(text || done, `neither text nor an end: ${JSON.stringify(events)}`);
  return { text, events };
}

async function seePicture(bytes) {
  assert.equal(magic(bytes, 0, 8), PNG);
  return bytes;
}

async function seeSound(answer) {
  const bytes = Buffer.from(await answer.arrayBuffer());
  assert.equal(magic(bytes, 0, 4), "RIFF");
  return bytes;
}

async function seeVector(answer) {
  const vector = answer.data[0].embedding;
  assert.ok(vector.length > 1 && vector.every((x) => typeof x === "number"));
  return vector;
}

// Made anew for each call, so that only their content can be equal.
const picture = () => new File(["not read by anyone"], "in.png", { type: "image/png" });
const recording = () => new File(["RIFF....WAVE"], "in.wav", { type: "audio/wav" });

// name, kind on the bill, the call for a prompt (with its request options), what is compared
const generations = [
  ["chat", "chat", (p) => client.chat.completions.create(chat(p)), plain],
  ["chat stream", "chat", (p) => client.chat.completions.create(chat(p, { stream: true })), seeStream],
  [
    "images as links",
    "images",
    (p) => client.images.generate(image(p, "url")),
    // The link may move from upstream to the kept copy between two answers; the picture may not change.
    async (answer) => seePicture(await fetchBytes(answer.data[0].url)),
  ],
  [
    "images as base64",
    "images",
    (p) => client.images.generate(image(p, "b64_json")),
    (answer) => seePicture(Buffer.from(answer.data[0].b64_json, "base64")),
  ],
  [
    "image edits (multipart)",
    "images",
    (p) => client.images.edit({ ...image(p, "b64_json"), image: picture() }),
    (answer) => seePicture(Buffer.from(answer.data[0].b64_json, "base64")),
  ],
  ["embeddings", "embeddings", (p) => client.embeddings.create({ model: "e", input: p }), seeVector],
  [
    "speech",
    "audio",
    (p) => client.audio.speech.create({ model: "tts-1", voice: "alloy", input: p, response_format: "wav" }),
    seeSound,
  ],
  [
    "transcriptions (multipart)",
    "audio",
    (p) => client.audio.transcriptions.create({ model: "whisper-1", prompt: p, file: recording() }),
    (answer) => answer.text,
  ],
  ["responses", "chat", (p) => client.responses.create({ model: "grok-4.5", input: p }), plain],
  [
    "responses stream",
    "chat",
    (p) => client.responses.create({ model: "grok-4.5", input: p, stream: true }),
    seeStream,
  ],
];

for (const [name, kind, call, see] of generations) {
  check(`${name}: three calls are one run, another prompt is another run`, async () => {
    await paid(1, kind, async () => {
      const first = await see(await call("a harbour"));
      const { data, response } = await call("a harbour").withResponse();
      const second = await see(data);
      assert.deepEqual(second, first);
      assert.match(response.headers.get("cache-status") ?? "", /hit/);
      assert.deepEqual(await see(await call("a harbour")), first);
    });
    await paid(1, kind, async () => see(await call("another harbour")));
  });
}

check("videos: multipart submits are one job, which ends in a clip", async () => {
  const submit = (prompt) => client.videos.create({ model: VIDEO_MODEL, prompt, seconds: "4" });
  const job = await paid(1, "video", async () => {
    const first = await submit("a harbour");
    const { data, response } = await submit("a harbour").withResponse();
    assert.deepEqual([plain(data), plain(await submit("a harbour"))], [plain(first), plain(first)]);
    assert.match(response.headers.get("cache-status") ?? "", /hit|collapsed/);
    let video = first;
    for (const end = Date.now() + 30_000; /queued|in_progress/.test(video.status) && Date.now() < end; ) {
      await sleep(200);
      video = await client.videos.retrieve(first.id);
    }
    assert.deepEqual([video.id, video.status], [first.id, "completed"]);
    const clips = [];
    for (let i = 0; i < 2; i++) {
      const answer = await client.videos.downloadContent(video.id);
      clips.push(Buffer.from(await answer.arrayBuffer()));
    }
    assert.equal(magic(clips[0], 4, 8), "ftyp");
    assert.deepEqual(clips[1], clips[0]);
    assert.equal((await submit("a harbour")).id, first.id);
    return first;
  });
  await paid(1, "video", async () => assert.notEqual((await submit("another harbour")).id, job.id));
});

check("the JSON video route: three submits are one job, whose link holds a clip", async () => {
  const body = { model: VIDEO_MODEL, prompt: "a quay", seconds: "5", metadata: { ratio: "16:9" } };
  const submit = (more) => client.post("/video/generations", { body: { ...body, ...more } });
  const task = await paid(1, "video", async () => {
    const first = await submit();
    assert.deepEqual([await submit(), await submit()], [first, first]);
    let data = {};
    for (const end = Date.now() + 30_000; !/^(SUCCESS|FAILURE)$/.test(data.status) && Date.now() < end; ) {
      await sleep(200);
      ({ data } = await client.get(`/video/generations/${first.task_id}`));
    }
    assert.deepEqual([data.task_id, data.status], [first.task_id, "SUCCESS"]);
    assert.equal(magic(await fetchBytes(data.result_url), 4, 8), "ftyp");
    return first.task_id;
  });
  await paid(1, "video", async () => assert.notEqual((await submit({ seconds: "6" })).task_id, task));
});

check("plain fetch shares the run with the SDK", async () => {
  await paid(1, "chat", async () => {
    const body = chat("by any way");
    const first = plain(await client.chat.completions.create(body));
    const answer = await fetch(`${OPENAI_BASE_URL}/chat/completions`, {
      method: "POST",
      headers: { authorization: "Bearer any", "content-type": "application/json" },
      body: JSON.stringify(body, null, 2),
    });
    assert.deepEqual(await answer.json(), first);
  });
});

check("models are listed and cost nothing", async () => {
  const names = [];
  await paid(0, "total", async () => {
    for await (const model of client.models.list()) names.push(model.id);
  });
  assert.ok(names.includes(VIDEO_MODEL), names.join());
});

check("upstream's error reaches the SDK unchanged and is not kept", async () => {
  const direct = new OpenAI({ baseURL: UPSTREAM, maxRetries: 0 });
  const body = { ...chat("who is there?"), model: "no-such-model" };
  await paid(0, "total", async () => {
    for (let i = 0; i < 2; i++) {
      const errors = [];
      for (const who of [direct, client]) errors.push(await errorOf(who.chat.completions.create(body)));
      for (const error of errors) assert.ok(error instanceof OpenAI.InternalServerError, error);
      const [expected, seen] = errors.map(({ status, code, type, message }) => {
        return [status, code, type, message.replace(/\(request id:[^)]*\)/, "")];
      });
      assert.deepEqual(seen, expected);
      assert.equal(seen[1], "model_not_found");
      assert.doesNotMatch(errors[1].headers.get("cache-status") ?? "", /hit/);
    }
  });
});

check("only-if-cached never runs, and tells the SDK not to retry", async () => {
  let attempts = 0;
  const counting = (...request) => (attempts++, fetch(...request));
  const retrying = new OpenAI({ maxRetries: 2, fetch: counting });
  const headers = { "cache-control": "only-if-cached" };
  const error = await paid(0, "total", () => errorOf(retrying.chat.completions.create(chat("not there"), { headers })));
  assert.deepEqual([error.status, error.code, attempts], [504, "not_cached", 1]);
});

check("five identical calls at once are one run", async () => {
  await paid(1, "chat", async () => {
    const calls = Array.from({ length: 5 }, () => client.chat.completions.create(chat("five at once")));
    const [first, ...rest] = (await Promise.all(calls)).map(plain);
    for (const answer of rest) assert.deepEqual(answer, first);
  });
});

check("a client over its limit is told how long to wait, waits, and is let in", async () => {
  let calls = 0;
  const counted = (...request) => {
    calls += 1;
    return fetch(...request);
  };
  const options = { baseURL: process.env.GUARDED_BASE_URL, apiKey: process.env.HASTY_KEY, fetch: counted };
  const hasty = new OpenAI({ ...options, maxRetries: 0 });
  const error = await errorOf(
    (async () => {
      for (let nth = 0; nth < 100; nth += 1) await hasty.models.list();
    })(),
  );
  assert.ok(error instanceof OpenAI.RateLimitError, error);
  assert.deepEqual([error.code, error.type], ["rate_limit_exceeded", "rate_limit_error"]);
  const told = (name) => error.headers.get(name);
  assert.equal(told("x-ratelimit-limit-requests"), "12");
  assert.equal(told("x-ratelimit-remaining-requests"), "0");
  const wait = Number(told("retry-after-ms"));
  assert.ok(wait > 0 && wait <= 5000, told("retry-after-ms"));
  assert.equal(Number(told("retry-after")), Math.ceil(wait / 1000));
  calls = 0;
  const begun = performance.now();
  await new OpenAI({ ...options, maxRetries: 2 }).models.list();
  assert.equal(calls, 2, "refused once, let in after the wait");
  assert.ok(performance.now() - begun < 20_000, "it slept for longer than it was told to");
});

check("a budget that is used up is told once, and not retried", async () => {
  let calls = 0;
  const counted = (...request) => {
    calls += 1;
    return fetch(...request);
  };
  const options = { baseURL: process.env.GUARDED_BASE_URL, apiKey: process.env.POOR_KEY, fetch: counted };
  const poor = new OpenAI({ ...options, maxRetries: 2 });
  const messages = [{ role: "user", content: "too dear" }];
  const error = await errorOf(poor.chat.completions.create({ model: "grok-4.5", messages }));
  assert.equal(error.status, 402, error);
  assert.deepEqual([error.code, error.type], ["insufficient_quota", "insufficient_quota"]);
  assert.match(error.message, /usd_per_day/);
  assert.equal(calls, 1);
});

check("a client that times out and retries does not pay again, and finds its answer later", async () => {
  const options = { baseURL: SLOW_BASE_URL };
  const hasty = new OpenAI({ ...options, maxRetries: 2, timeout: 500 });
  const patient = new OpenAI({ ...options, maxRetries: 0, timeout: 60_000 });
  for (const [kind, call] of [
    ["chat", (who) => who.chat.completions.create(chat("slowly"))],
    ["images", (who) => who.images.generate(image("slowly", "b64_json"))],
  ]) {
    await paid(
      1,
      kind,
      async () => {
        const error = await errorOf(call(hasty));
        assert.ok(error instanceof OpenAI.APIConnectionTimeoutError, error);
        const answer = await call(patient);
        assert.ok(answer.choices?.[0].message.content || answer.data?.[0].b64_json, JSON.stringify(answer));
      },
      SLOW_BILL,
    );
  }
});

(async () => {
  let failed = 0;
  for (const { promise, run } of checks) {
    try {
      await run();
      console.log(`ok      ${promise}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${promise}\n${error.stack}`);
    }
  }
  const version = require("openai/version").VERSION;
  console.log(`openai ${version}: ${checks.length - failed} of ${checks.length} checks passed`);
  process.exitCode = failed ? 1 : 0;
})();
