# shellcheck shell=bash
# Builds an image of a folder with a Dockerfile and pulls none:
#
#   archive CONTEXT NAME ARCHIVE [ARGUMENT...]
#
# ARCHIVE is what `docker load` and `ctr images import` take; in it the image is localhost/NAME:test.
archive() {
  local context=$1 name=$2 archive=$3
  shift 3
  # A store of its own, so that nothing is left behind; vfs and chroot work inside a container as well.
  local store=(--root "$context.store" --runroot "$context.run" --storage-driver vfs)
  buildah "${store[@]}" bud --quiet --isolation chroot "$@" --tag "$name" "$context" >"$context.log" || {
    cat "$context.log" >&2
    return 1
  }
  rm -f "$archive"
  buildah "${store[@]}" push --quiet "$name" "docker-archive:$archive:localhost/$name:test"
}
