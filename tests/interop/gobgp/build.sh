#!/bin/sh
# Builds gobgpd and gobgp from their module into the user's cache, unless those there were built
# from the same sources. HERALD_GOBGP names another folder. Takes half a minute the first time.
set -eu

cd "$(dirname "$0")"
out=${HERALD_GOBGP:-${XDG_CACHE_HOME:-$HOME/.cache}/herald/gobgp}
hash=$(cat go.mod go.sum build.sh | sha256sum | cut -d ' ' -f 1)

if [ -x "$out/gobgpd" ] && [ "$(cat "$out/stamp" 2>/dev/null || true)" = "$hash" ]; then
    exit 0
fi

echo "building GoBGP for the tests into $out"
mkdir -p "$out"
go build -trimpath -ldflags '-s -w' -o "$out/" \
    github.com/osrg/gobgp/v4/cmd/gobgpd github.com/osrg/gobgp/v4/cmd/gobgp
printf '%s\n' "$hash" >"$out/stamp"
