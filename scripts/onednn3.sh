#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Fetches oneDNN 3.2 (built with libgomp, as soma is) from PyPI and unpacks headers and library into FOLDER, for
# `cmake --preset onednn3`. Does nothing where it is there already; exits with 77 where PyPI is not reached.
# usage: scripts/onednn3.sh [FOLDER]    (default: build/onednn-3.2, where the preset looks)

set -eu
cd "$(dirname "$0")/.."
folder=${1:-build/onednn-3.2}
if [ -e "$folder/lib/libdnnl.so.3" ] && [ -e "$folder/include/dnnl.h" ]; then
    exit 0
fi
wheels=$folder.wheels
mkdir -p "$folder" "$wheels"
cat > "$wheels/requirements.txt" << 'END'
onednn-cpu-gomp==2023.2.0 --hash=sha256:2f22a54d6a890ed14bfa185d42a4be65d8b5b1df85dc1f0f3a9abe31620416fb
onednn-devel-cpu-gomp==2023.2.0 --hash=sha256:9763c69e8c907e119056bd52ad918ca84ac9ba939d130a99dfa95ccca3e5e284
END
echo "Fetching oneDNN 3.2 from PyPI ..."
if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --dest "$wheels" --requirement "$wheels/requirements.txt"; then
    echo "oneDNN 3.2 could not be fetched with pip: what needs it is skipped"
    rm -rf "$folder" "$wheels"
    exit 77
fi
for wheel in "$wheels"/*.whl; do
    python3 -m zipfile -e "$wheel" "$wheels/unpacked"
done
for part in "$wheels"/unpacked/*.data/data/*; do
    cp -r "$part" "$folder/"
done
ln -sf libdnnl.so.3 "$folder/lib/libdnnl.so" # the wheel holds three copies
ln -sf libdnnl.so.3 "$folder/lib/libdnnl.so.3.2"
rm -rf "$wheels"
