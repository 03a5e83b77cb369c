#!/usr/bin/env bash
# Pipelines, process substitution, subshells, arrays and background jobs.
set -euo pipefail

seq 200000 | awk '{ print "line", $1 % 1000 }' | sort | uniq -c | awk '$1 == 200 { n++ } END { print "values seen 200 times:", n }'

echo "in both lists: $(comm -12 <(seq 1 3 30000 | sort) <(seq 1 5 30000 | sort) | wc -l)"

doubled=0
for number in $(seq 500); do
    doubled=$((doubled + $(echo "$number" | (read -r it; echo $((it * 2))))))
done
echo "doubled: $doubled"

declare -A square
for number in $(seq 20000); do square[$number]=$((number * number)); done
sum=0
for number in "${!square[@]}"; do sum=$((sum + square[$number])); done
echo "squares: $sum"

text=$(seq 3000)
echo "joined: $(wc -c <<<"${text//$'\n'/, }")"

for job in 1 2 3 4; do
    (seq "$job" 4 40000 | sort -R | sort -n >"job.$job") &
done
wait
for job in 1 2 3 4; do
    cmp "job.$job" <(seq "$job" 4 40000)
done
echo "jobs done"
