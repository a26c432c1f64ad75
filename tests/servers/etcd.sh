#!/usr/bin/env bash
# etcd, which keeps what the API server of Kubernetes is told.
# shellcheck source=tests/servers/server.sh
. "$(dirname "$0")/server.sh"

first_port=20600
first_peer_port=20700
program=$(kubernetes_folder)/etcd

create() {
  free_port "$first_peer_port" >"$folder/etcd.peer"
}

serve() {
  local client=http://127.0.0.1:$port peer
  peer=http://127.0.0.1:$(cat "$folder/etcd.peer")
  local sync=--unsafe-no-fsync
  [[ ${TEST_FSYNC:-off} == off ]] || sync=--unsafe-no-fsync=false
  launch "$program" --name test --data-dir "$data/data" --log-level warn "$sync" \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "test=$peer"
}

ready() {
  curl --silent --fail --max-time 2 "http://127.0.0.1:$port/health" | grep --quiet '"health":"true"'
}

version() {
  "$program" --version | head -n 1
}

exports() {
  echo "TEST_ETCD_URL=http://127.0.0.1:$port"
}

main
