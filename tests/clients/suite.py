"""The official Python client, synchronous and asynchronous, against a running proxy.

Each kind of generation is asked for three times in three ways (plain, with the raw response, asynchronous):
one run on the sandbox's bill, three equal answers. Every check runs; the exit code is 1 if any failed.
"""

import asyncio
import base64
import json
import os
import re
import time
import traceback
import urllib.request
import warnings
from operator import attrgetter

import openai

# The SDK calls its videos surface deprecated; people use it, so it has to work.
warnings.filterwarnings("ignore", category=DeprecationWarning)

BILL = os.environ["SANDBOX_BILL"]
UPSTREAM = BILL.replace("/sandbox/bill", "/v1")
SLOW_BASE_URL, SLOW_BILL = os.environ["SLOW_BASE_URL"], os.environ["SLOW_BILL"]
VIDEO_MODEL = "doubao-seedance-2-0-720p"
PNG, MP4 = b"\x89PNG\r\n\x1a\n", b"ftyp"

client = openai.OpenAI(max_retries=0)
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


def call(who, method, arguments):
    return attrgetter(method)(who)(**arguments)


def raw(method, arguments):
    """The parsed answer and its headers."""
    resource, _, verb = method.rpartition(".")
    answer = call(client, f"{resource}.with_raw_response.{verb}", arguments)
    return answer.parse(), answer.headers


async def asynchronously(method, arguments, see):
    async with openai.AsyncOpenAI(max_retries=0) as other:
        answer = await call(other, method, arguments)
        if hasattr(answer, "__aiter__"):
            answer = [event async for event in answer]
        return see(answer)


def status_of(headers):
    return headers.get("cache-status", "")


def chat(prompt, **more):
    return {"model": "grok-4.5", "messages": [{"role": "user", "content": prompt}], **more}


def see_object(answer):
    return answer.to_dict()


def see_chat_stream(events):
    events = [event.to_dict() for event in events]
    text = "".join(c["delta"].get("content") or "" for e in events for c in e["choices"])
    assert text, "the stream held no text"
    return text, events


def see_events(events):
    events = [event.to_dict() for event in events]
    assert events[-1]["type"] == "response.completed", events[-1]
    return events


def see_response(answer):
    assert answer.output_text, "no text"
    return answer.to_dict()


def see_base64(answer):
    image = base64.b64decode(answer.data[0].b64_json)
    assert image.startswith(PNG), image[:16]
    return image


def see_link(answer):
    # The link may move from upstream to the kept copy between two answers; the picture may not change.
    image = fetch(answer.data[0].url)
    assert image.startswith(PNG), image[:16]
    return image


def see_embedding(answer):
    vector = answer.data[0].embedding
    assert len(vector) > 1 and all(isinstance(x, float) for x in vector)
    return vector


def see_sound(answer):
    sound = answer.read() if hasattr(answer, "read") else answer
    assert sound.startswith(b"RIFF"), sound[:16]
    return sound


def see_text(answer):
    assert answer.text
    return answer.text


def image(prompt, form):
    return {"model": "grok-imagine-image", "prompt": prompt, "response_format": form}


def edit(prompt):
    picture = ("in.png", PNG + b"not read by anyone", "image/png")
    return {**image(prompt, "b64_json"), "image": picture}


def sound(prompt):
    return {"model": "tts-1", "voice": "alloy", "input": prompt, "response_format": "wav"}


def recording(prompt):
    return {"model": "whisper-1", "prompt": prompt, "file": ("in.wav", b"RIFF....WAVE", "audio/wav")}


# name, kind on the bill, method, arguments for a prompt, what is compared
GENERATIONS = [
    ("chat", "chat", "chat.completions.create", chat, see_object),
    ("chat stream", "chat", "chat.completions.create", lambda p: chat(p, stream=True), see_chat_stream),
    ("images as links", "images", "images.generate", lambda p: image(p, "url"), see_link),
    ("images as base64", "images", "images.generate", lambda p: image(p, "b64_json"), see_base64),
    ("image edits", "images", "images.edit", edit, see_base64),
    ("embeddings", "embeddings", "embeddings.create", lambda p: {"model": "e", "input": p}, see_embedding),
    ("speech", "audio", "audio.speech.create", sound, see_sound),
    ("transcriptions", "audio", "audio.transcriptions.create", recording, see_text),
    ("responses", "chat", "responses.create", lambda p: {"model": "grok-4.5", "input": p}, see_response),
    (
        "responses stream",
        "chat",
        "responses.create",
        lambda p: {"model": "grok-4.5", "input": p, "stream": True},
        see_events,
    ),
]


def check_generation(name, kind, method, arguments, see):
    def thrice():
        with paid(1, kind):
            first = see(call(client, method, arguments("a lighthouse")))
            second, headers = raw(method, arguments("a lighthouse"))
            second = see(second)
            third = asyncio.run(asynchronously(method, arguments("a lighthouse"), see))
        assert first == second == third, f"not equal:\n{first}\n{second}\n{third}"
        assert "hit" in status_of(headers), dict(headers)
        with paid(1, kind):
            call(client, method, arguments("another lighthouse"))

    thrice.__doc__ = f"{name}: three calls are one run, another prompt is another run"
    check(thrice)


for generation in GENERATIONS:
    check_generation(*generation)


@check
def videos():
    """videos: multipart submits are one job, which ends in a clip"""
    arguments = {"model": VIDEO_MODEL, "prompt": "a lighthouse", "seconds": "4"}
    with paid(1, "video"):
        first = client.videos.create(**arguments)
        second, headers = raw("videos.create", arguments)
        third = asyncio.run(asynchronously("videos.create", arguments, see_object))
        assert first.to_dict() == second.to_dict() == third, f"{first}\n{second}\n{third}"
        assert "hit" in status_of(headers) or "collapsed" in status_of(headers), dict(headers)
        video, end = first, time.monotonic() + 30
        while video.status in ("queued", "in_progress") and time.monotonic() < end:
            time.sleep(0.2)
            video = client.videos.retrieve(first.id)
        assert (video.id, video.status) == (first.id, "completed"), video
        clips = [client.videos.download_content(video.id).read() for _ in range(2)]
        assert clips[0][4:8] == MP4 and clips[0] == clips[1], clips[0][:16]
        again = client.videos.create_and_poll(**arguments, poll_interval_ms=200)
        assert (again.id, again.status) == (first.id, "completed"), again
    with paid(1, "video"):
        other = client.videos.create(**{**arguments, "prompt": "another lighthouse"})
        assert other.id != first.id


@check
def json_video_route():
    """the JSON video route: three submits are one job, whose link holds a clip"""
    body = {"model": VIDEO_MODEL, "prompt": "a pier", "seconds": "5", "metadata": {"ratio": "16:9"}}
    with paid(1, "video"):
        tasks = [client.post("/video/generations", body=body, cast_to=object) for _ in range(3)]
        assert tasks[0] == tasks[1] == tasks[2], tasks
        task = tasks[0]["task_id"]
        data, end = {}, time.monotonic() + 30
        while data.get("status") not in ("SUCCESS", "FAILURE") and time.monotonic() < end:
            time.sleep(0.2)
            data = client.get(f"/video/generations/{task}", cast_to=object)["data"]
        assert (data["task_id"], data["status"]) == (task, "SUCCESS"), data
        clip = fetch(data["result_url"])
        assert clip[4:8] == MP4, clip[:16]
    with paid(1, "video"):
        other = client.post("/video/generations", body={**body, "seconds": "6"}, cast_to=object)
        assert other["task_id"] != task


@check
def models():
    """models are listed and cost nothing"""
    with paid(0, "total"):
        names = [model.id for model in client.models.list()]
    assert VIDEO_MODEL in names, names


@check
def errors():
    """upstream's error reaches the SDK unchanged and is not kept"""
    direct = openai.OpenAI(base_url=UPSTREAM, max_retries=0)
    arguments = {**chat("who is there?"), "model": "no-such-model"}
    with paid(0, "total"):
        for _ in range(2):
            seen = []
            for who in (direct, client):
                try:
                    who.chat.completions.create(**arguments)
                    raise AssertionError("no error came")
                except openai.InternalServerError as error:
                    message = re.sub(r"\(request id:[^)]*\)", "", error.message)
                    seen.append((error.status_code, error.code, error.type, message))
                    headers = error.response.headers
            assert seen[0] == seen[1], seen
            assert seen[1][1] == "model_not_found", seen
            assert "hit" not in status_of(headers), dict(headers)


@check
def directives():
    """no-cache runs again, only-if-cached never runs, a take is a run of its own"""
    ask = chat("a directive")

    def with_header(**headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.chat.completions.create(**ask, extra_headers=headers).to_dict()

    with paid(0, "total"):
        try:
            # Two retries are allowed here and none may be used up: the proxy says that they are in vain.
            openai.OpenAI(max_retries=2).chat.completions.create(
                **ask, extra_headers={"Cache-Control": "only-if-cached"}
            )
            raise AssertionError("no error came")
        except openai.APIStatusError as error:
            assert (error.status_code, error.code) == (504, "not_cached"), error
            assert error.response.request.headers["x-stainless-retry-count"] == "0"
    with paid(3, "chat"):
        first = with_header()
        fresh = with_header(Cache_Control="no-cache")
        take = with_header(Reprise_Take="2")
        assert len({a["id"] for a in (first, fresh, take)}) == 3, (first, fresh, take)
        assert with_header() == fresh
        assert with_header(Cache_Control="only-if-cached") == fresh
        assert with_header(Reprise_Take="2") == take


@check
def at_once():
    """five identical calls at once are one run"""

    async def five():
        async with openai.AsyncOpenAI(max_retries=0) as other:
            ask = chat("five at once")
            return await asyncio.gather(*(other.chat.completions.create(**ask) for _ in range(5)))

    with paid(1, "chat"):
        answers = [answer.to_dict() for answer in asyncio.run(five())]
    assert all(answer == answers[0] for answer in answers), answers


@check
def limits():
    """a client over its limit is told how long to wait, waits, and is let in"""
    hasty = openai.OpenAI(base_url=os.environ["GUARDED_BASE_URL"], api_key=os.environ["HASTY_KEY"], max_retries=0)
    error = None
    for _ in range(100):
        try:
            hasty.models.list()
        except openai.RateLimitError as refused:
            error = refused
            break
    assert error is not None, "nobody was refused"
    headers = error.response.headers
    assert (error.code, error.type) == ("rate_limit_exceeded", "rate_limit_error"), error.body
    assert headers["x-ratelimit-limit-requests"] == "12", headers
    assert headers["x-ratelimit-remaining-requests"] == "0", headers
    wait = int(headers["retry-after-ms"])
    assert 0 < wait <= 5000 and int(headers["retry-after"]) == -(-wait // 1000), headers
    begun = time.monotonic()
    answer = hasty.with_options(max_retries=2).models.with_raw_response.list()
    assert answer.retries_taken == 1, answer.retries_taken
    assert time.monotonic() - begun < 20, "it slept for longer than it was told to"


@check
def budgets():
    """a budget that is used up is told once, and not retried"""
    calls = []
    http_client = openai.DefaultHttpxClient(event_hooks={"request": [calls.append]})
    poor = openai.OpenAI(
        base_url=os.environ["GUARDED_BASE_URL"], api_key=os.environ["POOR_KEY"], max_retries=2, http_client=http_client
    )
    try:
        poor.chat.completions.create(model="grok-4.5", messages=[{"role": "user", "content": "too dear"}])
        raise AssertionError("nobody was refused")
    except openai.APIStatusError as error:
        assert error.status_code == 402, error
        assert (error.code, error.type) == ("insufficient_quota", "insufficient_quota"), error.body
        assert "usd_per_day" in error.message, error.message
    assert len(calls) == 1, calls


@check
def impatience():
    """a client that times out and retries does not pay again, and finds its answer later"""
    generations = [
        ("chat", "chat.completions.create", chat("slowly"), see_object),
        ("images", "images.generate", image("slowly", "b64_json"), see_base64),
    ]
    patient = openai.OpenAI(base_url=SLOW_BASE_URL, max_retries=0, timeout=60)
    hasty = openai.OpenAI(base_url=SLOW_BASE_URL, max_retries=2, timeout=0.5)
    for kind, method, arguments, see in generations:
        with paid(1, kind, SLOW_BILL):
            try:
                call(hasty, method, arguments)
                raise AssertionError("the answer came too soon to test anything")
            except openai.APITimeoutError:
                pass
            see(call(patient, method, arguments))


def main():
    failed = 0
    for promise, function in checks:
        try:
            function()
            print(f"ok      {promise}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {promise}\n{traceback.format_exc()}", flush=True)
    print(f"openai {openai.__version__}: {len(checks) - failed} of {len(checks)} checks passed")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
