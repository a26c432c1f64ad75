#!/usr/bin/env bash
# Builds programs of Kubernetes out of Go modules: tests/kubernetes/build.sh CACHE [PROGRAM... | --node]
# and prints the folder that has them: those that are named, those of a whole node, or
# else those of an API server. A folder is named after the versions it was built of, so
# that what is there already is not built again.
set -euo pipefail
cache=$1
shift
programs=("$@")
((${#programs[@]})) || programs=(etcd kube-apiserver kubectl helm)
[[ ${programs[0]} != --node ]] ||
  programs=(etcd kube-apiserver kubectl helm kube-controller-manager kube-scheduler kubelet kube-proxy coredns)
here=$(realpath "$(dirname "$0")")

# Which module tells how each program is built.
module_of() {
  case $1 in
    etcd | helm | coredns) echo "$1" ;;
    *) echo kubernetes ;;
  esac
}

package_of() {
  case $1 in
    etcd) echo go.etcd.io/etcd/server/v3 ;;
    helm) echo helm.sh/helm/v3/cmd/helm ;;
    coredns) echo . ;;
    *) echo "k8s.io/kubernetes/cmd/$1" ;;
  esac
}

# Without these a server says that it is version 0.0.0, of which clients complain.
flags_of() {
  local version
  [[ $(module_of "$1") == kubernetes ]] || return 0
  version=$(sed -n 's|.*k8s.io/kubernetes \(v[0-9.]*\).*|\1|p' "$here/kubernetes/go.mod")
  IFS=. read -r major minor _ <<<"${version#v}"
  local at=k8s.io/component-base/version
  echo "-X $at.gitVersion=$version -X $at.gitMajor=$major -X $at.gitMinor=$minor"
}

versions=$(cat "$here"/*/go.mod "$here"/*/*.go | sha256sum | cut -c1-16)
folder=$cache/kubernetes-$versions
mkdir -p "$folder"
exec 9>"$cache/kubernetes.lock"
flock 9
for program in "${programs[@]}"; do
  [[ ! -x $folder/$program ]] || continue
  command -v go >/dev/null || {
    echo "go is missing, which builds $program: install Go 1.26 or later from https://go.dev/dl" >&2
    exit 1
  }
  echo "go build $program" >&2
  (
    cd "$here/$(module_of "$program")"
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w $(flags_of "$program")" -o "$folder/$program.new" "$(package_of "$program")"
  ) >&2
  mv "$folder/$program.new" "$folder/$program"
done
echo "$folder"
