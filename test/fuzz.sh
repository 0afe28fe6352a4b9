#!/usr/bin/env bash
# Runs every fuzz target of the module, one after another, for the time given. What it
# finds worth going on from is kept in $(go env GOCACHE)/fuzz; a choice of that, made now
# and then, is in the packages' testdata/fuzz, where every `go test` runs it.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-30s}
grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do
  grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | awk '{ print $2 }' | sort -u | while read -r target; do
    echo "== $dir $target"
    go test "$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time"
  done
done
