#!/bin/sh
# GET /lora-adapters: the numbers by which a request may name adapters, as llama.cpp has them
# Usage: lora-adapters.sh
set -eu
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/lora-adapters"
