#!/usr/bin/env bash
# Ends a run of tests in which nothing happens any more, and tells what it was at: without that, whoever runs them learns only
# that they never end.
#
#   tests/watch.sh LOG                 prints the tests that take long, and have not ended
#   tests/watch.sh LOG PID SECONDS     watches what the tests print into LOG, until the process PID ends, of which
#                                      they are children, or nothing was printed for so many seconds
set -euo pipefail

if (($# != 1 && $# != 3)); then
  echo "usage: $0 LOG [PID SECONDS]" >&2
  exit 2
fi
log=$1

# The tests that were said to take long, and of which no end was told.
still_running() {
  local name
  sed -nE 's/^test (.*) has been running for over .*/\1/p' "$log" | while IFS= read -r name; do
    grep -qF "test $name ... " "$log" || printf '  %s\n' "$name"
  done
}

# A process and all that it has started, outermost first.
family() {
  local child
  printf '%s\n' "$1"
  for child in $(pgrep -P "$1" || true); do family "$child"; done
}

# The tests' own processes. This one is a child of the same.
tests() {
  pgrep -P "$pid" | grep -vx $$ || true
}

# What each process is, and what each thread of the tests waits for.
show() {
  local test
  for test in $(tests); do
    family "$test" | paste -sd, | xargs ps -o pid,ppid,stat,etimes,wchan:24,args -p | cut -c 1-240
    ! command -v gdb >/dev/null ||
      gdb -p "$test" -batch -nx -ex 'thread apply all backtrace 24' 2>/dev/null | grep -E '^(Thread|#)' | cut -c 1-200 || true
  done
}

if (($# == 1)); then
  still_running
  exit
fi
pid=$2 seconds=$3
while kill -0 "$pid" 2>/dev/null; do
  if (($(date +%s) - $(stat -c %Y "$log") >= seconds)); then
    echo "no test has ended for $seconds s; still running:"
    still_running
    show
    # Whoever waits for them says that they failed.
    for test in $(tests); do kill -s KILL "$test" || true; done
    exit 1
  fi
  sleep 5
done
