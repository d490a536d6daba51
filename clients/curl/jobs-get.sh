#!/bin/sh
# GET /v1/jobs/{job_id}: how far a job is, or how it has ended
# Usage: jobs-get.sh JOB
set -eu
job=${1:?usage: jobs-get.sh JOB}
curl -sS --fail-with-body ${LORALLOY_API_KEY:+--oauth2-bearer "$LORALLOY_API_KEY"} \
  "${LORALLOY_URL:-http://127.0.0.1:8000}/v1/jobs/$job"
