#!/bin/sh
# GET /v1/jobs: the server's jobs, the latest first
# Usage: jobs-list.sh
set -eu
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/jobs"
