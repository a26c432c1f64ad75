#!/usr/bin/env bash
# The oldest NATS that replicas work with, with JetStream.
. "$(dirname "$0")/nats.sh"
