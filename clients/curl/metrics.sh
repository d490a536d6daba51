#!/bin/sh
# GET /metrics: what the server counts, in the text format of Prometheus
# Usage: metrics.sh
set -eu
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/metrics"
