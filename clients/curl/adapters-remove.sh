#!/bin/sh
# DELETE /v1/adapters/{name}: remove an adapter, once running requests are done with it (202 with a
# job where that takes long)
# Usage: adapters-remove.sh NAME
set -eu
name=${1:?usage: adapters-remove.sh NAME}
curl -sS --fail-with-body -X DELETE ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/adapters/$name"
