"""LangChain's OpenAI integration against a running proxy."""

import asyncio
from importlib.metadata import version

import openai
from checks import BASE_URL, GUARDED_BASE_URL, GUARDED_BILL, GUARDED_KEY, SLOW_BASE_URL, SLOW_BILL, check, error_of
from checks import paid, run
from langchain_openai import ChatOpenAI, OpenAIEmbeddings


def model(url=BASE_URL, key="any", **more):
    return ChatOpenAI(model="grok-4.5", base_url=url, api_key=key, **{"max_retries": 0, **more})


def embeddings(**more):
    # Texts go as they are: the other way needs a table of tokens from the network.
    return OpenAIEmbeddings(
        model="e", base_url=BASE_URL, api_key="any", check_embedding_ctx_length=False, max_retries=0, **more
    )


@check
def invoke():
    """invoke: three calls are one run, another prompt is another run"""
    with paid(1, "chat"):
        first, second = model().invoke("a lighthouse"), model().invoke("a lighthouse")
        third = asyncio.run(model().ainvoke("a lighthouse"))
        assert first.content and first.content == second.content == third.content, (first, second, third)
        assert first.response_metadata["id"] == second.response_metadata["id"], second
        assert first.usage_metadata == second.usage_metadata, second
    with paid(1, "chat"):
        model().invoke("another lighthouse")


@check
def stream():
    """stream: three calls are one run and the same pieces"""
    with paid(1, "chat"):
        streams = [[piece.content for piece in model().stream("a lighthouse")] for _ in range(3)]
    assert "".join(streams[0]) and streams[0] == streams[1] == streams[2], streams


@check
def batch():
    """batch: five identical inputs at once are one run"""
    with paid(1, "chat"):
        answers = model().batch(["a lighthouse at dawn"] * 5)
    assert len({answer.content for answer in answers}) == 1, answers


@check
def embed():
    """embeddings: the same texts are one run"""
    with paid(1, "embeddings"):
        vectors = [embeddings().embed_documents(["a lighthouse", "a pier"]) for _ in range(3)]
    assert len(vectors[0]) == 2 and vectors[0] == vectors[1] == vectors[2]


@check
def wrong_key():
    """a wrong key is told in the proxy's words"""
    error = error_of(lambda: model(GUARDED_BASE_URL, "rp-wrong").invoke("a pier"), openai.AuthenticationError)
    assert (error.status_code, error.code) == (401, "invalid_api_key"), error
    assert error.body["message"] in str(error), error


@check
def refusals():
    """upstream's refusals for want of money and of pace arrive as what they are"""
    error = error_of(lambda: model().invoke("[broke]"), openai.PermissionDeniedError)
    assert "user quota is not enough" in str(error), error
    error = error_of(lambda: model().invoke("[empty429]"), openai.RateLimitError)
    assert error.status_code == 429, error


@check
def unknown_outcome():
    """an answer that never came is not asked for again: 504, then 409, and neither is retried"""
    guarded = model(GUARDED_BASE_URL, GUARDED_KEY, max_retries=2)
    with paid(1, "chat", GUARDED_BILL):
        for status, code in [(504, "upstream_outcome_unknown"), (409, "outcome_unknown")]:
            error = error_of(lambda: guarded.invoke("a pier"), openai.APIStatusError)
            assert (error.status_code, error.code) == (status, code), error
            assert error.response.request.headers["x-stainless-retry-count"] == "0", status
    assert "reprise jobs resolve" in str(error), error


@check
def impatience():
    """a client that times out and retries does not pay again, and finds its answer later"""
    with paid(1, "chat", SLOW_BILL):
        hasty = model(SLOW_BASE_URL, timeout=0.5, max_retries=2)
        error_of(lambda: hasty.invoke("slowly"), openai.APITimeoutError)
        assert model(SLOW_BASE_URL, timeout=60).invoke("slowly").content


run(f"langchain-openai {version('langchain-openai')}")
