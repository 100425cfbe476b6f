# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Sourced by ./quickstart, ./check and .ci/run: what soma needs from the system, why, and how it is installed.
# soma_setup <set>... installs what is missing of the sets (build, test, data, tools), each once.

soma_packages() { # set -> lines "package|why"
    case $1 in
    build)
        echo "gcc|the C compiler, with libgomp for threads"
        echo "libc6-dev|the C library's headers"
        echo "cmake|the build system"
        echo "ninja-build|runs the build"
        echo "libdnnl-dev|oneDNN: fast convolution and matrix multiplication"
        echo "zlib1g-dev|gzip-compressed data sets"
        echo "libxxhash-dev|fast hashes of files"
        echo "libpng-dev|PNG pictures"
        echo "libjpeg62-turbo-dev|JPEG pictures"
        echo "libwebp-dev|WebP pictures"
        echo "libyaml-dev|descriptions of models in YAML"
        ;;
    data) echo "dataset-fashion-mnist|70,000 pictures of clothes, the data of the main example" ;;
    test)
        echo "libcmocka-dev|the test framework"
        echo "g++|the headers are tested in C++ as well"
        echo "pkg-config|a test builds a program with the installed library"
        ;;
    tools)
        echo "ccache|compiles once what several builds share"
        echo "clang|the second compiler"
        echo "clang-format|the style of the code"
        echo "shellcheck|the style of the scripts"
        echo "python3-pip|fetches oneDNN 3, which soma is tested with as well"
        echo "doxygen|the documentation of the headers"
        ;;
    esac
}

soma_say() {
    printf '%s\n' "$*" >&2
}

soma_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null)" = installed ]
}

# The list of packages for people whose system has no apt-get.
soma_name_packages() {
    soma_say "soma sets itself up on Debian 12 and its relatives; here there is no apt-get and dpkg."
    soma_say "Install these with your system's package manager (the names are Debian's), then run $0 --no-setup:"
    for set in "$@"; do
        soma_packages "$set"
    done | while IFS='|' read -r package why; do
        printf '  %-24s %s\n' "$package" "$why" >&2
    done
}

soma_setup() {
    if ! command -v apt-get > /dev/null 2>&1 || ! command -v dpkg-query > /dev/null 2>&1; then
        soma_name_packages "$@"
        return 1
    fi
    missing=''
    for set in "$@"; do
        # one package a line: no name and no reason holds a newline
        while IFS='|' read -r package why; do
            [ -n "$package" ] || continue
            soma_installed "$package" && continue
            [ -n "$missing" ] || soma_say "Missing packages:"
            soma_say "$(printf '  %-24s %s' "$package" "$why")"
            missing="$missing $package"
        done << END
$(soma_packages "$set")
END
    done
    [ -n "$missing" ] || return 0

    as_root=''
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo > /dev/null 2>&1; then
            soma_say "They need root: run this as root, then start again:"
            soma_say "  apt-get install --no-install-recommends$missing"
            return 1
        fi
        as_root=sudo
    fi
    soma_say "Installing them with apt-get${as_root:+ (through sudo)} ..."
    log=$(mktemp) || return 1
    # shellcheck disable=SC2086 # lists of words
    if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends $missing; } > "$log" 2>&1 < /dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        soma_say "apt-get could not install:$missing"
        return 1
    fi
    rm -f "$log"
}

# Reads what a build prints and shows how far it is: on a terminal in one line that is written again, elsewhere in a
# line for each quarter.
soma_show_build() {
    quarter=0
    terminal=''
    if [ -t 2 ] && [ "${TERM:-dumb}" != dumb ]; then terminal=yes; fi
    while IFS= read -r line; do # "[12/260] Building C object ..."
        case $line in
        '['*/*']'*) ;;
        *) continue ;;
        esac
        steps=${line#[}
        steps=${steps%%]*}
        step=${steps%%/*} all=${steps#*/}
        case $step$all in
        *[!0-9]*) continue ;;
        esac
        if [ -z "$step" ] || [ "${all:-0}" -eq 0 ]; then continue; fi
        if [ -n "$terminal" ]; then
            printf '  step %s of %s\r' "$step" "$all" >&2
        elif [ $((step * 4 / all)) -gt $quarter ]; then
            printf '  step %s of %s\n' "$step" "$all" >&2
            quarter=$((step * 4 / all))
        fi
    done
    [ -z "$terminal" ] || printf '\033[K' >&2
}

# soma_build PRESET [TARGET]: configures and builds, showing how far it is; tells all where something is wrong.
soma_build() {
    log=$(mktemp) || return 1
    soma_say "Building (preset $1) ..."
    {
        { cmake --preset "$1" && cmake --build --preset "$1" ${2:+--target "$2"}; } 2>&1
        echo $? > "$log.status"
    } | tee "$log" | soma_show_build
    status=$(cat "$log.status")
    rm -f "$log.status"
    if [ "$status" != 0 ]; then
        cat "$log" >&2
        rm -f "$log"
        soma_say "The build failed."
        return 1
    fi
    grep '^-- soma: ' "$log" | sed 's/^-- //' >&2
    rm -f "$log"
}
