// The AI SDK with its OpenAI-compatible provider, against a running proxy.
"use strict";

const assert = require("node:assert/strict");
const { APICallError, embedMany, generateImage, generateText, streamText } = require("ai");
const { VERSION, createOpenAICompatible } = require("@ai-sdk/openai-compatible");
const { check, errorOf, paid, run } = require("./checks.cjs");

const { OPENAI_BASE_URL, SLOW_BASE_URL, SLOW_BILL, GUARDED_BASE_URL, GUARDED_BILL, GUARDED_KEY } = process.env;

const at = (baseURL, apiKey = "any") => createOpenAICompatible({ name: "reprise", baseURL, apiKey });
const provider = at(OPENAI_BASE_URL);
const ask = (prompt, from = provider) => ({ model: from("grok-4.5"), prompt, maxRetries: 0 });

check("generateText: three calls are one run, another prompt is another run", async () => {
  await paid(1, "chat", async () => {
    const answers = [];
    for (let i = 0; i < 3; i++) answers.push(await generateText(ask("a harbour")));
    assert.ok(answers[0].text);
    assert.deepEqual(new Set(answers.map(({ text }) => text)).size, 1);
    assert.deepEqual(answers[2].usage, answers[0].usage);
    assert.match(answers[2].response.headers["cache-status"], /hit/);
  });
  await paid(1, "chat", () => generateText(ask("another harbour")));
});

check("streamText: three calls are one run and the same pieces", async () => {
  await paid(1, "chat", async () => {
    const streams = [];
    for (let i = 0; i < 3; i++) {
      const pieces = [];
      for await (const piece of streamText(ask("a harbour")).textStream) pieces.push(piece);
      streams.push(pieces);
    }
    assert.ok(streams[0].join(""));
    assert.deepEqual([streams[1], streams[2]], [streams[0], streams[0]]);
  });
});

check("generateText at once: five identical calls are one run", async () => {
  await paid(1, "chat", async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => generateText(ask("five at once"))));
    assert.equal(new Set(answers.map(({ text }) => text)).size, 1);
  });
});

check("generateImage: three calls are one run", async () => {
  await paid(1, "images", async () => {
    const images = [];
    for (let i = 0; i < 3; i++) {
      const model = provider.imageModel("grok-imagine-image");
      const { image } = await generateImage({ model, prompt: "a harbour", maxRetries: 0 });
      images.push(image.base64);
    }
    assert.ok(images[0].startsWith("iVBORw0KGgo"));
    assert.deepEqual([images[1], images[2]], [images[0], images[0]]);
  });
});

check("embedMany: three calls are one run", async () => {
  await paid(1, "embeddings", async () => {
    const results = [];
    for (let i = 0; i < 3; i++) {
      const model = provider.embeddingModel("e");
      const { embeddings } = await embedMany({ model, values: ["a harbour", "a quay"], maxRetries: 0 });
      results.push(embeddings);
    }
    assert.equal(results[0].length, 2);
    assert.deepEqual([results[1], results[2]], [results[0], results[0]]);
  });
});

check("a wrong key is told in the proxy's words", async () => {
  const error = await errorOf(generateText(ask("a quay", at(GUARDED_BASE_URL, "rp-wrong"))));
  assert.ok(APICallError.isInstance(error), error);
  assert.equal(error.statusCode, 401);
  assert.equal(JSON.parse(error.responseBody).error.code, "invalid_api_key");
  assert.equal(JSON.parse(error.responseBody).error.message, error.message);
});

check("upstream's refusals for want of money and of pace arrive as what they are", async () => {
  const broke = await errorOf(generateText(ask("[broke]")));
  assert.equal(broke.statusCode, 403);
  assert.match(broke.message, /user quota is not enough/);
  const pace = await errorOf(generateText(ask("[empty429]")));
  assert.equal(pace.statusCode, 429);
});

check("an answer that never came is not asked for again, however often the SDK retries", async () => {
  await paid(
    1,
    "chat",
    async () => {
      const guarded = at(GUARDED_BASE_URL, GUARDED_KEY);
      const first = await errorOf(generateText(ask("a quay", guarded)));
      assert.equal(first.statusCode, 504);
      assert.equal(JSON.parse(first.responseBody).error.code, "upstream_outcome_unknown");
      // This SDK retries a 409 whatever its headers say; that costs time, and no money.
      const retried = await errorOf(generateText({ ...ask("a quay", guarded), maxRetries: 1 }));
      const second = retried.lastError ?? retried;
      assert.equal(second.statusCode, 409);
      assert.match(second.message, /reprise jobs resolve/);
    },
    GUARDED_BILL,
  );
});

check("a client that times out and tries again does not pay again, and finds its answer", async () => {
  const slow = at(SLOW_BASE_URL);
  await paid(
    1,
    "chat",
    async () => {
      for (let i = 0; i < 3; i++) {
        const error = await errorOf(generateText({ ...ask("slowly", slow), abortSignal: AbortSignal.timeout(500) }));
        assert.match(error.name, /TimeoutError|AbortError/);
      }
      assert.ok((await generateText(ask("slowly", slow))).text);
    },
    SLOW_BILL,
  );
});

run(`@ai-sdk/openai-compatible ${VERSION}`);
