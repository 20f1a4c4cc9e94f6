// What the Node suites of other clients share: checks, the sandbox's bill, and what was paid.
"use strict";

const assert = require("node:assert/strict");

const checks = [];

/** Adds a check. */
const check = (promise, run) => checks.push({ promise, run });

async function bill(kind, url) {
  const all = await (await fetch(url)).json();
  return [all[kind], all.total];
}

/** While `block` runs, `kind` rises by exactly `runs` on the bill and no other kind rises. */
async function paid(runs, kind, block, url = process.env.SANDBOX_BILL) {
  const before = await bill(kind, url);
  const result = await block();
  const after = await bill(kind, url);
  assert.deepEqual(
    after.map((count, i) => count - before[i]),
    [runs, runs],
    `what ${kind} and the total rose by`,
  );
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

/** Every check runs; the exit code is 1 if any failed. */
async function run(name) {
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
  console.log(`${name}: ${checks.length - failed} of ${checks.length} checks passed`);
  process.exitCode = failed ? 1 : 0;
}

module.exports = { check, paid, errorOf, run };
