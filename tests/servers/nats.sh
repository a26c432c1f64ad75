#!/usr/bin/env bash
# NATS with JetStream: the current one, or by the name of nats_oldest.sh the oldest that replicas work with.
# shellcheck source=tests/servers/server.sh
. "$(dirname "$0")/server.sh"

case $name in
  nats) first_port=20200 venv=venv variable=TEST_NATS_URL ;;
  nats_oldest) first_port=20700 venv=venv-nats-oldest variable=TEST_NATS_OLDEST_URL ;;
esac
program=${RESOLVESPEC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/resolvespec}/$venv/bin/nats-server

create() {
  # JetStream gives its files to the kernel at once, and to the disk every two minutes.
  local sync=2m
  [[ ${TEST_FSYNC:-off} == off ]] || sync=always
  cat >"$data/nats.conf" <<EOF
listen: 127.0.0.1:$port
server_name: test
jetstream { store_dir: "$data", sync_interval: $sync }
EOF
  # Who may enter, and how, if somebody has written that down in the folder before the first start.
  cat "$folder/nats.entry" >>"$data/nats.conf" 2>/dev/null ||
    echo "authorization { user: resolvespec, password: \"$password\" }" >>"$data/nats.conf"
}

# Not as another user: the cache may be in a home that only its owner can enter.
serve() {
  launch "$program" --config "$data/nats.conf"
}

ready() {
  [[ $(ask '') == INFO* ]]
}

version() {
  "$program" --version
}

exports() {
  echo "$variable=nats://resolvespec:$password@127.0.0.1:$port"
}

main
