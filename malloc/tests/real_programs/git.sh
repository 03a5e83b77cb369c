#!/usr/bin/env bash
# A history of 31 commits over 300 files is cloned, repacked and examined.
set -euo pipefail

# Neither the caller's settings nor a repository that it may be working in.
unset "${!GIT_@}"
export GIT_CONFIG_GLOBAL=$PWD/config GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
git config --global user.name Tester
git config --global user.email tester@example.org
git config --global gc.auto 0
git config --global pack.threads 2

git init --quiet --initial-branch=main origin
cd origin
for file in $(seq 300); do
    mkdir -p "folder$((file % 10))"
    seq "$file" $((file * 8)) >"folder$((file % 10))/$file"
done
git add .
git commit --quiet --message='Add the files'
for round in $(seq 30); do
    for file in folder"$((round % 10))"/*; do echo "changed in round $round" >>"$file"; done
    git commit --quiet --all --message="Round $round"
done

# Over the wire protocol, not by linking files.
git clone --quiet --no-local . ../clone
for repository in . ../clone; do
    git -C "$repository" gc --quiet --aggressive --prune=now
    git -C "$repository" fsck --full --strict
    git -C "$repository" status --porcelain
    git -C "$repository" count-objects -v | grep -E '^(count|in-pack|packs|garbage)'
    git -C "$repository" rev-parse HEAD
    git -C "$repository" log --stat | git hash-object --stdin
    git -C "$repository" blame folder7/7 | git hash-object --stdin
done
git rev-list --count HEAD
