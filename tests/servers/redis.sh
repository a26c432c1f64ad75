#!/usr/bin/env bash
# Redis, as a cache: it keeps nothing on disk.
# shellcheck source=tests/servers/server.sh
. "$(dirname "$0")/server.sh"

first_port=20400

create() {
  cat >"$data/redis.conf" <<EOF
bind 127.0.0.1
port $port
requirepass $password
dir $data
save ""
EOF
  chmod 644 "$data/redis.conf"
}

serve() {
  launch "${unprivileged[@]}" redis-server "$data/redis.conf"
}

ready() {
  [[ $(REDISCLI_AUTH=$password redis-cli -h 127.0.0.1 -p "$port" ping) == PONG ]]
}

version() {
  redis-server --version | cut -d' ' -f1-3
}

exports() {
  echo "TEST_REDIS_URL=redis://default:$password@127.0.0.1:$port"
}

main
