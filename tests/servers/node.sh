#!/usr/bin/env bash
# A whole Kubernetes with one node: etcd, API server, controller manager, scheduler, containerd, kubelet, kube-proxy and DNS.
#
# All of it is in namespaces of its own (network, mounts, processes), as if it were another machine on a cable: its bridges,
# iptables, mounts and pods are nowhere else, and are gone with its first process. Images that it is to know are put into
# FOLDER/images as archives before it starts. Only tests/kubernetes/inside.sh, which it starts, is on the other end.
# shellcheck source=tests/servers/server.sh
. "$(dirname "$0")/server.sh"

# What takes the place of a port: which addresses are the node's (see addresses).
first_port=20900
kubernetes=$here/../kubernetes
programs=''

# 198.18.0.0/15 is set apart for tests of networks. A node has 1024 addresses of it: the cable, pods, and services.
addresses() {
  local number=$(((port - first_port) * 4))
  local block=198.$((18 + number / 256))
  network=$block.$((number % 256)) pods=$block.$((number % 256 + 1)) services=$block.$((number % 256 + 2))
  cable=test-node-$port cgroup=test-node-$port
}
[[ -z $port ]] || addresses

create() {
  # Another run's node may have these.
  while ip link show "test-node-$port"; do port=$(free_port "$first_port"); done
  echo "$port" >"$folder/$name.port"
  addresses
  mkdir "$data/pki" "$data/log" "$data/images"
  "$kubernetes/wrap.sh" "$data/images/pause.tar" pause catatonit -P
  cp "$folder"/images/*.tar "$data/images"
  cd "$data/pki"
  # One authority and one certificate, in the way that a cluster has them.
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=test-authority -keyout ca.key -out ca.crt
  openssl req -newkey rsa:2048 -nodes -subj /CN=kube-apiserver -keyout server.key -out server.csr
  openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out server.crt -extfile <(
    echo "subjectAltName=IP:$network.2,IP:$services.1,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  )
  openssl genrsa -out accounts.key 2048
  (umask 077 && write_credentials)
}

write_credentials() {
  echo "$password,admin,admin,system:masters" >tokens.csv
  # Read from outside and from inside, where the folder has another name.
  cat >"$data/kubeconfig" <<END
apiVersion: v1
kind: Config
clusters:
- name: node
  cluster: {server: "https://$network.2:6443", certificate-authority-data: "$(base64 -w0 ca.crt)"}
users:
- name: admin
  user: {token: $password}
contexts:
- name: node
  context: {cluster: node, user: admin}
current-context: node
END
}

serve() {
  programs=$("$kubernetes/build.sh" "${RESOLVESPEC_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/resolvespec}" --node)
  rm -f "$data/inside"
  make_cgroups
  launch unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private \
    "$kubernetes/inside.sh" "$data" "$programs" "$network" "$pods" "$services" "$cgroup"
  wait_until 10 test -e "$data/inside" || fail "its namespaces could not be made"
  ip link add "$cable" type veth peer name eth0 netns "$(cat "$folder/$name.pid")"
  ip address add "$network.1/24" dev "$cable"
  ip link set "$cable" up
  ip route add "$pods.0/24" via "$network.2"
  ip route add "$services.0/24" via "$network.2"
}

# One that is written down before the kubelet starts is taken by it for its root, so that two nodes have two.
make_cgroups() {
  local controller
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    mkdir -p "/sys/fs/cgroup/$cgroup"
    return
  fi
  for controller in /sys/fs/cgroup/*/; do mkdir -p "$controller$cgroup" 2>/dev/null || true; done
}

remove_cgroups() {
  local place
  for place in "/sys/fs/cgroup/$cgroup" /sys/fs/cgroup/*/"$cgroup"; do
    [[ ! -d $place ]] || find "$place" -depth -type d -exec rmdir {} + 2>/dev/null || true
    [[ ! -d $place ]] || return 1
  done
}

kube() {
  "${programs:-$(kubernetes_folder)}/kubectl" --kubeconfig "$data/kubeconfig" --request-timeout 5s "$@"
}

ready() {
  [[ -e $data/imported ]] && kube get node node -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep --quiet True &&
    kube get serviceaccount default && curl --silent --fail --max-time 2 "http://$network.2:8081/health"
}

version() {
  "${programs:-$(kubernetes_folder)}/kubelet" --version
}

exports() {
  echo "TEST_NODE_KUBECONFIG=$data/kubeconfig"
  echo "TEST_NODE_ADDRESS=$network.2"
  echo "TEST_NODE_HOST=$network.1"
}

# The end of the first process is the end of all of them, and of every mount and network.
stop() {
  local pid
  if alive; then
    pid=$(cat "$folder/$name.pid")
    pkill -KILL -P "$pid" || true
    wait_until 20 gone || kill -s KILL "$pid" || true
  fi
  end_leftovers
  [[ -z $port ]] || wait_until 20 remove_cgroups || fail "its cgroups do not go"
}

main
