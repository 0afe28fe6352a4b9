# Keys on all shards with Perl's Redis, which is not cluster-aware: scan.pl ADDR...
#
# Says "kill" when the first node is to be killed, and goes on when it reads a line.
use strict;
use warnings;
use Redis;
use Time::HiRes qw(sleep time);

$| = 1;
my @addrs = @ARGV;
my @keys  = map { "scan-perl-$_" } 0 .. 59;

# connect_any returns a connection to the first node that takes one.
sub connect_any {
    for my $addr (@addrs) {
        my $client = eval { Redis->new(server => $addr, cnx_timeout => 5, read_timeout => 40) };
        return $client if $client;
    }
    die "Could not connect to any node\n";
}

# must repeats a step with a new client until it succeeds.
sub must {
    my ($step) = @_;
    my $end = time + 60;
    while (1) {
        return if eval { $step->(connect_any()); 1 };
        die $@ if time > $end;
        die $@ unless $@ =~ /CLUSTERDOWN|TRYAGAIN|OVERLOADED|INDOUBT|Could not connect|while reading|closed|reset|Broken pipe|Not connected/i;
        sleep 0.05;
    }
}

sub check {
    must(sub {
        my ($client) = @_;
        my ($cursor, @found) = (0);
        do {
            my $reply = $client->scan($cursor, 'MATCH', 'scan-perl-*', 'COUNT', 7);
            $cursor = $reply->[0];
            push @found, @{ $reply->[1] };
        } while ($cursor ne '0');
        die "a scan finds @found\n" unless "@{[sort @found]}" eq "@{[sort @keys]}";
    });
}

must(sub { my ($client) = @_; $client->set($_, 'v') for @keys });
check();
print "kill\n";
<STDIN>;
check();
must(sub { my ($client) = @_; $client->del($_) for @keys });
print "done\n";
