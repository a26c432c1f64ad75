#!/usr/bin/env bash
# memcached, which knows no passwords.
# shellcheck source=tests/servers/server.sh
. "$(dirname "$0")/server.sh"

first_port=20500

create() {
  :
}

serve() {
  launch "${unprivileged[@]}" memcached -l 127.0.0.1 -p "$port"
}

ready() {
  [[ $(ask version) == VERSION* ]]
}

version() {
  memcached --version
}

exports() {
  echo "TEST_MEMCACHED_ADDR=127.0.0.1:$port"
}

main
