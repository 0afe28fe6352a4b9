# Sourced by the scripts in test/: a temporary directory, a local cluster in it, and
# the end of both.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tmp=$(mktemp -d "${TMPDIR:-/tmp}/millrace-XXXXXX")
pids=()

finish() {
  local p
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
  for p in "${pids[@]}"; do wait "$p" 2>/dev/null || true; done
  rm -rf "$tmp"
}
trap finish EXIT

# cluster NAME [FLAGS…]: starts three nodes and sets addrs (of clients) and http (of each).
cluster() {
  local name=$1 i
  shift
  bin/millrace dev -n 3 --dir "$tmp/$name" "$@" >"$tmp/$name.out" 2>&1 &
  pids+=($!)
  for i in $(seq 1 600); do
    grep -q '^ready' "$tmp/$name.out" && break
    sleep 0.1
  done
  grep -q '^ready' "$tmp/$name.out" || { echo "the cluster did not start:"; cat "$tmp/$name.out"; exit 1; }
  addrs=$(sed -n 's/.*"client_addr": "\(.*\)".*/\1/p' "$tmp/$name"/node*/addresses.json | paste -sd,)
  http=$(sed -n 's/.*"http_addr": "\(.*\)".*/\1/p' "$tmp/$name"/node*/addresses.json | paste -sd' ')
  server_pids=$(sed -n 's/.*"pid": \([0-9]*\).*/\1/p' "$tmp/$name"/node*/addresses.json | paste -sd' ')
}

# free_port: a port nobody listens on now.
free_port() {
  local p
  for p in $(shuf -i 20000-30000 -n 50); do
    (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || { echo "$p"; return; }
  done
  echo "no free port" >&2
  exit 1
}
