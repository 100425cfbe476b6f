# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Sourced by tests that run the command as a person or a script does. The test has set $soma (the command); here are a
# scratch folder to work in and what is asked of a run. A failed check is told with what was printed.
#
#     situation diverged_training_stops              # what follows belongs to it, until the next or command_end
#     run 1 train mlp --data here --lr 1e30          # exit code, arguments; standard output in `out`, error in `err`
#     says err 'at step 3'
#     command_end                                    # prints the verdicts left and exits

: "${soma:?the test that sources this sets it}"
scratch=$(mktemp -d) || exit 2
trap 'chmod -R u+rwx "$scratch" 2> /dev/null; rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM
cd "$scratch" || exit 2
unset SOMA_DATA SOMA_NUM_THREADS
bad=0 checks=0 situation='' situation_bad=0 what=''
: > out
: > err

complain() {
    bad=$((bad + 1))
    echo "FAILED: $what"
    echo "  $1"
    sed 's/^/  out: /' out | head -5
    sed 's/^/  err: /' err | head -5
}

# The verdict of the situation before: "ok NAME" or "FAILED NAME", which bench/bars/first-01 reads.
verdict() {
    [ -n "$situation" ] || return 0
    if [ "$bad" -eq "$situation_bad" ]; then echo "ok $situation"; else echo "FAILED $situation"; fi
}

# situation NAME: a row of tests/situations/*.list
situation() {
    verdict
    situation=$1 situation_bad=$bad
}

# run CODE ARGUMENTS...: runs soma with standard output in `out` and standard error in `err`
run() {
    wanted=$1
    shift
    what="soma $*"
    checks=$((checks + 1))
    "$soma" "$@" > out 2> err
    code=$?
    [ $code -eq "$wanted" ] || complain "exit code $code instead of $wanted"
    ! grep -Eq 'Sanitizer|runtime error:' err || complain "a sanitizer spoke"
}

# says FILE TEXT: `out` or `err` holds the text
says() {
    checks=$((checks + 1))
    grep -qF -e "$2" "$1" || complain "no \"$2\" in $1"
}

# lacks FILE TEXT
lacks() {
    checks=$((checks + 1))
    ! grep -qF -e "$2" "$1" || complain "\"$2\" stands in $1"
}

silent() {
    checks=$((checks + 1))
    [ ! -s "$1" ] || complain "$1 should be empty"
}

# holds WHAT COMMAND...: the command succeeds
holds() {
    checks=$((checks + 1))
    claim=$1
    shift
    "$@" || complain "$claim"
}

python=$(command -v python3)
json() {
    [ -n "$python" ] || return 0
    checks=$((checks + 1))
    "$python" -m json.tool < out > parsed 2>&1 || complain "not JSON: $(head -1 parsed)"
}

# Small pictures and data without any tool: octal escapes to bytes.
bytes() {
    # shellcheck disable=SC2059 # the format is the content
    printf "$1"
}

command_end() {
    verdict
    echo "$checks checks, $bad failed"
    [ "$bad" -eq 0 ] && [ "$checks" -gt 0 ]
    exit
}
