#!/bin/sh
# Build the two binaries of `make test-k8s` into a folder (KUBEBUILDER_ASSETS): kube-apiserver from the Go module
# k8s.io/kubernetes, etcd from Debian's package etcd-server. Needs Go (the module says which), apt as root, 5 GB of
# disk and, on two cores, about half an hour. The product itself never needs Go.
set -eu
RELEASE=${KUBERNETES_RELEASE:-1.35.4}
ASSETS=${1:?usage: tests/k8s/assets.sh FOLDER}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
mkdir -p "$ASSETS"
ASSETS=$(cd "$ASSETS" && pwd)

command -v etcd >/dev/null || apt-get install --yes --no-install-recommends etcd-server
ln -sf "$(command -v etcd)" "$ASSETS/etcd"

cd "$WORK"
go mod init bartizan-test-assets 2>/dev/null
SOURCE=$(go mod download -json "k8s.io/kubernetes@v$RELEASE" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
# The released module requires its staging modules as v0.0.0, which only its own go.work resolves: pin each to the
# release that was published with it (1.35.4 -> v0.35.4).
sed -n 's#^\t\(k8s.io/[a-z-]*\) v0\.0\.0$#\1#p' "$SOURCE/go.mod" |
  while read -r module; do go mod edit -replace "$module=$module@v0.${RELEASE#1.}"; done
go mod edit -require "k8s.io/kubernetes@v$RELEASE"
GOFLAGS="-mod=mod -p=${GO_JOBS:-1}" nice -n 15 go build -trimpath \
  -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v$RELEASE" \
  -o "$ASSETS/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
"$ASSETS/kube-apiserver" --version
