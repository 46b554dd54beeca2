#!/bin/bash
# Test the engine on an ARM processor (AArch64) that this machine emulates: bash tests/on_arm.sh FOLDER [PYTEST ARGUMENTS]
#
# Wants an x86 machine with Debian or Ubuntu, their package qemu-user-static, and a Python with pip. Packages of the
# same distribution for arm64 are unpacked in FOLDER, beside wheels for AArch64; nothing is installed. By default the
# tests of the vector kernels and one fit of each model run, which takes about an hour: an emulated processor compiles
# and computes some ten times as slowly.
set -euo pipefail

folder=$(realpath -m "${1:?a folder for the emulated system is wanted: bash tests/on_arm.sh /tmp/arm}")
shift
home=$(realpath "$(dirname "$0")/..")
emulator=$(command -v qemu-aarch64-static) || { echo "qemu-aarch64-static is missing: apt-get install qemu-user-static" >&2; exit 1; }

if [ ! -e "$folder/root/usr/bin/python3" ]; then
    mkdir -p "$folder"/{debs,root,state/lists/partial,cache/archives/partial}
    chmod -R a+rx "$folder"
    apt=(-o APT::Architectures::=arm64 -o Dir::State="$folder/state" -o Dir::State::status=/dev/null -o Dir::Cache="$folder/cache" -o APT::Sandbox::User=root)
    apt-get "${apt[@]}" -qq update
    minor=$(apt-cache "${apt[@]}" show python3:arm64 | sed -n 's/^Version: \([0-9]*\.[0-9]*\).*/\1/p' | head -1)
    # What Python and the wheels are linked against.
    mapfile -t names < <(apt-cache "${apt[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts \
        --no-breaks --no-replaces --no-enhances "python$minor:arm64" libstdc++6:arm64 libgomp1:arm64 |
        grep -v '^[ <|]' | sed 's/:arm64$//' | grep -E '^(lib[^-]*[0-9a-z.+-]*|python[0-9.]*(-minimal)?|zlib1g)$' | grep -v -- '-common$' | sort -u)
    (cd "$folder/debs" && apt-get "${apt[@]}" -qq download $(printf '%s:arm64 ' "${names[@]}"))
    for package in "$folder"/debs/*.deb; do dpkg -x "$package" "$folder/root"; done
    ln -sf "python$minor" "$folder/root/usr/bin/python3"
fi
minor=$(readlink "$folder/root/usr/bin/python3" | sed 's/python//')

if [ ! -d "$folder/site" ]; then
    platforms=()
    for glibc in 17 27 28; do platforms+=(--platform "manylinux_2_${glibc}_aarch64"); done
    python3 -m pip install --quiet --no-deps --target "$folder/site" --python-version "$minor" --implementation cp \
        --only-binary=:all: "${platforms[@]}" --platform manylinux2014_aarch64 --platform any \
        numba llvmlite numpy scipy pytest hypothesis pluggy iniconfig packaging sortedcontainers attrs pygments typing_extensions
fi

cd "$home"
export PYTHONPATH="$folder/site:$home" NUMBA_CACHE_DIR="$folder/numba" PYTHONDONTWRITEBYTECODE=1
[ $# -gt 0 ] || set -- -q -p no:cacheprovider tests/test_simd.py tests/test_machine.py
exec "$emulator" -L "$folder/root" "$folder/root/usr/bin/python3" -m pytest "$@"
