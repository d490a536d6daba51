#!/bin/sh
# DELETE /v1/policies/{name}: remove what was put under a name
# Usage: policies-remove.sh NAME
set -eu
name=${1:?usage: policies-remove.sh NAME}
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  -X DELETE "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/policies/$name"
