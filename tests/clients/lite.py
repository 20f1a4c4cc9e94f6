"""LiteLLM's client against a running proxy."""

import asyncio
import os
from importlib.metadata import version

# The table of prices that the package brings along, rather than one from the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm  # noqa: E402
from checks import BASE_URL, GUARDED_BASE_URL, GUARDED_BILL, GUARDED_KEY, SLOW_BASE_URL, SLOW_BILL, check, error_of
from checks import fetch, paid, run

litellm.telemetry = False
litellm.suppress_debug_info = True


def options(url=BASE_URL, key="any", **more):
    return {"api_base": url, "api_key": key, "max_retries": 0, **more}


def chat(prompt, **more):
    return {"model": "openai/grok-4.5", "messages": [{"role": "user", "content": prompt}], **options(**more)}


@check
def completion():
    """completion: three calls are one run, another prompt is another run"""
    with paid(1, "chat"):
        first, second = (litellm.completion(**chat("a lighthouse")) for _ in range(2))
        third = asyncio.run(litellm.acompletion(**chat("a lighthouse")))
        texts = [answer.choices[0].message.content for answer in (first, second, third)]
        assert texts[0] and texts[0] == texts[1] == texts[2], texts
        assert first.id == second.id == third.id, (first, second, third)
    with paid(1, "chat"):
        litellm.completion(**chat("another lighthouse"))


@check
def stream():
    """completion stream: three calls are one run and the same pieces"""

    def pieces():
        return [piece.choices[0].delta.content for piece in litellm.completion(**chat("a lighthouse", stream=True))]

    with paid(1, "chat"):
        streams = [pieces() for _ in range(3)]
    assert any(streams[0]) and streams[0] == streams[1] == streams[2], streams


@check
def images():
    """images: three calls are one run"""
    ask = {"model": "openai/grok-imagine-image", "prompt": "a lighthouse"}
    with paid(1, "images"):
        answers = [litellm.image_generation(**ask, **options()) for _ in range(3)]
    # The link may move from upstream to the kept copy between two answers; the picture may not change.
    pictures = [fetch(answer.data[0].url) for answer in answers]
    assert pictures[0].startswith(b"\x89PNG") and pictures[0] == pictures[1] == pictures[2]


@check
def embeddings():
    """embeddings: three calls are one run"""
    with paid(1, "embeddings"):
        answers = [litellm.embedding(model="openai/e", input=["a lighthouse"], **options()) for _ in range(3)]
    vectors = [answer.data[0]["embedding"] for answer in answers]
    assert len(vectors[0]) > 1 and vectors[0] == vectors[1] == vectors[2]


@check
def wrong_key():
    """a wrong key is told in the proxy's words"""
    ask = chat("a pier", url=GUARDED_BASE_URL, key="rp-wrong")
    error = error_of(lambda: litellm.completion(**ask), litellm.AuthenticationError)
    assert error.status_code == 401 and "key" in error.message, error


@check
def refusals():
    """upstream's refusals for want of money and of pace arrive as what they are"""
    error = error_of(lambda: litellm.completion(**chat("[broke]")), Exception)
    assert error.status_code == 403 and "user quota is not enough" in str(error), error
    error = error_of(lambda: litellm.completion(**chat("[empty429]")), litellm.RateLimitError)
    assert error.status_code == 429, error


@check
def unknown_outcome():
    """an answer that never came is not asked for again, however often the client retries"""
    ask = chat("a pier", url=GUARDED_BASE_URL, key=GUARDED_KEY, max_retries=2)
    with paid(1, "chat", GUARDED_BILL):
        first = error_of(lambda: litellm.completion(**ask), Exception)
        assert first.status_code == 504, first
        second = error_of(lambda: litellm.completion(**ask), Exception)
        assert "reprise jobs resolve" in str(second), second


@check
def impatience():
    """a client that times out and retries does not pay again, and finds its answer later"""
    with paid(1, "chat", SLOW_BILL):
        hasty = chat("slowly", url=SLOW_BASE_URL, timeout=0.5, max_retries=2)
        error_of(lambda: litellm.completion(**hasty), litellm.Timeout)
        patient = litellm.completion(**chat("slowly", url=SLOW_BASE_URL, timeout=60))
        assert patient.choices[0].message.content, patient


run(f"litellm {version('litellm')}")
