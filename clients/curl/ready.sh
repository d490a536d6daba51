#!/bin/sh
# GET /ready: whether it serves; 503 while it is starting
# Usage: ready.sh
set -eu
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/ready"
