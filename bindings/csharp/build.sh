#!/usr/bin/env bash
# Makes build/HeapMaster.dll; `build.sh test` and `build.sh example` also run what they say.
set -euo pipefail
cd "$(dirname "$0")"

compile() { mcs -langversion:latest -warn:4 -warnaserror "$@"; }

rm -rf build
mkdir build
compile -unsafe -target:library -out:build/HeapMaster.dll src/*.cs

case ${1-} in
    test)
        # With the sources, for the test looks at what the library hides.
        compile -unsafe -out:build/PoolTest.exe src/*.cs test/*.cs
        mono build/PoolTest.exe
        ;;
    example)
        compile -reference:build/HeapMaster.dll -out:build/Example.exe Example.cs
        mono build/Example.exe
        ;;
esac
