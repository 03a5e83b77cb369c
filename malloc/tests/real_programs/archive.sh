#!/usr/bin/env bash
# A folder survives tar, parallel compression and the way back.
set -euo pipefail

mkdir -p tree/{a,b,c}/{d,e}
for folder in tree/*/*; do
    for file in $(seq 20); do seq "$file" $((file * 1000)) >"$folder/$file"; done
done

tar -c tree | xz -1 -T2 --block-size=1MiB >tree.tar.xz
xz --test tree.tar.xz
mkdir back
xz -dc -T2 tree.tar.xz | tar -x -C back
diff -r tree back/tree
find back -type f | wc -l
