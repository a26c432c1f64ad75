#!/usr/bin/env bash
# What runs inside of the namespaces that tests/servers/node.sh makes, as their first process:
#
#   inside.sh DATA PROGRAMS NETWORK PODS SERVICES CGROUP
#
# NETWORK, PODS and SERVICES are the first three numbers of addresses: the node is NETWORK.2, its other end NETWORK.1. It
# starts the parts of a node, each with its log in DATA/log, and ends, with all of them, when one does.
set -euo pipefail
data=$1 programs=$2 network=$3 pods=$4 services=$5 cgroup=$6
node=$network.2
# What is unpacked here is for pods to read, who are nobody.
umask 022

# Below one name, whatever the folders are called outside; and what programs write down elsewhere is here as well.
mount -t tmpfs none /mnt
mkdir /mnt/node /mnt/programs
mount --bind "$data" /mnt/node
mount --bind "$programs" /mnt/programs
cd /mnt/node
mkdir -p var/lib var/log run fake cni
mount -t tmpfs none /run
mount --bind /mnt/node/var /var
mount --make-rshared /
PATH=/mnt/programs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH KUBECONFIG=/mnt/node/kubeconfig

# The kubelet sets these for the whole machine unless they are set; here it finds that they are.
while read -r setting value; do
  echo "$value" >"fake/${setting//\//-}"
  mount --bind "fake/${setting//\//-}" "/proc/sys/$setting"
done <<'END'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
END

echo $$ >inside
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip link set lo up
ip address add "$node/24" dev eth0
ip link set eth0 up
ip route add default via "$network.1"
echo 1 >/proc/sys/net/ipv4/ip_forward

# An overlay can't have an overlay below it, as containers have.
mkdir -p fake/lower fake/upper fake/work fake/merged
snapshotter=native
if mount -t overlay overlay -o lowerdir=fake/lower,upperdir=fake/upper,workdir=fake/work fake/merged 2>/dev/null; then
  snapshotter=overlayfs
  umount fake/merged
fi

cat >containerd.toml <<END
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "/mnt/node/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  # Without the right to lower it no pod would start.
  restrict_oom_score_adj = true
  disable_apparmor = true
  sandbox_image = "localhost/pause:test"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/mnt/node/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$snapshotter"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
END
# A cable for each pod and no bridge: what goes from pod to pod through a Service is routed, and so translated, both ways.
cat >cni/10-pods.conflist <<END
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "/run/cni",
    "ranges": [[{"subnet": "$pods.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
END
cat >kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
enforceNodeAllocatable: []
failSwapOn: false
containerRuntimeEndpoint: unix:///mnt/node/containerd.sock
podCIDR: $pods.0/24
clusterDomain: cluster.local
clusterDNS: [$node]
resolvConf: /mnt/node/resolv.conf
oomScoreAdj: 0
# A disk that is nearly full is the machine's own affair.
evictionHard: {memory.available: "1Mi"}
imageGCHighThresholdPercent: 100
END
cat >proxy.yaml <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: /mnt/node/kubeconfig}
hostnameOverride: node
clusterCIDR: $pods.0/24
mode: iptables
# These are for the whole machine.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
oomScoreAdj: 0
END
cat >Corefile <<END
.:53 {
  errors
  health :8081
  kubernetes cluster.local in-addr.arpa {
    kubeconfig /mnt/node/kubeconfig
    ttl 5
  }
}
END
: >resolv.conf

start() {
  local log=log/$1.log
  shift
  "$@" >>"$log" 2>&1 &
}

start etcd etcd --name test --data-dir /var/lib/etcd --log-level warn --unsafe-no-fsync
start containerd containerd --config /mnt/node/containerd.toml
issuer=https://kubernetes.default.svc.cluster.local
start kube-apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --advertise-address "$node" --secure-port 6443 \
  --tls-cert-file pki/server.crt --tls-private-key-file pki/server.key --client-ca-file pki/ca.crt \
  --token-auth-file pki/tokens.csv --authorization-mode RBAC \
  --service-account-issuer "$issuer" --service-account-key-file pki/accounts.key \
  --service-account-signing-key-file pki/accounts.key --service-cluster-ip-range "$services.0/24" \
  --kubelet-preferred-address-types InternalIP
until ctr --address /mnt/node/containerd.sock version >/dev/null 2>&1; do sleep 0.1; done
for image in images/*.tar; do
  [[ ! -e $image ]] || ctr --address /mnt/node/containerd.sock --namespace k8s.io images import "$image" >>log/images.log 2>&1
done
until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.2; done
start kube-controller-manager kube-controller-manager --kubeconfig "$KUBECONFIG" --leader-elect=false --bind-address 127.0.0.1 \
  --service-account-private-key-file pki/accounts.key --root-ca-file pki/ca.crt
start kube-scheduler kube-scheduler --kubeconfig "$KUBECONFIG" --leader-elect=false --bind-address 127.0.0.1
start kubelet kubelet --config /mnt/node/kubelet.yaml --kubeconfig "$KUBECONFIG" --root-dir /var/lib/kubelet \
  --hostname-override node --node-ip "$node"
start kube-proxy kube-proxy --config /mnt/node/proxy.yaml
start coredns coredns -conf /mnt/node/Corefile
touch imported
# Whoever ends first is named, and takes the others along.
wait -n -p ended
echo "process $ended ended with $?:"
tail -n 5 log/*.log
exit 1
