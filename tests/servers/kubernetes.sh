#!/usr/bin/env bash
# The API server of Kubernetes, over an etcd that it starts in the same folder. There is no node: what is kept there
# is kept, checked and told, and nothing runs.
# shellcheck source=tests/servers/server.sh
. "$(dirname "$0")/server.sh"

first_port=20800
programs=$(kubernetes_folder)

create() {
  cd "$data"
  # One authority and one certificate, in the way that a cluster has them.
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=test-authority -keyout ca.key -out ca.crt
  openssl req -newkey rsa:2048 -nodes -subj /CN=kube-apiserver -keyout server.key -out server.csr
  openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out server.crt \
    -extfile <(echo "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc")
  openssl genrsa -out accounts.key 2048
  umask 077
  echo "$password,admin,admin,system:masters" >tokens.csv
  cat >kubeconfig <<END
apiVersion: v1
kind: Config
clusters:
- name: test
  cluster: {server: "https://127.0.0.1:$port", certificate-authority: "$data/ca.crt"}
users:
- name: admin
  user: {token: $password}
contexts:
- name: test
  context: {cluster: test, user: admin}
current-context: test
END
}

serve() {
  # After a crash of this one alone etcd is there still.
  curl --silent --max-time 2 "http://127.0.0.1:$(cat "$folder/etcd.port" 2>/dev/null)/health" >/dev/null ||
    "$here/etcd.sh" start "$folder"
  local issuer=https://kubernetes.default.svc
  launch "$programs/kube-apiserver" --etcd-servers "http://127.0.0.1:$(cat "$folder/etcd.port")" \
    --bind-address 127.0.0.1 --secure-port "$port" --tls-cert-file "$data/server.crt" --tls-private-key-file "$data/server.key" \
    --token-auth-file "$data/tokens.csv" --authorization-mode RBAC \
    --service-account-issuer "$issuer" --service-account-key-file "$data/accounts.key" \
    --service-account-signing-key-file "$data/accounts.key" \
    --service-cluster-ip-range 10.96.0.0/16 --disable-admission-plugins ServiceAccount --v 0
}

ready() {
  curl --silent --fail --max-time 2 --cacert "$data/ca.crt" --header "authorization: Bearer $password" \
    "https://127.0.0.1:$port/readyz" | grep --quiet --line-regexp ok
}

version() {
  "$programs/kube-apiserver" --version
}

exports() {
  echo "TEST_KUBECONFIG=$data/kubeconfig"
}

main
