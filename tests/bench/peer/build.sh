#!/usr/bin/env bash
# Builds MetalLB's controller and speaker from their module into the cache, unless they are there.
set -euo pipefail
cd "$(dirname "$0")"
out="${HERALD_PEER:-${XDG_CACHE_HOME:-$HOME/.cache}/herald/metallb}"
stamp=$(cat go.mod go.sum | sha256sum | cut -d' ' -f1)
[[ -x $out/controller && -x $out/speaker && -f $out/chart/Chart.yaml && $(cat "$out/stamp" 2>/dev/null) == "$stamp" ]] && exit 0
echo "building MetalLB from its module (about 3 minutes)"
mkdir -p "$out"
go build -trimpath -ldflags "-s -w" -o "$out/" \
    go.universe.tf/metallb/controller go.universe.tf/metallb/speaker
# Its CRDs and its chart are part of the module; the peer's lab and the tests of the move need them.
module=$(go list -m -f '{{.Dir}}' go.universe.tf/metallb)
rm -rf "$out/crds" "$out/chart" && mkdir "$out/crds" && cp "$module"/config/crd/bases/*.yaml "$out/crds/"
cp -r "$module/charts/metallb" "$out/chart"
chmod -R u+w "$out/crds" "$out/chart"
echo "$stamp" >"$out/stamp"
