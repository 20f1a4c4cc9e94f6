// The reference library of Standard Webhooks for Node verifies what the proxy sends.
//
// Two callers of one video, each with an address of its own: every call arrives once, its signature holds, and its
// body is what a poll shows.
"use strict";

const assert = require("node:assert");
const http = require("node:http");
const { Webhook } = require("standardwebhooks");

const base = process.env.OPENAI_BASE_URL;
const calls = [];

const receiver = http.createServer((request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    calls.push({ url: request.url, headers: request.headers, body: Buffer.concat(pieces).toString() });
    response.writeHead(204).end();
  });
});

const pause = () => new Promise((done) => setTimeout(done, 200));

async function main() {
  await new Promise((done) => receiver.listen(0, "127.0.0.1", done));
  const origin = `http://127.0.0.1:${receiver.address().port}`;
  let task;
  for (const path of ["/0", "/1"]) {
    const submit = await fetch(`${base}/video/generations`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model: "doubao-seedance-2-0-720p",
        prompt: "signed for node",
        metadata: { callback_url: origin + path },
      }),
    });
    task = (await submit.json()).task_id;
  }
  const end = Date.now() + 30_000;
  let shown = "";
  while (!shown.includes("SUCCESS") || calls.length < 2) {
    assert(Date.now() < end, `only ${calls.length} calls came; the poll shows ${shown}`);
    await pause();
    shown = await (await fetch(`${base}/video/generations/${task}`)).text();
  }
  const webhook = new Webhook(process.env.WEBHOOK_SECRET);
  assert.deepStrictEqual(calls.map((call) => call.url).sort(), ["/0", "/1"]);
  for (const { headers, body } of calls) {
    assert.strictEqual(webhook.verify(body, headers).data.task_id, task);
    assert.strictEqual(body, shown);
    assert.throws(() => webhook.verify(`${body} `, headers));
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
