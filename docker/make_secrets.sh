#!/usr/bin/env bash
# Make the secrets that compose.yaml mounts, each once: what is there stays as it is.
#
#   docker/make_secrets.sh [FOLDER]     FOLDER defaults to docker/secrets
#
# The files can be read by everyone, since each container runs as another user; the folder cannot be
# entered by others.
set -euo pipefail

folder="${1:-$(dirname "${BASH_SOURCE[0]}")/secrets}"
mkdir -p -m 700 "$folder"

word() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

keep() { # name, text
  [ -e "$folder/$1" ] && return
  printf '%s\n' "$2" > "$folder/$1"
  chmod 444 "$folder/$1"
}

keep api_key "$(word)"
keep grafana_password "$(word)"
keep postgres_password "$(word)"

s3_key="$(word)"
keep s3.json "{\"identities\": [{\"name\": \"loralloy\", \"credentials\": [{\"accessKey\": \"loralloy\",
  \"secretKey\": \"$s3_key\"}], \"actions\": [\"Admin\", \"Read\", \"Write\", \"List\", \"Tagging\"]}]}"

# What the server is told of both: made from the files above, which may be older.
s3_key="$(sed -n 's/.*"secretKey": "\([^"]*\)".*/\1/p' "$folder/s3.json")"
keep storage.yaml "database_url: postgresql+psycopg://loralloy:$(cat "$folder/postgres_password")@postgres/loralloy
store_url: s3://loralloy/adapters
storage:
  options:
    endpoint_url: http://s3:8333
    key: loralloy
    secret: $s3_key"
