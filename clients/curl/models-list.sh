#!/bin/sh
# GET /v1/models: every name that a request can give as its model
# Usage: models-list.sh
set -eu
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/models"
