#!/bin/sh
# POST /v1/route: what a policy would do with a text
# Usage: route.sh [JSON | @file]
set -eu
body=${1:-}
if [ -z "$body" ]; then
  body='{"input": "If 3 pens cost 12 pounds, what do 5 pens cost?"}'
fi
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  -H 'Content-Type: application/json' -d "$body" \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/route"
