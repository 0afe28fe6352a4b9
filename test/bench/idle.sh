#!/usr/bin/env bash
# Measures the CPU time of three idle nodes with 16 shards, in percent of one core.
source "$(dirname "$0")/../lib.sh"
SECONDS_IDLE=${SECONDS_IDLE:-30}
cluster idle --shards 16
sleep 10 # until elections, leader moves and first flushes are over

ticks() { # prints user and system time of the servers, in clock ticks
  local p sum=0 t
  for p in $server_pids; do
    t=$(awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$p/stat")
    sum=$((sum + t))
  done
  echo "$sum"
}
before=$(ticks)
sleep "$SECONDS_IDLE"
after=$(ticks)
awk -v d=$((after - before)) -v s="$SECONDS_IDLE" -v hz="$(getconf CLK_TCK)" \
  'BEGIN { printf "three idle nodes, 16 shards: %.2f %% of one core together over %d s\n", 100 * d / hz / s, s }'
