"""The `websockets` package against the sandbox, and against a proxy in front of it."""

import os
from importlib.metadata import version

from checks import BASE_URL, BILL, GUARDED_BASE_URL, GUARDED_KEY, check, error_of, run
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

PROTOCOLS = ["realtime", "other"]


def realtime(base):
    return base.replace("http://", "ws://") + "/realtime?model=m"


def bearer(key):
    return {"additional_headers": {"Authorization": f"Bearer {key}"}, "proxy": None}


def converse(url, **more):
    with connect(url, max_size=None, **more) as socket:
        for message in ["hello", "", "gr\u00fc\u00df dich \U0001f600", b"", bytes(range(256)), os.urandom(1_000_000)]:
            socket.send(message)
            assert socket.recv(timeout=30) == message, message[:80]
        socket.send(iter(["in ", "three ", "pieces"]))
        assert socket.recv(timeout=30) == "in three pieces"
        assert socket.ping(b"?").wait(timeout=30), "no pong came"
        protocol = socket.subprotocol
        socket.close(code=3001, reason="done")
        assert (socket.close_code, socket.close_reason) == (3001, "done"), socket.close_code
        return protocol


for place, base in [("sandbox", BILL.replace("/sandbox/bill", "/v1")), ("proxy", BASE_URL)]:

    def messages(base=base):
        assert converse(realtime(base), **bearer("any")) is None
        assert converse(realtime(base), subprotocols=PROTOCOLS, **bearer("any")) == "realtime"

    messages.__doc__ = f"{place}: messages, pieces, pings and the goodbye come back"
    check(messages)


@check
def keys():
    """a key in the head or among the subprotocols opens the door, a wrong one gets 401"""
    url = realtime(GUARDED_BASE_URL)
    converse(url, **bearer(GUARDED_KEY))
    offered = ["realtime", f"openai-insecure-api-key.{GUARDED_KEY}"]
    assert converse(url, subprotocols=offered, proxy=None) == "realtime"
    for wrong in [bearer("rp-wrong"), {"proxy": None}]:
        error = error_of(lambda: connect(url, **wrong), InvalidStatus)
        assert error.response.status_code == 401, error
        assert b"invalid_api_key" in error.response.body, error.response.body


run(f"websockets {version('websockets')}")
