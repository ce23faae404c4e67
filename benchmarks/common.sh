# shellcheck shell=bash
# What the scripts of this folder share; to be sourced with the repository as the current folder.

readonly hearth=${HEARTH:-build/release/bin/hearth}
[[ -x $hearth ]] || { echo "${0##*/}: $hearth is missing; run ./dev build" >&2; exit 1; }
work=$(mktemp -d)
readonly work
trap 'rm -rf "$work"' EXIT

# model_or_synthetic [MODEL]: the model given, or one with the layer shape of Qwen3-30B-A3B (16
# layers, 6.3 GB) in a temporary folder (of TMPDIR or /tmp) that goes when the script ends.
model_or_synthetic() {
  if [[ -n ${1:-} ]]; then
    echo "$1"
    return
  fi
  "$hearth" synth -o "$work/qwen3-30b-a3b-16-layers.gguf" --shape qwen3-30b-a3b --layers 16 \
    --vocab-size 102400 >&2
  echo "$work/qwen3-30b-a3b-16-layers.gguf"
}

# value KEY: the first number of that name in an indented JSON text on standard input
value() { sed -n "s/^ *\"$1\": \([0-9.e+-]*\),\{0,1\}$/\1/p" | head -n 1; }
# text KEY: likewise of a string
text() { sed -n "s/^ *\"$1\": \"\(.*\)\",\{0,1\}$/\1/p" | head -n 1; }
# median: of numbers on standard input, one a line
median() {
  sort -g | awk '{ v[NR] = $1 }
    END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}
# ratios: of two numbers a line
ratios() { awk '{ print $1 / $2 }'; }
