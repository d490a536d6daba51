#!/bin/sh
# PATCH /v1/adapters/{name}: tell the router what an adapter is for
# Usage: adapters-describe.sh NAME DESCRIPTION [EXAMPLES]   (EXAMPLES: a file, one text a line)
set -eu
name=${1:?usage: adapters-describe.sh NAME DESCRIPTION [EXAMPLES]}
description=${2:?usage: adapters-describe.sh NAME DESCRIPTION [EXAMPLES]}
examples=${3:-}
set -- --form-string "description=$description"
if [ -n "$examples" ]; then
  set -- "$@" -F "examples=@\"$examples\""
fi
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  -X PATCH "$@" "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/adapters/$name"
