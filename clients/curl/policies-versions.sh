#!/bin/sh
# GET /v1/policies/{name}/versions: what was put under a name so far
# Usage: policies-versions.sh NAME
set -eu
name=${1:?usage: policies-versions.sh NAME}
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/policies/$name/versions"
