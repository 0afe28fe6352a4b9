<?php
// The session of session_test.go with phpredis: session.php KEY ADDR...
//
// Says "kill" when the first node is to be killed, and goes on when it reads a line. PHP has
// no threads: the blocked read is that of a second process, which this file is as well.
error_reporting(E_ALL);
set_error_handler(function ($level, $text) { throw new ErrorException($text); });

const PATIENCE = 60;       // seconds
const PAUSE = 50_000;      // microseconds
const BLOCK = 30_000;      // milliseconds

[, $key] = $argv;
$addrs = array_slice($argv, 2);
$sleeper = getenv('SLEEPER') !== false;

function connect(): Redis {
    global $addrs;
    foreach ($addrs as $addr) {
        [$host, $port] = explode(':', $addr);
        try {
            $r = new Redis();
            $r->connect($host, (int)$port, 2);
            $r->setOption(Redis::OPT_READ_TIMEOUT, 40);
            return $r;
        } catch (RedisException | ErrorException $e) {
        }
    }
    throw new RedisException('no node takes a connection');
}

$client = null;

// must repeats a step until it succeeds. phpredis answers false for an error reply.
function must(callable $step) {
    global $client;
    $end = time() + PATIENCE;
    while (true) {
        try {
            $client ??= connect();
            $client->clearLastError();
            $out = $step($client);
            $error = $client->getLastError();
            if ($error === null || str_starts_with($error, 'BUSYGROUP')) {
                return $out;
            }
            if (!preg_match('/^(CLUSTERDOWN|TRYAGAIN|OVERLOADED|INDOUBT)/', $error)) {
                throw new LogicException($error);
            }
        } catch (RedisException | ErrorException $e) {
            $client = null;
            $error = $e->getMessage();
        }
        if (time() > $end) {
            throw new LogicException("not in time: $error");
        }
        usleep(PAUSE);
    }
}

function read(Redis $r, string $consumer, int $block): array {
    global $key;
    $streams = $r->xReadGroup('workers', $consumer, [$key => '>'], 5, ...($block ? [$block] : []));
    return $streams[$key] ?? [];
}

if ($sleeper) {
    $got = read(connect(), 'sleeper', BLOCK);
    echo json_encode($got), "\n";
    exit;
}

$sent = [];
$processed = [];

function add(string $value): void {
    global $key, $sent;
    must(fn($r) => $r->xAdd($key, '*', ['v' => $value]));
    $sent[$value] = true;
}

function work(array $entries): void {
    global $key, $processed;
    if (!$entries) {
        return;
    }
    foreach ($entries as $fields) {
        $processed[$fields['v']] = true;
    }
    must(fn($r) => $r->xAck($key, 'workers', array_keys($entries)));
}

function drain(string $consumer): void {
    global $key;
    while (true) {
        $got = must(fn($r) => read($r, $consumer, 0));
        if (!$got) { // xAutoClaim came with phpredis 6: what is pending is looked up and claimed
            $pending = must(fn($r) => $r->xPending($key, 'workers', '-', '+', 100)) ?: [];
            if ($pending) {
                $ids = array_column($pending, 0);
                $got = must(fn($r) => $r->xClaim($key, 'workers', $consumer, 0, $ids, []));
            }
        }
        if (!$got) {
            return;
        }
        work($got);
    }
}

function check(bool $ok, string $what): void {
    if (!$ok) {
        throw new LogicException($what);
    }
}

must(fn($r) => $r->xGroup('CREATE', $key, 'workers', '0', true));
for ($i = 0; $i < 10; $i++) {
    add("before-$i");
}
must(fn($r) => $r->multi()->xAdd($key, '*', ['v' => 'left'])->xAdd($key, '*', ['v' => 'right'])->exec());
$sent['left'] = $sent['right'] = true;

$got = must(fn($r) => read($r, 'quitter', BLOCK));
check(count($got) >= 2, 'the first read got ' . json_encode($got));
work(array_slice($got, 0, 1, true));
drain('heir');

$other = proc_open(array_merge([PHP_BINARY, __FILE__, $key], $addrs), [1 => ['pipe', 'w']], $pipes, null, ['SLEEPER' => '1'] + getenv());
add('wake up');
$woken = json_decode(stream_get_contents($pipes[1]), true);
check(proc_close($other) === 0 && array_column($woken, 'v') === ['wake up'], 'the blocked read got ' . json_encode($woken));
work($woken);

echo "kill\n";
fgets(STDIN);
for ($i = 0; $i < 10; $i++) {
    add("after-$i");
}
drain('heir');
$missing = array_keys(array_diff_key($sent, $processed));
check(!$missing, 'never processed: ' . implode(', ', $missing));
$pending = must(fn($r) => $r->xPending($key, 'workers'));
check($pending[0] === 0, 'pending: ' . json_encode($pending));
check(must(fn($r) => $r->xLen($key)) >= count($sent), 'entries are missing');
$info = must(fn($r) => $r->xInfo('STREAM', $key));
check($info['length'] >= count($sent), json_encode($info));
echo "done\n";
