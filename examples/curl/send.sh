#!/bin/sh
# Sends one notification. The answer 201 means: on disk, and it will be delivered.
# With the same Idempotency-Key a repeated call is answered, not sent twice.
#   FALCON_ADMIN=<token> ./send.sh [user] [title] [message]
set -eu
url=${FALCON_URL:-http://127.0.0.1:8080}
user=${1:-1} title=${2:-Hello} message=${3:-From curl}
key=${FALCON_KEY:-$(date +%s)-$$}

# The token goes through a file descriptor: arguments show in the list of processes.
exec curl -sS --fail-with-body --retry 5 --retry-connrefused -X POST "$url/notifications" \
  -H @/dev/fd/3 -H "Content-Type: application/json" -H "Idempotency-Key: $key" \
  --data "$(printf '{"created_by":"%s","title":"%s","message":"%s"}' "$user" "$title" "$message")" 3<<HEADER
Authorization: Bearer ${FALCON_ADMIN:?set it to a token with scope notifications:write or admin}
HEADER
