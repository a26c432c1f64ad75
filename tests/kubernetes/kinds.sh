#!/usr/bin/env bash
# Fetches the definitions of kinds that are others' and that the chart makes resources of:
# tests/kubernetes/kinds.sh CACHE
# and prints the folder that has them. They come out of Go modules, whose sums stand here.
set -euo pipefail
cache=$1

# A module, its sum, and the folder in which it keeps definitions.
modules=(
  "sigs.k8s.io/gateway-api@v1.4.1 h1:NPxFutNkKNa8UfLd2CMlEuhIPMQgDQ6DXNKG9sHbJU8= config/crd/standard"
  "github.com/prometheus-operator/prometheus-operator@v0.85.0 h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s= example/prometheus-operator-crd"
)

folder=$cache/kinds-$(printf '%s\n' "${modules[@]}" | sha256sum | cut -c1-16)
mkdir -p "$cache"
exec 9>"$cache/kinds.lock"
flock 9
if [[ ! -d $folder ]]; then
  rm -rf "$folder.new"
  mkdir "$folder.new"
  for entry in "${modules[@]}"; do
    read -r module sum definitions <<<"$entry"
    echo "go mod download $module" >&2
    # In a folder without a module, so that no other module's needs are looked at.
    told=$(cd "$folder.new" && go mod download -json "$module")
    got=$(sed -n 's/^\t"Sum": "\(.*\)",\?$/\1/p' <<<"$told")
    [[ $got == "$sum" ]] || {
      echo "$module has the sum $got and not $sum" >&2
      exit 1
    }
    cp "$(sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p' <<<"$told")/$definitions"/*.yaml "$folder.new"
  done
  chmod -R u+w "$folder.new"
  mv "$folder.new" "$folder"
fi
echo "$folder"
