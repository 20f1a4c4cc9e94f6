"""The reference library of Standard Webhooks for Python verifies what the proxy sends.

Three callers of one video, each with an address of its own: every call arrives once, its signature holds, and
its body is what a poll shows.
"""

import http.server
import json
import os
import threading
import time
import urllib.request

from standardwebhooks import Webhook, WebhookVerificationError

BASE = os.environ["OPENAI_BASE_URL"]
calls, arrived = [], threading.Event()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        calls.append((self.path, dict(self.headers.items()), body))
        self.send_response(204)
        self.end_headers()
        if len(calls) >= 3:
            arrived.set()

    def log_message(self, *_):
        pass


def ask(path, body=None):
    request = urllib.request.Request(BASE + path, data=body and json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=receiver.serve_forever, daemon=True).start()
origin = f"http://127.0.0.1:{receiver.server_port}"
for n in range(3):
    body = {"model": "doubao-seedance-2-0-720p", "prompt": "signed for python"}
    body["metadata"] = {"callback_url": f"{origin}/{n}"}
    task = json.loads(ask("/video/generations", body))["task_id"]
while b"SUCCESS" not in (shown := ask(f"/video/generations/{task}")):
    time.sleep(0.2)
assert arrived.wait(30), f"only {len(calls)} calls came"
webhook = Webhook(os.environ["WEBHOOK_SECRET"])
assert sorted(path for path, _, _ in calls) == ["/0", "/1", "/2"], calls
for _, headers, body in calls:
    headers = {name.lower(): value for name, value in headers.items()}
    assert webhook.verify(body.decode(), headers)["data"]["task_id"] == task
    assert body == shown, (body, shown)
    try:
        webhook.verify(body.decode() + " ", headers)
    except WebhookVerificationError:
        continue
    raise AssertionError("a changed body was verified")
