#!/usr/bin/env bash
# Says in one line why this machine can't run a node of Kubernetes (tests/servers/node.sh), or nothing if it can:
#
#   tests/kubernetes/why-not.sh
set -euo pipefail

why() {
  echo "$1"
  exit
}

[[ $(uname -s) == Linux ]] || why "a node runs on Linux only"
(($(id -u) == 0)) || why "a node needs root"
command -v apt-get >/dev/null || command -v containerd >/dev/null || why "containerd is missing, and there is no apt-get to install it with"
unshare --net --mount --pid --fork --mount-proc true 2>/dev/null || why "namespaces of network, mounts and processes are not allowed here"
unshare --net ip link add one type veth peer name two 2>/dev/null || why "the kernel has no pairs of virtual network devices"
if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
  for controller in cpu memory pids; do
    grep --quiet --word-regexp "$controller" /sys/fs/cgroup/cgroup.subtree_control ||
      why "the cgroup controller $controller is not delegated"
  done
  [[ -w /sys/fs/cgroup/cgroup.procs ]] || why "cgroups can't be written"
else
  for controller in cpu cpuset memory pids devices; do
    [[ -w /sys/fs/cgroup/$controller/cgroup.procs ]] || why "the cgroup controller $controller is not there or can't be written"
  done
fi
# Installed by tests/servers/install.sh, if nothing of the above is missing.
PATH=$PATH:/usr/sbin:/sbin
! command -v iptables >/dev/null || unshare --net iptables --table nat --list --numeric >/dev/null 2>&1 ||
  why "the kernel has no address translation for iptables"
