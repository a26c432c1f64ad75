#!/usr/bin/env bash
# Mosquitto, an MQTT broker.
# shellcheck source=tests/servers/server.sh
. "$(dirname "$0")/server.sh"

first_port=20300

create() {
  cat >"$data/mosquitto.conf" <<EOF
listener $port 127.0.0.1
allow_anonymous false
password_file $data/users
persistence true
persistence_location $data/
log_dest stderr
EOF
  echo "resolvespec:$password" >"$data/users"
  mosquitto_passwd -U "$data/users"
  chmod 644 "$data/users" "$data/mosquitto.conf"
}

serve() {
  launch "${unprivileged[@]}" mosquitto -c "$data/mosquitto.conf"
}

ready() {
  mosquitto_pub -L "mqtt://resolvespec:$password@127.0.0.1:$port/ready" -n
}

version() {
  # It has no option for that alone; its help begins so.
  mosquitto -h | sed -n 1p
}

exports() {
  echo "TEST_MOSQUITTO_URL=mqtt://resolvespec:$password@127.0.0.1:$port"
}

main
