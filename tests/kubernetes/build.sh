#!/bin/sh
# Builds Kubernetes for the tests (etcd, kube-apiserver, kube-controller-manager, kube-scheduler,
# kube-proxy, kubelet, kubectl in one binary) into the user's cache, unless the one there was built
# from the same sources. HERALD_KUBERNETES names another place. Takes some minutes the first time.
set -eu

cd "$(dirname "$0")"
binary=${HERALD_KUBERNETES:-${XDG_CACHE_HOME:-$HOME/.cache}/herald/kubernetes}
hash=$(cat go.mod go.sum main.go build.sh | sha256sum | cut -d ' ' -f 1)

if [ -x "$binary" ] && [ "$(cat "$binary.stamp" 2>/dev/null || true)" = "$hash" ]; then
    exit 0
fi

version=k8s.io/component-base/version
mkdir -p "$(dirname "$binary")"
echo "building Kubernetes for the tests into $binary"
# To a new name first: a lab may be running the old one.
go build -trimpath -o "$binary.new" -ldflags "-s -w \
    -X $version.gitVersion=v1.36.3 -X $version.gitMajor=1 -X $version.gitMinor=36" .
mv "$binary.new" "$binary"
printf '%s\n' "$hash" >"$binary.stamp"
