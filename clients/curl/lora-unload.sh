#!/bin/sh
# POST /v1/unload_lora_adapter: remove an adapter, in vLLM's words
# Usage: lora-unload.sh NAME
set -eu
name=${1:?usage: lora-unload.sh NAME}
quoted() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  -H 'Content-Type: application/json' \
  -d "{\"lora_name\": \"$(quoted "$name")\"}" \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/unload_lora_adapter"
