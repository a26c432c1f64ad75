#!/usr/bin/env bash
# Makes an image of a program of this machine, with the libraries that it wants and nothing else, where none can be pulled:
#
#   tests/kubernetes/wrap.sh ARCHIVE NAME PROGRAM [ARGUMENT...]
#
# The program with the arguments is the entry point. Needs buildah.
set -euo pipefail
(($# > 2)) || {
  sed -n '2,6s/^# \?//p' "$0" >&2
  exit 2
}
archive=$(realpath -m "$1") name=$2
program=$(type -P "$3")
shift 3
# shellcheck source=tests/kubernetes/archive.sh
. "$(dirname "$0")/archive.sh"

work=$(mktemp -d -t resolvespec-image.XXXXXX)
trap 'rm -rf "$work"' EXIT
root=$work/context/root
mkdir -p "$root/usr/local/bin"
cp --dereference "$program" "$root/usr/local/bin/"
# A static program has none.
libraries=$(ldd "$program" 2>/dev/null | sed -n 's|^[^/]*\(/[^ ]*\).*|\1|p' || true)
for library in $libraries; do
  mkdir -p "$root$(dirname "$library")"
  cp --dereference "$library" "$root$library"
done
entry=$(printf ', "%s"' "/usr/local/bin/$(basename "$program")" "$@")
cat >"$work/context/Dockerfile" <<END
FROM scratch
COPY root /
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT [${entry#, }]
END
archive "$work/context" "$name" "$archive"
