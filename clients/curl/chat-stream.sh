#!/bin/sh
# POST /v1/chat/completions: the answer while it is made, the mixture in each chunk
# Usage: chat-stream.sh [JSON | @file]
set -eu
body=${1:-}
if [ -z "$body" ]; then
  body='{"model": "auto", "max_tokens": 60, "stream": true,
         "stream_options": {"include_mixture": true},
         "messages": [{"role": "user", "content": "Which gas do plants take in?"}]}'
fi
curl -sSN --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  -H 'Content-Type: application/json' -d "$body" \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/chat/completions"
