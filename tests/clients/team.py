"""The official Python client with keys that `reprise keys` makes while the proxy runs."""

import json
import os
import subprocess
import time

import openai

from checks import BASE_URL, bill, check, error_of, paid, run

HOME, REPRISE = os.environ["PROXY_HOME"], os.environ["REPRISE"]
KEYS = {}


def reprise(*arguments):
    """What a command prints as JSON, for the configuration of the running proxy."""
    done = subprocess.run(
        [REPRISE, "keys", *arguments, "--json"], cwd=HOME, env={"HOME": HOME}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def client(name, **options):
    return openai.OpenAI(base_url=BASE_URL, api_key=KEYS.get(name, name), **{"max_retries": 0, **options})


def until_told(name, *, lets_in):
    """Waits until the running proxy has read its configuration again."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            client(name).models.list()
            is_in = True
        except openai.AuthenticationError:
            is_in = False
        if is_in == lets_in:
            return
        time.sleep(0.2)
    raise AssertionError(f"the proxy did not take the change of {name}'s key")


def counted(name):
    """A client that may try three times, and what it sent."""
    calls = []
    http_client = openai.DefaultHttpxClient(event_hooks={"request": [calls.append]})
    return client(name, max_retries=2, http_client=http_client), calls


def ask(api, text):
    return api.chat.completions.create(model="grok-4.5", messages=[{"role": "user", "content": text}])


@check
def a_key():
    """a key that was just made lets its client in, shares what is kept, and everybody else needs one"""
    with paid(1, "chat"):
        first = ask(client("anybody"), "whose is this?").to_dict()
    made = reprise("add", "ann")
    KEYS["ann"] = made["key"]
    assert made["key"].startswith("sk-reprise-"), "a key of another form"
    until_told("ann", lets_in=True)
    until_told("anybody", lets_in=False)
    with paid(0, "chat"):
        assert ask(client("ann"), "whose is this?").to_dict() == first
    api, calls = counted("anybody")
    error = error_of(lambda: ask(api, "whose is this?"), openai.AuthenticationError)
    assert (error.status_code, error.code) == (401, "invalid_api_key"), error.body
    assert len(calls) == 1, "401 was tried again"


@check
def a_limit():
    """a client over its limit is told when to come back, and a patient one does"""
    KEYS["hasty"] = reprise("add", "hasty", "--requests-per-minute", "30")["key"]
    until_told("hasty", lets_in=True)
    error = None
    for _ in range(100):
        try:
            client("hasty").models.list()
        except openai.RateLimitError as refused:
            error = refused
            break
    assert error is not None, "nobody was refused"
    headers = error.response.headers
    wait = int(headers["retry-after-ms"])
    assert 0 < wait <= 2000 and int(headers["retry-after"]) == -(-wait // 1000), headers
    answer = client("hasty", max_retries=2).models.with_raw_response.list()
    assert answer.retries_taken >= 1, answer.retries_taken
    client("ann").models.list()


@check
def a_budget():
    """a budget that no generation fits in is told once, and nothing is paid"""
    KEYS["poor"] = reprise("add", "poor", "--usd-per-day", "0.000001")["key"]
    until_told("poor", lets_in=True)
    before = bill()
    api, calls = counted("poor")
    error = error_of(lambda: ask(api, "too dear"), openai.APIStatusError)
    assert (error.status_code, error.code) == (402, "insufficient_quota"), error.body
    assert len(calls) == 1, "402 was tried again"
    assert bill() == before
    with paid(0, "chat"):
        ask(api, "whose is this?")


@check
def another_key():
    """a key that was replaced or removed lets nobody in, and says so once"""
    KEYS["ann of old"] = KEYS["ann"]
    KEYS["ann"] = reprise("rotate", "ann")["key"]
    until_told("ann", lets_in=True)
    until_told("ann of old", lets_in=False)
    reprise("remove", "ann")
    until_told("ann", lets_in=False)
    api, calls = counted("ann")
    error = error_of(lambda: ask(api, "whose is this?"), openai.AuthenticationError)
    assert (error.status_code, error.code) == (401, "invalid_api_key"), error.body
    assert len(calls) == 1, "401 was tried again"
    with paid(1, "chat"):
        # The budget of one client is nothing to another.
        ask(client("hasty", max_retries=2), "mine")


if __name__ == "__main__":
    run(f"openai {openai.__version__}, with keys")
