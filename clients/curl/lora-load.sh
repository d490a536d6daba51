#!/bin/sh
# POST /v1/load_lora_adapter: add an adapter from the server's folder, in vLLM's words
# Usage: lora-load.sh NAME PATH
set -eu
name=${1:?usage: lora-load.sh NAME PATH}
path=${2:?usage: lora-load.sh NAME PATH}
quoted() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  -H 'Content-Type: application/json' \
  -d "{\"lora_name\": \"$(quoted "$name")\", \"lora_path\": \"$(quoted "$path")\"}" \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/load_lora_adapter"
