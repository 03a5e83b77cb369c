#!/usr/bin/env bash
# Makes build/heapmaster.jar; `build.sh test` and `build.sh example` also run what they say. The jars that it needs
# (jna, and for the test junit4 and hamcrest) are looked for in $JARS, else where Debian has them.
set -euo pipefail
cd "$(dirname "$0")"
jars=${JARS:-/usr/share/java}
classpath=build/heapmaster.jar:$jars/jna.jar

compile() { javac -Xlint:all,-path -Werror -cp "$classpath" -d "$@"; }

rm -rf build
compile build/classes src/heapmaster/*.java
jar --create --file build/heapmaster.jar -C build/classes .

case ${1-} in
    test)
        classpath+=:build/test:$jars/junit4.jar:$jars/hamcrest.jar
        compile build/test test/heapmaster/*.java
        java -cp "$classpath" org.junit.runner.JUnitCore heapmaster.PoolTest
        ;;
    example)
        compile build/example Example.java
        java -cp "$classpath:build/example" Example
        ;;
esac
