# Forked children inherit a large structure and send what they make of it through pipes.
use strict;
use warnings;

my %inherited = map { $_ => "value $_" x ($_ % 10) } 1 .. 50_000;

my @readers;
for my $share (0 .. 7) {
    pipe my $reader, my $writer or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        close $reader;
        my @mine = sort { $a <=> $b } grep { $_ % 8 == $share } keys %inherited;
        print {$writer} "$_ ", length delete $inherited{$_}, "\n" for @mine;
        close $writer or die "close: $!";
        exit 0;
    }
    close $writer;
    push @readers, $reader;
}

my %length;
for my $reader (@readers) {
    while (<$reader>) {
        my ($key, $length) = split;
        $length{$key} = $length;
    }
}
while ((my $pid = wait) > 0) {
    die "child $pid failed" if $?;
}
die "keys" unless keys %length == 50_000;
$length{$_} == length $inherited{$_} or die "key $_" for keys %inherited;
print scalar(keys %length), "\n";
