#!/usr/bin/env bash
# Compares Millrace with three nodes (three copies) with two local Redis servers: one
# without replicas, and one with two replicas, of which one must confirm each batch
# (WAIT 1). All Redis servers run with appendfsync always. Each gets the same load, one
# after the other. The last part also measures a bare fsync on the same disk. Compare the
# ratios rather than the numbers, because other load on the machine changes the numbers.
# Redis promises less here than Millrace: WAIT confirms that a replica has the writes, not
# that they are on its disk, and a failover may still lose them.
source "$(dirname "$0")/../lib.sh"
DURATION=${DURATION:-10s}
ROUNDS=${ROUNDS:-3}
STREAMS=${STREAMS:-60}

# redis_server NAME [FLAGS…] starts a Redis server and sets started to its address.
redis_server() {
  local name=$1 port
  shift
  port=$(free_port)
  mkdir "$tmp/$name"
  redis-server --port "$port" --bind 127.0.0.1 --dir "$tmp/$name" --appendonly yes --appendfsync always --save '' --daemonize no "$@" >"$tmp/$name.log" 2>&1 &
  pids+=($!)
  started=127.0.0.1:$port
}

redis= primary=
if command -v redis-server >/dev/null; then
  redis_server redis
  redis=$started
  redis_server primary --repl-diskless-sync-delay 0
  primary=$started
  redis_server replica1 --replicaof "${primary%:*}" "${primary#*:}"
  redis_server replica2 --replicaof "${primary%:*}" "${primary#*:}"
else
  echo "redis-server is not installed: Millrace alone"
fi
cluster bench ${SHARDS:+--shards "$SHARDS"}

for round in $(seq 1 "$ROUNDS"); do
  echo "== round $round: 50 connections x 16 deep, 100-byte values, $STREAMS streams"
  [ -z "$redis" ] || { echo "-- redis-server, one copy"; bin/millrace bench --mode xadd --addr "$redis" --clients 50 --depth 16 --streams "$STREAMS" --size 100 --duration "$DURATION"; }
  [ -z "$primary" ] || { echo "-- redis-server, three copies, WAIT 1"; bin/millrace bench --mode xadd --addr "$primary" --wait-replicas 1 --clients 50 --depth 16 --streams "$STREAMS" --size 100 --duration "$DURATION"; }
  echo "-- millrace, three copies, any node"
  bin/millrace bench --mode xadd --addr "$addrs" --clients 50 --depth 16 --streams "$STREAMS" --size 100 --duration "$DURATION"
  echo "-- millrace, three copies, cluster-aware client"
  bin/millrace bench --mode xadd --addr "$addrs" --cluster-aware --clients 50 --depth 16 --streams "$STREAMS" --size 100 --duration "$DURATION"
done
echo "== one client, one command at a time; fsync is a bare 4 KiB append on the same disk"
bin/millrace bench --mode latency --addr "$addrs" --cluster-aware --duration "$DURATION" --fsync-dir "$tmp"
[ -z "$redis" ] || { echo "-- redis-server, one copy"; bin/millrace bench --mode latency --addr "$redis" --duration "$DURATION"; }
[ -z "$primary" ] || { echo "-- redis-server, three copies, WAIT 1"; bin/millrace bench --mode latency --addr "$primary" --wait-replicas 1 --duration "$DURATION"; }
