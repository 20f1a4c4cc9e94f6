// The `ws` package against the sandbox, and against a proxy in front of it.
"use strict";

const assert = require("node:assert/strict");
const { randomBytes } = require("node:crypto");
const { once } = require("node:events");
const WebSocket = require("ws");
const { check, run } = require("./checks.cjs");

const { SANDBOX_BILL, OPENAI_BASE_URL, GUARDED_BASE_URL, GUARDED_KEY } = process.env;
const realtime = (base) => `${base.replace("http://", "ws://")}/realtime?model=m`;
const bearer = (key) => ({ headers: { authorization: `Bearer ${key}` }, handshakeTimeout: 10_000 });

/** Opens, says everything, hears it back, says goodbye; gives the subprotocol. */
async function converse(url, protocols, options) {
  const socket = new WebSocket(url, protocols, options);
  await once(socket, "open");
  for (const message of ["hello", "", "grüß dich 😀", Buffer.alloc(0), randomBytes(300), randomBytes(1_000_000)]) {
    socket.send(message);
    const [back, binary] = await once(socket, "message");
    assert.equal(binary, typeof message !== "string");
    assert.ok(back.equals(Buffer.from(message)));
  }
  socket.send("in ", { fin: false });
  socket.send("two", { fin: true });
  assert.equal(String((await once(socket, "message"))[0]), "in two");
  socket.ping("?");
  assert.equal(String((await once(socket, "pong"))[0]), "?");
  socket.close(3001, "done");
  const [code, reason] = await once(socket, "close");
  assert.deepEqual([code, String(reason)], [3001, "done"]);
  return socket.protocol;
}

for (const [place, base] of [
  ["sandbox", SANDBOX_BILL.replace("/sandbox/bill", "/v1")],
  ["proxy", OPENAI_BASE_URL],
]) {
  check(`${place}: messages, pieces, pings and the goodbye come back`, async () => {
    assert.equal(await converse(realtime(base), [], bearer("any")), "");
    assert.equal(await converse(realtime(base), ["realtime", "other"], bearer("any")), "realtime");
  });
}

check("ten conversations at once are ten", async () => {
  await Promise.all(Array.from({ length: 10 }, () => converse(realtime(OPENAI_BASE_URL), [], bearer("any"))));
});

check("a key in the head or among the subprotocols opens the door, a wrong one gets 401", async () => {
  const url = realtime(GUARDED_BASE_URL);
  await converse(url, [], bearer(GUARDED_KEY));
  assert.equal(await converse(url, ["realtime", `openai-insecure-api-key.${GUARDED_KEY}`], {}), "realtime");
  for (const [protocols, options] of [
    [[], bearer("rp-wrong")],
    [["realtime", "openai-insecure-api-key.rp-wrong"], {}],
  ]) {
    const socket = new WebSocket(url, protocols, options);
    const [, answer] = await once(socket, "unexpected-response");
    assert.equal(answer.statusCode, 401);
    answer.destroy();
  }
});

run(`ws ${require("ws/package.json").version}`);
