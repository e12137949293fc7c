#!/bin/sh
# Listens as a persistent device: what is sent while it is not connected is delivered when
# it connects again with the same client ID.
#   FALCON_TOKEN=<token> ./listen.sh [user] [more options of mosquitto_sub]
set -eu
user=${1:-1}
[ $# -gt 0 ] && shift

# The password is in a file that only we can read, because the list of processes shows arguments.
umask 077
XDG_CONFIG_HOME=$(mktemp -d)
export XDG_CONFIG_HOME
trap 'rm -rf "$XDG_CONFIG_HOME"' EXIT INT TERM
printf -- '-u token\n-P %s\n' "${FALCON_TOKEN:?set it to a token of the user}" >"$XDG_CONFIG_HOME/mosquitto_sub"

mosquitto_sub -h "${FALCON_HOST:-127.0.0.1}" -p "${FALCON_PORT:-1883}" -V mqttv5 \
  -i "${FALCON_CLIENT:-example-mosquitto}" -c -x 604800 -q 1 -t "users/$user/reports/status" "$@"
