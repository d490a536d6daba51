#!/bin/sh
# POST /tokenize: the token ids of a text
# Usage: tokenize.sh [JSON | @file]
set -eu
body=${1:-}
if [ -z "$body" ]; then
  body='{"prompt": "Which gas do plants take in?"}'
fi
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  -H 'Content-Type: application/json' -d "$body" \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/tokenize"
