#!/bin/sh
# PUT /v1/adapters/{name}: give an adapter new content, from a PEFT folder or an archive of one
# Usage: adapters-replace.sh NAME FOLDER|ARCHIVE [DIGEST]   (only if DIGEST is its content now)
set -eu
name=${1:?usage: adapters-replace.sh NAME FOLDER|ARCHIVE [DIGEST]}
path=${2:?usage: adapters-replace.sh NAME FOLDER|ARCHIVE [DIGEST]}
digest=${3:-}
set -- -F "archive=@\"$path\""
if [ -d "$path" ]; then
  set -- -F "file=@\"$path/adapter_model.safetensors\"" -F "config=@\"$path/adapter_config.json\""
fi
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  -X PUT ${digest:+-H "If-Match: \"$digest\""} "$@" \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/adapters/$name"
