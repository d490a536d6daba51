#!/bin/sh
# POST /v1/imports: let the server fetch an adapter; the answer is a job
# Usage: imports.sh NAME SOURCE
set -eu
name=${1:?usage: imports.sh NAME SOURCE}
source=${2:?usage: imports.sh NAME SOURCE}
quoted() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  -H 'Content-Type: application/json' \
  -d "{\"name\": \"$(quoted "$name")\", \"source\": \"$(quoted "$source")\"}" \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/imports"
