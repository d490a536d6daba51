#!/bin/sh
# GET /v1/adapters/{name}/versions: the contents that an adapter has had
# Usage: adapters-versions.sh NAME
set -eu
name=${1:?usage: adapters-versions.sh NAME}
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/adapters/$name/versions"
