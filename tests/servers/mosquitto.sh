#!/usr/bin/env bash
# Mosquitto, an MQTT broker.
# shellcheck source=tests/servers/server.sh
. "$(dirname "$0")/server.sh"

first_port=20300

create() {
  if [[ -e $folder/mosquitto.entry ]]; then
    create_given
  else
    create_usual
  fi
  echo "resolvespec:$password" >"$data/users"
  mosquitto_passwd -U "$data/users"
  chmod 644 "$data/users" "$data/mosquitto.conf"
}

# A whole configuration, written down in the folder before the first start, and its files.
create_given() {
  local file
  sed "s|PORT|$port|; s|USERS|$data/users|" "$folder/mosquitto.entry" >"$data/mosquitto.conf"
  echo "log_dest stderr" >>"$data/mosquitto.conf"
  for file in "$folder"/*.acl "$folder"/*.passwd; do install -m 644 "$file" "$data/"; done
  mosquitto_passwd -U "$data/clients.passwd"
  chmod 644 "$data/clients.passwd"
}

create_usual() {
  cat >"$data/mosquitto.conf" <<EOF
listener $port 127.0.0.1
# Else each answer waits 40 ms for an acknowledgement of TCP.
set_tcp_nodelay true
allow_anonymous false
password_file $data/users
persistence true
persistence_location $data/
log_dest stderr
EOF
  # What one test wants beside that.
  [[ ! -e $folder/mosquitto.more ]] || cat "$folder/mosquitto.more" >>"$data/mosquitto.conf"
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
