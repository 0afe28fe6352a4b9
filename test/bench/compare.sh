#!/usr/bin/env bash
# Millrace with three nodes (three copies) against a local redis-server with one copy,
# appendfsync always: the same load, one after the other, in one run, and a bare fsync
# on the same disk. The machine is noisy: compare the ratios, not the numbers.
source "$(dirname "$0")/../lib.sh"
DURATION=${DURATION:-10s}
ROUNDS=${ROUNDS:-3}
STREAMS=${STREAMS:-60}

redis=
if command -v redis-server >/dev/null; then
  port=$(free_port)
  mkdir "$tmp/redis"
  redis-server --port "$port" --bind 127.0.0.1 --dir "$tmp/redis" --appendonly yes --appendfsync always --save '' --daemonize no >"$tmp/redis.log" 2>&1 &
  pids+=($!)
  redis=127.0.0.1:$port
else
  echo "redis-server is not installed: Millrace alone"
fi
cluster bench ${SHARDS:+--shards "$SHARDS"}

for round in $(seq 1 "$ROUNDS"); do
  echo "== round $round: 50 connections x 16 deep, 100-byte values, $STREAMS streams"
  [ -z "$redis" ] || { echo "-- redis-server, one copy"; bin/millrace bench --mode xadd --addr "$redis" --clients 50 --depth 16 --streams "$STREAMS" --size 100 --duration "$DURATION"; }
  echo "-- millrace, three copies, any node"
  bin/millrace bench --mode xadd --addr "$addrs" --clients 50 --depth 16 --streams "$STREAMS" --size 100 --duration "$DURATION"
  echo "-- millrace, three copies, cluster-aware client"
  bin/millrace bench --mode xadd --addr "$addrs" --cluster-aware --clients 50 --depth 16 --streams "$STREAMS" --size 100 --duration "$DURATION"
done
echo "== one client, one command at a time; fsync is a bare 4 KiB append on the same disk"
bin/millrace bench --mode latency --addr "$addrs" --cluster-aware --duration "$DURATION" --fsync-dir "$tmp"
[ -z "$redis" ] || { echo "-- redis-server"; bin/millrace bench --mode latency --addr "$redis" --duration "$DURATION"; }
