#!/usr/bin/env bash
# Builds the speakers that Herald's BGP is measured beside, GoBGP's library and MetalLB's native one,
# into the cache, unless those there are of the same sources. HERALD_SENDERS names another folder.
set -euo pipefail
cd "$(dirname "$0")"
out="${HERALD_SENDERS:-${XDG_CACHE_HOME:-$HOME/.cache}/herald/bgp-senders}"
stamp=$(cat go.mod go.sum ../go.mod ../go.sum ./*.go build.sh | sha256sum | cut -d' ' -f1)
[[ -x $out/gobgp && -x $out/metallb && $(cat "$out/stamp" 2>/dev/null) == "$stamp" ]] && exit 0
echo "building the speakers to measure beside (a minute)"
mkdir -p "$out"
go build -trimpath -ldflags "-s -w" -o "$out/gobgp" control.go gobgp.go
# MetalLB's packages can be used only from within its module.
source=$(cd .. && go list -m -f '{{.Dir}}' go.universe.tf/metallb)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$source/." "$copy"
chmod -R u+w "$copy"
mkdir "$copy/sender"
cp control.go native.go "$copy/sender"
(cd "$copy" && go build -trimpath -ldflags "-s -w" -o "$out/metallb" ./sender)
echo "$stamp" >"$out/stamp"
