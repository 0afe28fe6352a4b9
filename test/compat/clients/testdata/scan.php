<?php
// Keys on all shards with Predis: scan.php ADDR...
//
// Says "kill" when the first node is to be killed, and goes on when it reads a line.
require 'Predis/autoload.php';

$addrs = array_slice($argv, 1);
$keys = array_map(fn($i) => "scan-predis-$i", range(0, 59));

// connect returns a client of the first node that takes a connection.
function connect(array $addrs): Predis\Client
{
    foreach ($addrs as $addr) {
        try {
            $client = new Predis\Client("tcp://$addr?read_write_timeout=40");
            $client->connect();
            return $client;
        } catch (Predis\Connection\ConnectionException $e) {
            $last = $e;
        }
    }
    throw $last;
}

// must repeats a step with a new client until it succeeds.
function must(callable $make, callable $step): void
{
    for ($end = time() + 60; ; usleep(50000)) {
        try {
            $step($make());
            return;
        } catch (Predis\Response\ServerException $e) {
            if (!preg_match('/CLUSTERDOWN|TRYAGAIN|OVERLOADED|INDOUBT/', $e->getMessage()) || time() > $end) {
                throw $e;
            }
        } catch (Predis\PredisException $e) {
            if (time() > $end) {
                throw $e;
            }
        }
    }
}

$plain = fn() => connect($addrs);
$cluster = fn() => new Predis\Client(array_map(fn($a) => "tcp://$a", $addrs), ['cluster' => 'redis']);
$check = function () use ($plain, $cluster, $keys): void {
    must($plain, function ($client) use ($keys) {
        $found = iterator_to_array(new Predis\Collection\Iterator\Keyspace($client, 'scan-predis-*', 7), false);
        sort($found);
        $want = $keys;
        sort($want);
        if ($found !== $want) {
            throw new Exception('a scan finds ' . implode(' ', $found));
        }
    });
    must($cluster, function ($client) use ($keys) {
        foreach ($keys as $key) {
            if ($client->get($key) !== 'v') {
                throw new Exception("$key differs");
            }
        }
    });
};

must($plain, function ($client) use ($keys) {
    foreach ($keys as $key) {
        $client->set($key, 'v');
    }
});
$check();
echo "kill\n";
fgets(STDIN);
$check();
must($plain, function ($client) use ($keys) {
    foreach ($keys as $key) {
        $client->del($key);
    }
});
echo "done\n";
