#!/bin/sh
# POST /v1/responses: an answer by the responses API
# Usage: responses.sh [JSON | @file]
set -eu
body=${1:-}
if [ -z "$body" ]; then
  body='{"model": "auto", "max_output_tokens": 60, "input": "Name a noble gas."}'
fi
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  -H 'Content-Type: application/json' -d "$body" \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/responses"
