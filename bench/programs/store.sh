#!/usr/bin/env bash
# A redis server over a socket in this folder: strings are set, appended to and deleted, lists and hashes
# filled. Prints how many keys there are then.
set -euo pipefail
redis-server --port 0 --unixsocket socket --dir "$PWD" --save '' --logfile redis.log &
until redis-cli -s socket ping &>/dev/null; do sleep 0.02; done
awk 'BEGIN {
    for (i = 1; i <= 200000; i++) printf "SET key:%d %0*d\n", i, 8 + i % 500, i
    for (i = 2; i <= 200000; i += 2) printf "APPEND key:%d %0*d\n", i, 8 + i % 500, i
    for (i = 4; i <= 200000; i += 4) printf "DEL key:%d\n", i
    for (i = 1; i <= 50000; i++) printf "RPUSH list:%d %d\nHSET hash field:%d %d\n", i % 100, i, i, i
}' | redis-cli -s socket --pipe >fill.log
redis-cli -s socket dbsize
redis-cli -s socket shutdown
wait
