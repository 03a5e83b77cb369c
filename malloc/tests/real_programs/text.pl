# Hashes, sorting and regular expressions over generated text; every result is known beforehand.
use strict;
use warnings;

my $words = 200_000;
my (%count, %places);
for my $number (1 .. $words) {
    my $word = 'w' . $number % 5_003;
    $count{$word}++;
    push @{ $places{$word} }, $number;
}
die "distinct words" unless keys %count == 5_003;
for my $word (keys %places) {
    die "places of $word" unless @{ $places{$word} } == $count{$word};
}

my @ranked = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
die "most frequent" unless $count{ $ranked[0] } == int($words / 5_003) + 1;

my $text = join ' ', map { "key$_=" . 'x' x ($_ % 50) . ';' } 1 .. $words;
my $matched = () = $text =~ /key\d+=x*;/g;
die "matches" unless $matched == $words;
(my $stripped = $text) =~ s/x+//g;
die "stripped" if $stripped =~ /x/;
my $removed = length($text) - length($stripped);

my $sum = 0;
while (my ($word, $numbers) = each %places) {
    $sum += $_ for @$numbers;
    delete $places{$word};
}
print "$sum $removed\n";
