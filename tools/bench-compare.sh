#!/usr/bin/env bash
# bench-compare.sh VERSION BASE runs the Go benchmarks of the commit BASE and of the working
# tree, and compares them with that version of benchstat. Both take turns, so that a busy
# minute of the machine does not count against one of them.
#   PKG="./stream ./resp"   packages to run; by default all that have benchmarks
#   BENCH=Pending           benchmarks to run, a regular expression; by default all
#   COUNT=8                 rounds; benchstat needs six to speak of a difference
set -euo pipefail
cd "$(dirname "$0")/.."
benchstat=golang.org/x/perf/cmd/benchstat@$1 base=$2
bench=${BENCH:-.} count=${COUNT:-8}
read -ra packages <<<"${PKG:-$(grep -rl '^func Benchmark' --include='*_test.go' . | xargs -n1 dirname | sort -u | tr '\n' ' ')}"

root=$PWD work=$(mktemp -d)
mkdir "$work/results"
cleanup() {
  git -C "$root" worktree remove --force "$work/tree" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
git worktree add --quiet --detach "$work/tree" "$base"

# build TREE NAME compiles the test of each package that TREE has.
build() {
  local p
  for p in "${packages[@]}"; do
    [ -d "$1/$p" ] || { echo "$2 has no $p"; continue; }
    (cd "$1" && go test -c -o "$work/$2-${p//[.\/]/_}.test" "$p")
  done
}
# run TREE NAME appends one round of benchmarks to the results of NAME.
run() {
  local p program
  for p in "${packages[@]}"; do
    program=$work/$2-${p//[.\/]/_}.test
    [ ! -x "$program" ] || (cd "$1/$p" && "$program" -test.run '^$' -test.bench "$bench" -test.benchmem) >>"$work/results/$2"
  done
}

build "$work/tree" base
build . now
for round in $(seq "$count"); do
  echo "round $round of $count" >&2
  run "$work/tree" base
  run . now
done
cd "$work/results" # benchstat heads its columns with the names of the files
GOFLAGS='' go run "$benchstat" base now
