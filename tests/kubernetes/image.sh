#!/usr/bin/env bash
# Makes the image by the Dockerfile, without pulling one: tests/kubernetes/image.sh BINARY ARCHIVE
# of a static BINARY, such as of
#   cargo build --release --target "$(uname -m)-unknown-linux-musl" --bin resolvespec   (with Debian's musl-tools)
# and writes it to ARCHIVE, as `docker load` and `ctr images import` take it. Needs buildah.
set -euo pipefail
(($# == 2)) || {
  sed -n '2,5s/^# //p' "$0" >&2
  exit 2
}
binary=$(realpath "$1") archive=$(realpath -m "$2")
cd "$(dirname "$0")/../.."
# shellcheck source=tests/kubernetes/archive.sh
. tests/kubernetes/archive.sh

# A library that is looked for is not in the image.
if readelf --program-headers "$binary" | grep --quiet INTERP; then
  echo "$binary is not static" >&2
  exit 1
fi
work=$(mktemp -d -t resolvespec-image.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/context/dist"
cp Dockerfile .dockerignore "$work/context"
# Names stay for what is logged when it panics; lines of sources are most of its size.
strip --strip-debug -o "$work/context/dist/resolvespec" "$binary"
cp /etc/ssl/certs/ca-certificates.crt "$work/context/dist"
archive "$work/context" resolvespec "$archive" --build-arg BINARY=ready
