#!/usr/bin/env bash
# curl against a running proxy, over HTTP/1.1 and over HTTP/2: with prior knowledge, or as HTTPS agrees on it.
#
# Every check runs; the exit code is 1 if any failed.
set -uo pipefail

base=$OPENAI_BASE_URL           # http://HOST:PORT/v1, or https://
root=${base%/v1}
upstream=${SANDBOX_BILL%/sandbox/bill}/v1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
checks=0 failed=0

bill() { curl -s --max-time 10 "$SANDBOX_BILL" | sed -E "s/.*\"$1\": *([0-9]+).*/\1/"; }

# same WHAT GOT WANTED
same() {
  checks=$((checks + 1))
  if [[ $2 == "$3" ]]; then
    echo "ok      $http $1"
  else
    failed=$((failed + 1))
    printf 'FAILED  %s %s\n  got:    %s\n  wanted: %s\n' "$http" "$1" "$2" "$3"
  fi
}

# holds WHAT TEXT PATTERN: the pattern is an extended regular expression, case does not count
holds() {
  checks=$((checks + 1))
  if grep -qiE -- "$3" <<<"$2"; then
    echo "ok      $http $1"
  else
    failed=$((failed + 1))
    printf 'FAILED  %s %s\n  no match for: %s\n  in: %.2000s\n' "$http" "$1" "$3" "$2"
  fi
}

# ask NAME ARGUMENTS…: leaves the answer in $work/NAME.body and .head, prints "STATUS VERSION"
ask() {
  local name=$1
  shift
  curl -sS "$http" --max-time 30 -H 'Authorization: Bearer any' -D "$work/$name.head" -o "$work/$name.body" \
    -w '%{http_code} %{http_version}' "$@" 2>&1
}
json() { ask "$1" -H 'Content-Type: application/json' "${@:2}"; }
body() { tr -d '\r' <"$work/$1.body"; }
head_of() { tr -d '\r' <"$work/$1.head"; }
cache_status() { head_of "$1" | grep -i '^cache-status:'; }
equal() { cmp -s "$work/$1.body" "$work/$2.body" && echo equal || echo different; }

# thrice KIND FUNCTION ARGUMENTS…: three calls are one run and three equal answers, the later two hits
thrice() {
  local kind=$1 how=$2 before i
  shift 2
  before=$(bill "$kind")
  for i in 1 2 3; do same "$kind call $i" "$($how "$i" "$@")" "200 $version"; done
  same "$kind: runs paid for three calls" $(($(bill "$kind") - before)) 1
  same "$kind: first and second answer" "$(equal 1 2)" equal
  same "$kind: first and third answer" "$(equal 1 3)" equal
  holds "$kind: the second is a hit" "$(cache_status 2)" 'reprise; *hit'
}

suite() {
  local chat="{\"model\":\"grok-4.5\",\"messages\":[{\"role\":\"user\",\"content\":\"a mill $http\"}]}"
  local before

  thrice chat json "$base/chat/completions" -d "$chat"
  same 'other white space is the same request' \
    "$(json 4 "$base/chat/completions" -d "${chat/,/,   }") $(equal 1 4)" "200 $version equal"

  thrice chat json "$base/chat/completions" -N -d "${chat/\"model\"/\"stream\":true,\"model\"}"
  holds 'the stream ends with its marker' "$(body 1 | grep -v '^$' | tail -1)" '^data: \[DONE\]$'
  holds 'the stream says what it is' "$(head_of 3)" '^content-type: text/event-stream'

  thrice images json "$base/images/generations" \
    -d "{\"model\":\"grok-imagine-image\",\"prompt\":\"a mill $http\",\"response_format\":\"b64_json\"}"
  holds 'the picture is there' "$(body 3)" '"b64_json": *"iVBORw0KGgo'

  # curl -d without a header calls it a form.
  thrice chat ask "$base/chat/completions" -d "${chat/mill/windmill}"
  # A body of this size makes curl wait for 100 Continue over HTTP/1.1.
  { printf '%s' "${chat%%a mill*}"; head -c 1500000 /dev/zero | tr '\0' x; printf '%s' "${chat##*a mill}"; } \
    >"$work/large"
  thrice chat json "$base/chat/completions" -d "@$work/large"

  before=$(bill total)
  same 'only-if-cached, kept' \
    "$(json 5 "$base/chat/completions" -H 'Cache-Control: only-if-cached' -d "$chat") $(equal 4 5)" \
    "200 $version equal"
  same 'only-if-cached, not kept' \
    "$(json 6 "$base/chat/completions" -H 'Cache-Control: only-if-cached' -d "${chat/mill/kiln}")" "504 $version"
  holds 'only-if-cached says why' "$(body 6)" '"code": *"not_cached"'
  holds 'only-if-cached says that a retry is in vain' "$(head_of 6)" '^x-should-retry: *false'
  same 'only-if-cached costs nothing' $(($(bill total) - before)) 0

  same 'no-cache answers' \
    "$(json 7 "$base/chat/completions" -H 'Cache-Control: no-cache' -d "$chat")" "200 $version"
  same 'no-cache is a run' $(($(bill total) - before)) 1
  same 'no-cache replaces' \
    "$(json 8 "$base/chat/completions" -d "$chat") $(equal 7 8) $(equal 5 8)" "200 $version equal different"
  same 'what was replaced costs nothing' $(($(bill total) - before)) 1

  before=$(bill total)
  same 'HEAD passes through' \
    "$(ask 9 -I "$base/models")" "$(ask 10 -I "$upstream/models")"
  same 'HEAD of the health page' "$(ask 11 -I "$root/healthz")" "200 $version"
  same 'the health page' "$(ask 12 "$root/healthz") $(body 12)" "200 $version {\"status\":\"ok\"}"
  same 'a path of nobody' "$(ask 13 "$root/nowhere")" "404 $version"
  holds 'its error is in the usual form' "$(body 13)" '^\{"error": *\{.*"message": *".+"'
  holds 'and says that it is JSON' "$(head_of 13)" '^content-type: application/json'
  same 'a path without /v1' "$(json 14 "$root/chat/completions" -d "$chat")" "404 $version"
  holds 'the error names the right path' "$(body 14)" '/v1/chat/completions'
  same "upstream's own 404 passes through" \
    "$(ask 15 "$base/no/such/path")" "$(ask 16 "$upstream/no/such/path")"
  same 'and its text' "$(body 15 | without_id)" "$(body 16 | without_id)"
  holds 'and is no hit' "$(cache_status 15)" 'fwd=bypass'
  same 'none of this costs anything' $(($(bill total) - before)) 0
}
without_id() { sed -E 's/\(request id: [^)]*\)//'; }

http=--http1.1 version=1.1 && suite
http=--http2-prior-knowledge version=2 && suite

if [[ $base == https://* ]]; then
  http=--http2
  same 'HTTPS agrees on HTTP/2' "$(ask 17 "$root/healthz")" '200 2'
  http=--http1.1
  same 'plain HTTP is told what to do' "$(ask 18 "http://${root#https://}/healthz") $(body 18)" \
    "400 1.1 {\"error\":{\"message\":\"This port speaks HTTPS: begin the base URL with https:// instead of http://.\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"https_required\"}}"
fi

# What was paid for over one version is there for the other.
http=--http1.1
before=$(bill total)
json 20 "$base/embeddings" -d '{"model":"e","input":"a mill"}' >/dev/null
http=--http2-prior-knowledge
json 21 "$base/embeddings" -d '{"model":"e","input":"a mill"}' >/dev/null
same 'what came over HTTP/1.1 is kept for HTTP/2' "$(equal 20 21) $(($(bill total) - before))" 'equal 1'

echo "$(curl --version | head -1 | cut -d' ' -f1,2): $((checks - failed)) of $checks checks passed"
[[ $failed == 0 ]]
