"""The session of session_test.go with redis-py: session.py plain|cluster KEY ADDR...

Says "kill" when the first node is to be killed, and goes on when it reads a line."""
import sys
import threading
import time

import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import ConnectionError, RedisClusterException, ResponseError, TimeoutError

mode, key, addrs = sys.argv[1], sys.argv[2], [a.rsplit(":", 1) for a in sys.argv[3:]]
PATIENCE, PAUSE, BLOCK = 60, 0.05, 30_000  # s, s, ms
PASSES = ("CLUSTERDOWN", "TRYAGAIN", "OVERLOADED", "INDOUBT")


def connect():
    if mode == "cluster":
        return RedisCluster(startup_nodes=[ClusterNode(h, int(p)) for h, p in addrs], socket_timeout=40)
    for h, p in addrs:
        try:
            c = redis.Redis(h, int(p), decode_responses=False, socket_timeout=40)
            c.ping()
            return c
        except (ConnectionError, TimeoutError):
            pass
    raise ConnectionError("no node takes a connection")


client = None


def must(step):
    """Repeats step(client) until it succeeds."""
    global client
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if client is None:
                client = connect()
            return step(client)
        except (ConnectionError, TimeoutError, RedisClusterException) as e:
            client, err = None, e
        except ResponseError as e:
            if not str(e).startswith(PASSES):
                raise
            err = e
        if time.monotonic() > end:
            raise SystemExit("not in %d s: %r" % (PATIENCE, err))
        time.sleep(PAUSE)


sent, processed = set(), set()


def add(value):
    must(lambda c: c.xadd(key, {"v": value}))
    sent.add(value)


def add_both(a, b):
    def step(c):
        with c.pipeline(transaction=mode != "cluster") as p:  # RedisCluster of this version has no MULTI
            p.xadd(key, {"v": a})
            p.xadd(key, {"v": b})
            p.execute()
    must(step)
    sent.update((a, b))


def read(c, consumer, block):
    streams = c.xreadgroup("workers", consumer, {key: ">"}, count=5, block=block)
    return [e for _, entries in streams or [] for e in entries]


def work(entries):
    if entries:
        processed.update(f[b"v"].decode() for _, f in entries)
        must(lambda c: c.xack(key, "workers", *(i for i, _ in entries)))


def claim(c, consumer):
    cursor, entries = c.xautoclaim(key, "workers", consumer, 0, start_id="0-0", count=100)[:2]
    return entries


def drain(consumer):
    while True:
        got = must(lambda c: read(c, consumer, None)) or must(lambda c: claim(c, consumer))
        if not got:
            return
        work(got)


def create(c):
    try:
        c.xgroup_create(key, "workers", id="0", mkstream=True)
    except ResponseError as e:
        if not str(e).startswith("BUSYGROUP"):
            raise


must(create)
for i in range(10):
    add("before-%d" % i)
add_both("left", "right")
got = must(lambda c: read(c, "quitter", BLOCK))
assert len(got) >= 2, got
work(got[:1])
drain("heir")

woken = []
other = connect()
sleeper = threading.Thread(target=lambda: woken.extend(read(other, "sleeper", BLOCK)))
sleeper.start()
add("wake up")
sleeper.join()
assert [f for _, f in woken] == [{b"v": b"wake up"}], woken
work(woken)

print("kill", flush=True)
sys.stdin.readline()
for i in range(10):
    add("after-%d" % i)
drain("heir")
missing = sent - processed
assert not missing, missing
pending = must(lambda c: c.xpending(key, "workers"))
assert pending["pending"] == 0, pending
info = must(lambda c: c.xinfo_stream(key))
assert info["length"] >= len(sent), info
assert [g["name"] for g in must(lambda c: c.xinfo_groups(key))] == [b"workers"]
print("done", flush=True)
