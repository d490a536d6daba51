#!/bin/sh
# GET /v1/policies/{name}: one policy
# Usage: policies-get.sh NAME
set -eu
name=${1:?usage: policies-get.sh NAME}
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/policies/$name"
