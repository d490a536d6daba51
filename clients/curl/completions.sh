#!/bin/sh
# POST /v1/completions: how a text goes on
# Usage: completions.sh [JSON | @file]
set -eu
body=${1:-}
if [ -z "$body" ]; then
  body='{"model": "auto", "max_tokens": 40,
         "prompt": "Question: What is 7 times 8?\n\nAnswer:"}'
fi
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  -H 'Content-Type: application/json' -d "$body" \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/completions"
