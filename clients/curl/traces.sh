#!/bin/sh
# GET /v1/traces/{request_id}: which mixture made each token of an answer
# Usage: traces.sh REQUEST_ID
set -eu
id=${1:?usage: traces.sh REQUEST_ID}
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/traces/$id"
