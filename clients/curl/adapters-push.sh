#!/bin/sh
# POST /v1/adapters: upload a PEFT folder, or an archive of one; it serves at once
# Usage: adapters-push.sh NAME FOLDER|ARCHIVE [DESCRIPTION]
set -eu
name=${1:?usage: adapters-push.sh NAME FOLDER|ARCHIVE [DESCRIPTION]}
path=${2:?usage: adapters-push.sh NAME FOLDER|ARCHIVE [DESCRIPTION]}
description=${3:-}
set -- -F "archive=@\"$path\""
if [ -d "$path" ]; then
  set -- -F "file=@\"$path/adapter_model.safetensors\"" -F "config=@\"$path/adapter_config.json\""
fi
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  --form-string "name=$name" ${description:+--form-string "description=$description"} "$@" \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/adapters"
