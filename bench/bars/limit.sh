# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154,SC2034 # lib.sh and house.sh set what is read
#
# Sourced by limit-01 to limit-06 and limit-09 after house.sh: rounds of the large networks beside their peers.

# limit_options "$@": --only MODEL, --rounds N, --seconds S (of a round); sets $only, $rounds, $seconds
limit_options() {
    only='' rounds='' seconds=''
    while [ $# -gt 0 ]; do
        case $1 in
        --only | --rounds | --seconds)
            [ $# -gt 1 ] || { bar_say "$1 needs a value"; exit 2; }
            case $1 in
            --only) only=$2 ;;
            --rounds) rounds=$2 ;;
            *) seconds=$2 ;;
            esac
            shift
            ;;
        *) bar_say "usage: $bar_name [--only MODEL] [--rounds N] [--seconds S]"; exit 2 ;;
        esac
        shift
    done
    cpus=$(getconf _NPROCESSORS_ONLN)
}

# limit_torch: PyTorch and torchvision in $python; ends the bar where they cannot be had
limit_torch() {
    peers=$bar_root/bench/peers
    python=$("$peers/setup" large) || bar_skip "PyTorch and torchvision cannot be had here"
}

# limit_train MODEL BATCH LIMIT [PRECISION]: training beside PyTorch
limit_train() {
    [ -z "$only" ] || [ "$only" = "$1" ] || return 0
    torch="$peers/torch_peer.py --model $1 --mode train --batch $2 --threads $cpus --precision ${4:-f32} --serve"
    house_run peers "$1" --mode train --batch "$2" --threads "$cpus" --precision "${4:-f32}" --tune --steps 3 \
        --rounds "${rounds:-5}" --seconds "${seconds:-4}" --data "$bar_data" --peer "pytorch=$python $torch" \
        2> "$scratch/log"
    house_figure "$1 training at batch $2, ${4:-f32}, times as fast as PyTorch" "$1.train.ratio.pytorch" '>=' "$3" '' \
        "$(house_rates)"
}

# limit_predict MODEL BATCH LIMIT: prediction beside PyTorch, ONNX Runtime and OpenVINO, the best of all
limit_predict() {
    [ -z "$only" ] || [ "$only" = "$1" ] || return 0
    torch="$peers/torch_peer.py --model $1 --mode predict --batch $2 --threads $cpus --serve"
    onnx="$peers/onnx_peer.py --model $1 --batch $2 --threads $cpus --serve"
    house_run peers "$1" --mode predict --batch "$2" --threads "$cpus" --tune --rounds "${rounds:-3}" \
        --seconds "${seconds:-3}" --peer "pytorch=$python $torch" --peer "onnx=$python $onnx" 2> "$scratch/log"
    house_figure "$1 prediction at batch $2, times as fast as the best peer" "$1.predict.ratio.best" '>=' "$3" '' \
        "$(house_rates)"
}

# limit_loss MODEL STEPS PERCENT PEAK: the loss after that many steps of a one-cycle rate in bf16 beside f32's. Training
# is chaotic: another order of summation moves the loss of one run by 3 to 7 % (f32 on one thread against two), so means
# over 8 seeds are compared.
limit_loss() {
    [ -z "$only" ] || [ "$only" = "$1" ] || return 0
    singles='' halves=''
    for seed in 1 2 3 4 5 6 7 8; do
        house_run loss "$1" --steps "$2" --peak-lr "$4" --seed "$seed" --data "$bar_data"
        single=$(house_value loss)
        house_run loss "$1" --steps "$2" --peak-lr "$4" --seed "$seed" --data "$bar_data" --precision bf16
        half=$(house_value loss)
        bar_say "$1, seed $seed, loss after $2 steps: f32 $single, bf16 $half"
        singles="$singles $single" halves="$halves $half"
    done
    single=$(limit_mean "$singles")
    half=$(limit_mean "$halves")
    bar_holds "$1, mean loss of 8 seeds after $2 steps in bf16 within $3 % of f32's" \
        "($half - $single) * ($half - $single) <= $single * $single * $3 * $3 / 10000" "$half against $single"
}

# limit_mean "NUMBERS": their mean
limit_mean() {
    printf '%s\n' "$1" | awk '{ for (i = 1; i <= NF; i++) sum += $i; printf "%.5f", sum / NF }'
}
