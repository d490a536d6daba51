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
keep s3.json "{\"identities\": [{\"name\": \"loralloy\", \"credentials\": [{\"accessKey\": \"loralloy\",
  \"secretKey\": \"$(word)\"}], \"actions\": [\"Admin\", \"Read\", \"Write\", \"List\", \"Tagging\"]}]}"
