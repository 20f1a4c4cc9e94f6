"""What the Python suites share: checks, the sandbox's bill, and the proxy that says no."""

import json
import os
import traceback
import urllib.request

BASE_URL, BILL = os.environ["OPENAI_BASE_URL"], os.environ["SANDBOX_BILL"]
SLOW_BASE_URL, SLOW_BILL = os.environ["SLOW_BASE_URL"], os.environ["SLOW_BILL"]
GUARDED_BASE_URL, GUARDED_BILL = os.environ["GUARDED_BASE_URL"], os.environ["GUARDED_BILL"]
GUARDED_KEY = os.environ["GUARDED_KEY"]

checks = []


def check(function):
    """Adds a check; its doc string is what it promises."""
    checks.append((function.__doc__, function))


def fetch(url):
    """The bytes behind a link, asked for as a browser would: without any key."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def bill(kind="total", url=BILL):
    return json.loads(fetch(url))[kind]


class paid:
    """Inside this block, `kind` rises by exactly `runs` on the bill and no other kind rises."""

    def __init__(self, runs, kind, url=BILL):
        self.runs, self.kind, self.url = runs, kind, url

    def __enter__(self):
        self.before = bill(self.kind, self.url), bill("total", self.url)

    def __exit__(self, error, *_):
        if error is None:
            after = bill(self.kind, self.url), bill("total", self.url)
            rise = tuple(b - a for a, b in zip(self.before, after))
            assert rise == (self.runs, self.runs), f"{self.kind}, total rose by {rise}, not {self.runs}"


def error_of(call, *classes):
    """The error that a call ends with, which is of one of these classes."""
    try:
        call()
    except classes as error:
        return error
    raise AssertionError("no error came")


def run(name):
    """Every check runs; the exit code is 1 if any failed."""
    failed = 0
    for promise, function in checks:
        try:
            function()
            print(f"ok      {promise}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {promise}\n{traceback.format_exc()}", flush=True)
    print(f"{name}: {len(checks) - failed} of {len(checks)} checks passed")
    raise SystemExit(1 if failed else 0)
