"""The parsers of the official Prometheus client over `/metrics`, in both forms."""

import json
import urllib.request

from prometheus_client import parser
from prometheus_client.openmetrics import parser as open_parser

from checks import BASE_URL, check, run

METRICS = BASE_URL.removesuffix("/v1") + "/metrics"
OPEN = "application/openmetrics-text; version=1.0.0"
PLAIN = "text/plain; version=0.0.4"


def ask(path, body, **headers):
    data = json.dumps(body).encode()
    headers = {"content-type": "application/json", **headers}
    request = urllib.request.Request(BASE_URL + path, data, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def families(accept):
    """Every family by its name; the parsers refuse what is out of form."""
    request = urllib.request.Request(METRICS, headers={"accept": accept})
    with urllib.request.urlopen(request, timeout=60) as answer:
        content_type, text = answer.headers["content-type"], answer.read().decode()
    is_open = "openmetrics" in content_type
    assert is_open == ("openmetrics" in accept), content_type
    read = open_parser.text_string_to_metric_families if is_open else parser.text_string_to_metric_families
    found = {}
    for family in read(text):
        assert family.name not in found, f"{family.name} stands there twice"
        assert family.documentation and family.type in ("counter", "gauge", "histogram", "info"), family
        found[family.name] = family
    assert found, text
    return found


def value(found, family, **labels):
    """The sum of the samples with these labels."""
    samples = [s for s in found[family].samples if not s.name.endswith(("_created", "_bucket"))]
    return sum(s.value for s in samples if labels.items() <= s.labels.items())


@check
def both_forms():
    """both forms can be read, and say the same"""
    ask("/images/generations", {"model": "grok-imagine-image", "prompt": "a \"quoted\" kite\n"})
    plain, opened = families(PLAIN), families(OPEN)
    # Only the newer form takes the ending off a counter's name, and knows information.
    bare = {name.removesuffix("_total"): family.type for name, family in plain.items()}
    newer = {name: family.type for name, family in opened.items()}
    assert (bare.pop("reprise_build_info"), newer.pop("reprise_build")) == ("gauge", "info")
    assert bare == newer, set(bare.items()) ^ set(newer.items())
    assert "reprise_requests" in bare, sorted(bare)


@check
def what_was_done():
    """what was asked for is what is counted"""
    body = {"model": "grok-imagine-image", "prompt": "a boat"}
    before = families(OPEN)
    for _ in range(3):
        ask("/images/generations", body)
    ask("/images/generations", body, **{"cache-control": "no-store"})
    after = families(OPEN)

    def rise(outcome):
        labels = {"kind": "images", "outcome": outcome}
        return value(after, "reprise_requests", **labels) - value(before, "reprise_requests", **labels)

    assert rise("hit") == 2, rise("hit")
    assert rise("bypass") == 1, rise("bypass")
    total = value(after, "reprise_requests", kind="images") - value(before, "reprise_requests", kind="images")
    assert total == 4, total


@check
def histograms():
    """the buckets of a histogram rise to its count"""
    seen = 0
    for family in families(OPEN).values():
        if family.type != "histogram":
            continue
        rows = {}
        for sample in family.samples:
            labels = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            rows.setdefault(labels, []).append(sample)
        for samples in rows.values():
            buckets = [s.value for s in samples if s.name.endswith("_bucket")]
            [count] = [s.value for s in samples if s.name.endswith("_count")]
            assert buckets == sorted(buckets) and buckets[-1] == count, samples
            seen += count
    assert seen > 0, "nothing was measured"


if __name__ == "__main__":
    run("prometheus-client")
