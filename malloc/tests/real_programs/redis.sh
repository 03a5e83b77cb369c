#!/usr/bin/env bash
# A redis server is filled, benchmarked, saved by a forked child while it is written to, stopped, and
# finds everything again. Prints what is known beforehand.
set -euo pipefail

# The limit ends the server also when this script can't.
start() {
    timeout --foreground 100 redis-server --port 0 --unixsocket socket --dir "$PWD" \
        --save '' --io-threads 2 --logfile redis.log &
    until [[ $(ask ping 2>/dev/null) == PONG ]]; do
        kill -0 $! || { cat redis.log >&2; exit 1; }
        sleep 0.05
    done
}

ask() { redis-cli -s socket "$@"; }

info() { ask info "$1" | tr -d '\r' | awk -F: -v field="$2" '$1 == field { print $2 }'; }

# In a database of its own, so that the other one stays known.
benchmark() { redis-benchmark -s socket --dbnum 1 -q -r 10000 -P 16 -n "$@" >benchmark.log; }

# A hundred thousand strings, half of them then doubled and a quarter deleted, and one of each other kind.
fill() {
    awk 'BEGIN {
        for (i = 1; i <= 100000; i++) printf "SET key:%d %0*d\n", i, 8 + i % 500, i
        for (i = 2; i <= 100000; i += 2) printf "APPEND key:%d %0*d\n", i, 8 + i % 500, i
        for (i = 4; i <= 100000; i += 4) printf "DEL key:%d\n", i
        for (i = 1; i <= 20000; i++) {
            printf "RPUSH list %d\nSADD set member:%d\nHSET hash field:%d %d\nZADD ranking %d player:%d\n", i, i, i, i, -i, i
        }
    }' | ask --pipe >fill.log
}

report() {
    echo "keys: $(ask dbsize)"
    echo "strings: $(ask eval 'local bytes = 0
        for i = 1, 100000 do bytes = bytes + redis.call("STRLEN", "key:" .. i) end
        return bytes' 0)"
    echo "appended: $(ask get key:6)"
    echo "collections: $(ask llen list) $(ask scard set) $(ask hget hash field:12345) $(ask zrank ranking player:20000)"
}

start
empty=$(info memory used_memory)
fill
filled=$(info memory used_memory)
((filled > empty + 25000000 && filled < 500000000)) || echo "used memory is $filled"
report

ask bgsave >bgsave.log
benchmark 50000 -t set,get,incr,lpush,lpop,sadd,hset,spop,zadd,mset
while [[ $(info persistence rdb_bgsave_in_progress) == 1 ]]; do sleep 0.05; done
echo "saved in the background: $(info persistence rdb_last_bgsave_status)"
ask -n 1 flushdb >flush.log
echo "benchmarked: $(tr '\r' '\n' <benchmark.log | grep -c 'requests per second')"

ask save >save.log
ask shutdown
wait $!
start
report
ask flushall >flush.log
flushed=$(info memory used_memory)
((flushed < empty + 5000000)) || echo "used memory is $flushed after flushall"
ask shutdown nosave
wait $!
