#!/bin/sh
# POST /detokenize: the text of token ids
# Usage: detokenize.sh [JSON | @file]
set -eu
body=${1:-}
if [ -z "$body" ]; then
  body='{"tokens": [10, 11, 12]}'
fi
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  -H 'Content-Type: application/json' -d "$body" \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/detokenize"
