#!/bin/sh
# GET /v1/audit: what admins did, the latest first
# Usage: audit.sh [LIMIT [BEFORE]]
set -eu
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/audit?limit=${1:-100}${2:+&before=$2}"
