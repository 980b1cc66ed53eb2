#!/usr/bin/env bash
# Builds into the folder BIN what the review runs: tiergate of the commit that this action is of,
# and the opa that its go.mod and go.sum pin.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../../.." && pwd)
mkdir -p -- "$BIN"
export CGO_ENABLED=0
go build -C "$here" -o "$BIN/tiergate" ./cmd/tiergate
go build -C "$here/bench" -o "$BIN/opa" github.com/open-policy-agent/opa
"$BIN/tiergate" version
