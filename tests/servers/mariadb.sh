#!/usr/bin/env bash
# MariaDB, with a row-based binary log to read changes from.
# shellcheck source=tests/servers/server.sh
. "$(dirname "$0")/server.sh"

first_port=20100

create() {
  local flush=2
  [[ ${TEST_FSYNC:-off} == off ]] || flush=1
  cat >"$data/my.cnf" <<EOF
[mariadbd]
datadir = $data/data
# A server that starts removes what others have of temporary tables in its folder.
tmpdir = $data/tmp
socket = $data/mariadb.sock
bind-address = 127.0.0.1
port = $port
skip-name-resolve
character-set-server = utf8mb4
collation-server = utf8mb4_general_ci
max_connections = 300
max_allowed_packet = 64M
log-bin = binlog
binlog-format = row
server-id = 1
# 2 writes the log at every commit, as 1 does, but leaves the disk to the kernel.
innodb_flush_log_at_trx_commit = $flush
sync_binlog = $((flush == 1))
EOF
  chmod 644 "$data/my.cnf"
  "${unprivileged[@]}" mkdir "$data/tmp"
  "${unprivileged[@]}" mariadb-install-db --defaults-file="$data/my.cnf" --skip-test-db
  # The user whom the tests connect as, made before the server listens, and not logged,
  # so that the binary log begins with the tests' own changes.
  "${unprivileged[@]}" mariadbd --defaults-file="$data/my.cnf" --bootstrap --skip-log-bin <<EOF
FLUSH PRIVILEGES;
CREATE USER resolvespec@'%' IDENTIFIED BY '$password';
GRANT ALL PRIVILEGES ON *.* TO resolvespec@'%' WITH GRANT OPTION;
EOF
}

serve() {
  launch "${unprivileged[@]}" mariadbd --defaults-file="$data/my.cnf"
}

ready() {
  MYSQL_PWD=$password mariadb --no-defaults --host=127.0.0.1 --port="$port" --user=resolvespec --execute='SELECT 1'
}

version() {
  mariadbd --no-defaults --version
}

exports() {
  echo "TEST_MARIADB_URL=mysql://resolvespec:$password@127.0.0.1:$port/mysql"
}

main
