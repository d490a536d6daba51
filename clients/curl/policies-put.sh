#!/bin/sh
# PUT /v1/policies/{name}: add a policy or replace one
# Usage: policies-put.sh NAME [JSON | @file] [VERSION]   (only if VERSION is its version now)
set -eu
name=${1:?usage: policies-put.sh NAME [JSON | @file] [VERSION]}
body=${2:-}
version=${3:-}
if [ -z "$body" ]; then
  body='{"kind": "softmax", "temperature": 0.2, "top_k": 2}'
fi
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  -X PUT ${version:+-H "If-Match: \"$version\""} \
  -H 'Content-Type: application/json' -d "$body" \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/policies/$name"
