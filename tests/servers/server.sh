# shellcheck shell=bash
# What the server scripts have in common. Each is called as
#
#   tests/servers/NAME.sh start|env|stop FOLDER
#
#   start  starts the server in the background and returns once it answers. The first
#          start makes its data; a later one, after a crash say, finds data, port and
#          password as they were.
#   env    prints export lines that tell the tests where the server is
#   stop   stops it by its pid
#
# and keeps in FOLDER: NAME/ (its data), NAME.pid, NAME.log, NAME.port, NAME.password,
# and NAME.start, a command without arguments that starts it again.
#
# A server script sources this file, sets first_port (see free_port), defines
#
#   create   makes the data and the configuration
#   serve    starts the server, with launch
#   ready    succeeds once the server answers
#   version  prints a line
#   exports  prints NAME=VALUE lines
#
# and ends with: main.
set -euo pipefail

if (($# != 2)); then
  echo "usage: $0 start|env|stop FOLDER" >&2
  exit 2
fi
here=$(realpath "$(dirname "$0")")
verb=$1
folder=$(realpath "$2")
name=$(basename "$0" .sh)
data=$folder/$name
port=$(cat "$folder/$name.port" 2>/dev/null || true)
password=$(cat "$folder/$name.password" 2>/dev/null || true)
stop_signal=TERM first_port=''

# shellcheck source=tests/servers/path.sh
. "$here/path.sh"

# PostgreSQL refuses to run as root and MariaDB would rather not. setpriv becomes the
# server, so that the pid stays the one that launch wrote down.
unprivileged=()
(($(id -u) != 0)) || unprivileged=(setpriv --reuid=nobody --regid=nogroup --clear-groups --)

# The folder with the programs of Kubernetes, which tests/kubernetes/build.sh has built.
kubernetes_folder() {
  "$here/../kubernetes/build.sh" "${RESOLVESPEC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/resolvespec}"
}

fail() {
  echo "$name: $1; the end of its log:" >&2
  tail -n 20 "$folder/$name.log" >&2 || true
  exit 1
}

# Waits until a condition holds, at most so many seconds.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

# A free port of the hundred from $1 on. Each kind of server has a hundred of its own, all
# below the ports that the kernel gives to outgoing connections: while a server is down, a
# client that keeps trying must not get the server's port, or even connect to itself on it.
# A port is its folder's for as long as that is there: its server may be down for a while,
# and servers of a kind start at the same time.
free_port() {
  local candidate owner taken
  taken=${TMPDIR:-/tmp}/resolvespec-ports-$(id -u)
  mkdir -p "$taken"
  (
    flock 9
    for candidate in $(shuf -i "$1-$(($1 + 99))"); do
      owner=$(cat "$taken/$candidate" 2>/dev/null || true)
      [[ -z $owner || ! -e $owner ]] || continue
      ! (exec 3<>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null || continue
      echo "$folder" >"$taken/$candidate"
      echo "$candidate"
      exit
    done
    exit 1
  ) 9>"$taken/lock"
}

# Sends a line to the server, unless it is empty, and prints the first line it answers.
ask() {
  local answer
  # In braces, as the shell itself reports a refused connection.
  { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || return 1
  [[ -z $1 ]] || printf '%s\r\n' "$1" >&3
  IFS= read -r -t 2 answer <&3 || return 1
  exec 3>&-
  printf '%s\n' "${answer%$'\r'}"
}

# Starts the server in the background, its output going to its log from the start. The
# shell around it stays, to collect it at once when it ends: a dead process that nobody has
# collected still has its pid, and PostgreSQL takes that for a running server.
launch() {
  rm -f "$folder/$name.pid"
  (
    { "$@" & } >>"$folder/$name.log" 2>&1
    echo $! >"$folder/$name.pid"
    wait
  ) </dev/null >/dev/null 2>&1 &
  wait_until 10 test -s "$folder/$name.pid"
}

# Whether the server is there: a process with its pid that writes to its log, so that a
# stranger who got the pid of a dead server is never taken for it.
alive() {
  local pid
  pid=$(cat "$folder/$name.pid" 2>/dev/null) || return 1
  [[ /proc/$pid/fd/1 -ef $folder/$name.log ]]
}

gone() {
  ! alive
}

# Prints the pids of the processes that write to the server's log.
leftovers() {
  local link
  for link in /proc/[0-9]*/fd/1; do
    [[ ! $link -ef $folder/$name.log ]] || cut -d/ -f3 <<<"$link"
  done
}

nothing_left() {
  local pid
  pid=$(cat "$folder/$name.pid" 2>/dev/null || true)
  [[ -z $(leftovers) ]] && ! grep -qs '^State:.Z' "/proc/$pid/status"
}

# Ends what a killed server leaves behind: a busy PostgreSQL session goes on until it
# looks up from its query, and keeps a new server out.
end_leftovers() {
  local pid
  for pid in $(leftovers); do kill -s KILL "$pid" 2>/dev/null || true; done
  wait_until 10 nothing_left || fail "processes of its last run do not end"
}

ready_or_dead() {
  ready >/dev/null 2>&1 || gone
}

start() {
  # A server that was killed a moment ago may still be on its way out.
  wait_until 5 gone || fail "it is running already"
  if [[ ! -e $folder/$name.start ]]; then
    port=$(free_port "$first_port")
    echo "$port" >"$folder/$name.port"
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    (umask 077 && echo "$password" >"$folder/$name.password")
    mkdir -m 700 "$data"
    ((${#unprivileged[@]} == 0)) || chown nobody:nogroup "$data" "$folder/$name.password"
    create >>"$folder/$name.log" 2>&1 || fail "its data could not be made"
    printf '#!/usr/bin/env bash\nexec %q start %q\n' "$here/$name.sh" "$folder" >"$folder/$name.start"
    chmod +x "$folder/$name.start"
  fi
  end_leftovers
  serve
  wait_until 60 ready_or_dead || fail "it does not answer"
  alive || fail "it ended while starting"
  printf '%-10s port %s  pid %-7s %s\n' "$name" "$port" "$(cat "$folder/$name.pid")" "$(version)"
}

stop() {
  local pid
  if alive; then
    pid=$(cat "$folder/$name.pid")
    kill -s "$stop_signal" "$pid" || true
    wait_until 20 gone || kill -s KILL "$pid" || true
  fi
  end_leftovers
}

main() {
  # Nobody may not enter the caller's folder, which some servers' tools warn of.
  cd /
  case $verb in
    start) start ;;
    env) exports | sed 's/^/export /' ;;
    stop) stop ;;
    *) echo "$0: no such verb: $verb" >&2 && exit 2 ;;
  esac
}
