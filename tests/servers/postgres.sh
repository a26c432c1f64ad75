#!/usr/bin/env bash
# PostgreSQL, over TCP with passwords only.
# shellcheck source=tests/servers/server.sh
. "$(dirname "$0")/server.sh"

first_port=20000
# A fast shutdown: TERM would wait for the clients to leave.
stop_signal=INT

create() {
  if [[ -n ${TEST_PRIMARY:-} ]]; then
    follow
    return
  fi
  "${unprivileged[@]}" initdb --pgdata="$data" --username=postgres --pwfile="$folder/$name.password" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync
  # wal_level is for reading changes by logical replication.
  cat >>"$data/postgresql.conf" <<EOF
listen_addresses = '127.0.0.1${TEST_LISTEN:+,$TEST_LISTEN}'
port = $port
unix_socket_directories = ''
max_connections = 300
max_replication_slots = 64
max_wal_senders = 64
wal_level = logical
shared_preload_libraries = 'pg_stat_statements'
fsync = ${TEST_FSYNC:-off}
EOF
  # Whoever listens elsewhere as well is asked from elsewhere.
  [[ -z ${TEST_LISTEN:-} ]] || echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
}

# It has what another server has, and follows it.
follow() {
  "${unprivileged[@]}" pg_basebackup --pgdata="$data" --dbname="$TEST_PRIMARY" --write-recovery-conf --checkpoint=fast --no-sync
  echo "port = $port" >>"$data/postgresql.conf"
}

serve() {
  launch "${unprivileged[@]}" postgres -D "$data"
}

ready() {
  pg_isready --quiet --host=127.0.0.1 --port="$port"
}

version() {
  postgres --version
}

exports() {
  echo "TEST_POSTGRES_URL=postgres://postgres:$password@127.0.0.1:$port/postgres"
}

main
