# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154,SC2034 # lib.sh sets what is read, the bars read what is set
#
# Sourced by house-01 to house-09 after lib.sh: the measuring program soma-house and its figures.

# house_build: libsoma, the command and the bars' programs (preset release, or $house_preset); sets $soma and $house
house_build() {
    # shellcheck source=/dev/null
    . "$bar_root/scripts/setup.sh"
    ! command -v apt-get > /dev/null 2>&1 || soma_setup build test || bar_skip "packages are missing"
    bar_build "${house_preset:-release}"
    if ! cmake --build "$bar_build_folder" --target bench > "$bar_build_folder/bench.log" 2>&1; then
        tail -n 20 "$bar_build_folder/bench.log"
        bar_say "bar: $bar_name FAILS (its programs do not build)"
        exit 1
    fi
    soma=$bar_build_folder/soma
    house=$bar_build_folder/bench/soma-house
}

# house_scratch: a folder of the bar's own in $scratch, removed at the end
house_scratch() {
    scratch=$(mktemp -d) || exit 2
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' INT TERM
}

# house_run SUBCOMMAND...: soma-house, shown and kept for house_value; ends the bar where it cannot measure
house_run() {
    "$house" "$@" > "$scratch/figures" || {
        cat "$scratch/figures"
        bar_say "bar: $bar_name FAILS (soma-house $1 $2 ended with an error)"
        exit 1
    }
    cat "$scratch/figures"
}

# house_value NAME: a figure of the last house_run; "nan" where there is none, which no condition accepts
house_value() {
    awk -v name="$1" '$1 == name { value = $2 } END { print value == "" ? "nan" : value }' "$scratch/figures"
}

# house_figure WHAT NAME RELATION LIMIT [UNIT [FIGURES]]: a bar on one figure of the last house_run; others are shown
# behind it
house_figure() {
    figure=$(house_value "$2")
    if [ "$figure" = nan ]; then
        bar_holds "$1 $3 $4${5:+ $5}" '0 == 1' "not measured"
    else
        bar_holds "$1 $3 $4${5:+ $5}" "$figure $3 $4" "$figure${5:+ $5}${6:+; $6}"
    fi
}

# house_rates: of the last comparison with peers, the median samples per second of each: "soma 11.3, pytorch nchw 5.5"
house_rates() {
    awk '
        / samples\/s, fastest / {
            name = $1
            for (i = 2; $(i + 1) != "samples/s,"; i++)
                name = name " " $i
            list = list (list == "" ? "" : ", ") name " " $i
        }
        END { print list == "" ? "" : list " samples/s" }' "$scratch/figures"
}
