# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Sourced by the bars (bench/bars/house-*): each is a program that prints its figures and exits 0 only where its bar
# holds, 1 where it fails, 77 (by name) where it cannot be tried here.
#
#     . "$(dirname "$0")/lib.sh"
#     bar_build                                   # builds preset release
#     bar_holds "training >= 65 % of peak" "$measured >= 65" "$measured %"
#     bar_end
#
# Every bar has the option --markdown: standard output then gets one table, a row for each bar_holds, and standard error
# all that the bar prints besides. bench/write-benchmarks puts the tables into docs/benchmarks.md.

bar_name=$(basename "$0")
bar_root=$(cd "$(dirname "$0")/../.." && pwd) || exit 2
bar_failed=0 bar_tried=0
bar_data=${SOMA_BENCH_DATA:-/usr/share/datasets/fashion-mnist}
export bar_root bar_data bar_build_folder

# Takes --markdown out of the bar's own options, whose positional parameters are these.
bar_rows='' bar_markdown=''
for bar_word; do
    shift
    if [ "$bar_word" = --markdown ]; then
        bar_markdown=yes
    else
        set -- "$@" "$bar_word"
    fi
done
[ -z "$bar_markdown" ] || exec 3>&1 >&2

bar_say() {
    printf '%s\n' "$*"
}

# bar_row WHAT FIGURES VERDICT: a row of the table of --markdown
bar_row() {
    bar_rows="$bar_rows| $(bar_cell "$1") | $(bar_cell "$2") | $3 |
"
}
bar_cell() {
    printf '%s' "$1" | sed 's/|/\\|/g'
}

# bar_table: writes the table of --markdown, with the commit, the day and the machine in front
bar_table() {
    [ -n "$bar_markdown" ] || return 0
    commit=$(git -C "$bar_root" rev-parse --short HEAD 2> /dev/null) || commit=unknown
    [ -z "$(git -C "$bar_root" status --porcelain -- . ':!docs' 2> /dev/null)" ] || commit="$commit, changed"
    cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2> /dev/null | head -n 1)
    machine="${cpu:-$(uname -m)}, $(getconf _NPROCESSORS_ONLN) CPUs"
    {
        printf '<!-- %s | %s | %s -->\n' "$commit" "$(date +%Y-%m-%d)" "$machine"
        # shellcheck disable=SC2016 # Markdown's signs
        printf '### `%s`\n\n| claim | measured | |\n|---|---|---|\n%s' "$bar_name" "$bar_rows"
    } >&3
}

# bar_skip REASON: ends the bar
bar_skip() {
    bar_row skipped "$*" ''
    bar_table
    bar_say "$bar_name skipped: $*"
    exit 77
}

# bar_build [preset]: builds it if needed; afterwards $bar_build_folder holds it
bar_build() {
    bar_build_folder=$bar_root/build/${1:-release}
    # shellcheck source=/dev/null
    . "$bar_root/scripts/setup.sh"
    command -v cmake > /dev/null 2>&1 && command -v ninja > /dev/null 2>&1 || soma_setup build || exit 1
    (cd "$bar_root" && soma_build "${1:-release}") || { bar_say "bar: $bar_name FAILS (the build failed)"; exit 1; }
}

# bar_needs_data: Fashion-MNIST in $bar_data, installed if it is missing
bar_needs_data() {
    [ -e "$bar_data/train-images-idx3-ubyte.gz" ] && return
    # shellcheck source=/dev/null
    . "$bar_root/scripts/setup.sh"
    soma_setup data && [ -e "$bar_data/train-images-idx3-ubyte.gz" ] && return
    bar_skip "Fashion-MNIST is not in $bar_data (package dataset-fashion-mnist)"
}

# bar_holds WHAT CONDITION [FIGURES]: the condition is an awk expression over numbers, "91.7 >= 91.5"
bar_holds() {
    bar_tried=$((bar_tried + 1))
    if awk "BEGIN { exit !($2) }" < /dev/null; then
        bar_say "bar: $1 holds${3:+ ($3)}"
        bar_row "$1" "${3-}" holds
    else
        bar_say "bar: $1 FAILS${3:+ ($3)}"
        bar_row "$1" "${3-}" '**fails**'
        bar_failed=1
    fi
}

# bar_end: the exit code of the bar; 2 where nothing was measured, as with a misspelt --only
bar_end() {
    if [ "$bar_tried" -eq 0 ]; then
        bar_say "$bar_name measured nothing: no case has the name that --only gives."
        exit 2
    elif [ "$bar_failed" -eq 0 ]; then
        bar_say "$bar_name holds"
    else
        bar_say "$bar_name FAILS"
    fi
    bar_table
    exit "$bar_failed"
}

# bar_median NUMBERS...
bar_median() {
    printf '%s\n' "$@" | sort -g | awk '
        { x[NR] = $1 }
        END { print NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2 }'
}

# bar_machine: prints the machine's limits (FMA peak, streaming rate), built from bench/machine with -O2
bar_machine() {
    mkdir -p "$bar_root/build/bench"
    ${CC:-cc} -O2 -o "$bar_root/build/bench/machine" "$bar_root/bench/machine/machine.c" \
        "$bar_root/bench/machine/peak.c" -lpthread -lm || return 1
    "$bar_root/build/bench/machine" "$@"
}
