# Keys on all shards with redis-rb: scan.rb ADDR...
#
# Says "kill" when the first node is to be killed, and goes on when it reads a line.
require "redis"

PASSES = /CLUSTERDOWN|TRYAGAIN|OVERLOADED|INDOUBT/
KEYS = (0...60).map { |i| "scan-ruby-#{i}" }
addrs = ARGV.map { |a| a.split(":") }

# connect returns a connection to the first node that takes one.
def connect(addrs)
  addrs.each do |host, port|
    client = Redis.new(host: host, port: port.to_i, reconnect_attempts: 0)
    begin
      client.ping
      return client
    rescue Redis::BaseConnectionError
    end
  end
  raise Redis::CannotConnectError, "no node takes a connection"
end

# must repeats a step with a new client until it succeeds.
def must(make)
  give_up = Time.now + 60
  begin
    yield make.call
  rescue Redis::BaseError => e
    raise if e.is_a?(Redis::CommandError) && e.message !~ PASSES
    raise if Time.now > give_up
    sleep 0.05
    retry
  end
end

plain = -> { connect(addrs) }
cluster = -> { Redis.new(cluster: addrs.map { |h, p| "redis://#{h}:#{p}" }) }
check = lambda do
  must(plain) do |c|
    found = c.scan_each(match: "scan-ruby-*", count: 7).to_a.sort
    raise "a scan finds #{found}" unless found == KEYS.sort
  end
  must(cluster) { |c| KEYS.each { |k| raise "#{k} differs" unless c.get(k) == "v" } }
end

must(plain) { |c| KEYS.each { |k| c.set(k, "v") } }
check.call
puts "kill"
$stdout.flush
$stdin.gets
check.call
must(cluster) { |c| KEYS.each { |k| c.set(k, "w") } }
must(plain) { |c| KEYS.each { |k| raise "#{k} differs" unless c.get(k) == "w" } }
must(plain) { |c| KEYS.each { |k| c.del(k) } }
puts "done"
