#!/usr/bin/env bash
# What formats of keys and values cost in quality, and whether that is as it should be.
#   benchmarks/kv.sh [MODEL.gguf] [TEXT] [CHUNKS]
# Compares the predictions with keys and values in every format of the table, and in the pairs of
# PAIRS (keys/values), with those in f32 (hearth bench --kv), at the tails in TAILS: bytes of a token
# of long context, Kullback-Leibler divergence, and the share of tokens whose likeliest successor is
# the same. By default of the demo model on its prose, four chunks of 1024 tokens; then of a copy
# that computes the same with outliers in its keys (hearth synth --from). Figures do not depend on
# the machine. Exits with 1 when something of what it checks at the end does not hold.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source benchmarks/common.sh
readonly model=${1:-models/tiny-moe-Q4_K_M.gguf} text=${2:-models/eval/prose.txt} chunks=${3:-4}
readonly tails=${TAILS:-0 128}
readonly pairs=${PAIRS:-all,q8_0/q5_1,q8_0/q4_0,q5_0/q4_0,kvarn4/kvarn3}
readonly outliers=${OUTLIERS:-4} gain=${GAIN:-16}

# compare MODEL PAIRS FLAG...: rows of the table, without what is not of quality
compare() {
  "$hearth" bench -m "$1" --kv "$2" -n 0 -f "$text" --chunks "$chunks" --expert-ram 100% "${@:3}" \
    2> /dev/null | tail -n +3 | cut -d '|' -f 1-9 | sed 's/$/|/'
}

# table NAME MODEL: all rows, also into the file NAME
table() {
  printf '\n%s\n\n| keys/values   | tail | rotated | bytes/token |  mean KLD |    median |    99.9 %% | same top |\n' "$3"
  printf '| ------------- | ---: | ------- | ----------: | --------: | --------: | --------: | -------: |\n'
  {
    for tail in $tails; do compare "$2" "$pairs" --kv-tail "$tail"; done | awk '!seen[$0]++'
    compare "$2" q4_0 --kv-tail 0 --kv-rotation off
  } | tee "$work/$1"
}

"$hearth" synth -o "$work/outliers.gguf" --from "$model" --key-outliers "$outliers" \
  --key-gain "$gain" 2> /dev/null
table plain "$model" "$(basename "$model")"
table outliers "$work/outliers.gguf" \
  "the same with $outliers channels of each head of keys times $gain"

# figure NAME FORMAT[/VALUES] ROTATED: the mean divergence without a tail; empty where there is no such row
figure() {
  local pair=$2
  [[ $pair == */* ]] || pair=$pair/$pair
  awk -F '|' -v pair="$pair" -v rotated="$3" '{ gsub(/ /, "") }
    $2 == pair && $3 == 0 && $4 == rotated { print $6; exit }' "$work/$1"
}
missed=0
# expect WHAT A FACTOR B: that A <= FACTOR B; nothing where the program has no such format
expect() {
  [[ -n $2 && -n $4 ]] || return 0
  if awk -v a="$2" -v factor="$3" -v b="$4" 'BEGIN { exit !(a <= factor * b) }'; then
    printf 'ok   %s: %s, %s\n' "$1" "$2" "$4"
  else
    printf 'MISS %s: %s, %s\n' "$1" "$2" "$4"
    missed=1
  fi
}
echo
for name in plain outliers; do
  q4=$(figure $name q4_0 yes) unrotated=$(figure $name q4_0 no)
  if [[ $name == outliers ]]; then
    expect "$name: rotated q4_0 is nearer than q4_0 that is not" "$q4" 1 "$unrotated"
  else  # without outliers there is little to spread, and nothing is promised
    printf '     %s: rotated q4_0 %s, not rotated %s\n' "$name" "$q4" "$unrotated"
  fi
  expect "$name: kvarn4 is nearer than q4_0" "$(figure $name kvarn4 yes)" 1 "$q4"
  # For heads of 64 these take fewer bits than q4_0; kvarn4 alone does from 128 on.
  expect "$name: kvarn4 keys and kvarn3 values are nearer than q4_0" \
    "$(figure $name kvarn4/kvarn3 yes)" 1 "$q4"
  # At the level of: half as far again at most. f16 and q8_0 lie within a factor of two.
  expect "$name: kvarn6 is at the level of q8_0" "$(figure $name kvarn6 yes)" 1.5 \
    "$(figure $name q8_0 yes)"
done
exit $missed
