#!/usr/bin/env bash
# Writes a few entries to a node of its own and prints what its data directory holds.
source "$(dirname "$0")/lib.sh"
bin/millrace server --data "$tmp/data" --client-addr 127.0.0.1:0 --peer-addr 127.0.0.1:0 --gossip-addr 127.0.0.1:0 --http-addr 127.0.0.1:0 --shards 1 2>"$tmp/log" &
pid=$!
pids+=($pid)
for _ in $(seq 1 300); do [ -s "$tmp/data/addresses.json" ] && break; sleep 0.1; done
addr=$(sed -n 's/.*"client_addr": "\(.*\)".*/\1/p' "$tmp/data/addresses.json")
http=$(sed -n 's/.*"http_addr": "\(.*\)".*/\1/p' "$tmp/data/addresses.json")
bin/millrace status --addr "$http" --wait >/dev/null
bin/millrace bench --mode xadd --addr "$addr" --clients 1 --depth 1 --streams 1 --size 16 --count 3 >/dev/null
kill "$pid"
wait "$pid" || true
bin/millrace dump --data "$tmp/data"
