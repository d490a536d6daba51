#!/bin/sh
# POST /v1/adapters/{name}/restore: go back to an earlier content
# Usage: adapters-restore.sh NAME DIGEST
set -eu
name=${1:?usage: adapters-restore.sh NAME DIGEST}
digest=${2:?usage: adapters-restore.sh NAME DIGEST}
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  --json "{\"digest\": \"$digest\"}" \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/adapters/$name/restore"
