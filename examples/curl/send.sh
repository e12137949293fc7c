#!/bin/sh
# Sends one notification. The response 201 means: on disk, and it will be delivered.
# With the same Idempotency-Key a repeated call gets the same response, and nothing is sent twice.
#   FALCON_ADMIN=<token> ./send.sh [user] [title] [message]
set -eu
url=${FALCON_URL:-http://127.0.0.1:8080}
user=${1:-1} title=${2:-Hello} message=${3:-From curl}
key=${FALCON_KEY:-$(date +%s)-$$}

# A JSON string: quotes, backslashes and control characters are escaped (RFC 8259 §7).
json() {
  printf '%s\n' "$1" | LC_ALL=C awk '
    BEGIN { for (i = 1; i < 32; i++) escaped[sprintf("%c", i)] = sprintf("\\u%04x", i)
            escaped["\""] = "\\\""; escaped["\\"] = "\\\\"; printf "\"" }
    NR > 1 { printf "\\n" }
    { for (i = 1; i <= length($0); i++) { c = substr($0, i, 1); printf "%s", (c in escaped) ? escaped[c] : c } }
    END { printf "\"" }'
}

# The token goes through a file descriptor: arguments show in the list of processes.
exec curl -sS --fail-with-body --retry 5 --retry-connrefused -X POST "$url/notifications" \
  -H @/dev/fd/3 -H "Content-Type: application/json" -H "Idempotency-Key: $key" \
  --data "{\"created_by\":$(json "$user"),\"title\":$(json "$title"),\"message\":$(json "$message")}" 3<<HEADER
Authorization: Bearer ${FALCON_ADMIN:?set it to a token with scope notifications:write or admin}
HEADER
