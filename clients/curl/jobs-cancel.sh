#!/bin/sh
# DELETE /v1/jobs/{job_id}: cancel a job; what has ended stays as it is
# Usage: jobs-cancel.sh JOB
set -eu
job=${1:?usage: jobs-cancel.sh JOB}
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  -X DELETE "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/jobs/$job"
