#!/usr/bin/env bash
# Whether models of all published shapes are computed, and the same with every budget.
#   benchmarks/shapes.sh [SHAPE...]
# For each shape of hearth synth --list (but the tiny ones) writes a synthetic model with as many
# layers as SIZE holds (3 GB), or with the fewest that show its pattern where those take more, to a
# temporary folder (of TMPDIR or /tmp), decodes TOKENS (16) tokens in half of the file's size and
# again in 70 % of it, prints a line, and removes the file. Where half does not hold what is dense in
# so few layers, the shares are of the experts' bytes. What would take more than MOST bytes (12 GB)
# or than is free on the disk is skipped, and the line says so. Fails where logits differ or a run
# does. Figures of speed mean something on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source benchmarks/common.sh
readonly size=${SIZE:-3GB} most=${MOST:-12000000000} tokens=${TOKENS:-16}
readonly file=$work/shape.gguf
mapfile -t shapes < <("$hearth" synth --list | awk 'NR > 1 && $1 !~ /^tiny/ { print $1 }')
[[ $# == 0 ]] || shapes=("$@")

write() { "$hearth" synth -o "$file" --shape "$1" --size "$size" "${@:2}" 2> "$work/errors"; }
bench() { "$hearth" bench -m "$file" -p 0 -n "$tokens" -r 1 -c 512 -o json "$@" 2> "$work/errors"; }
skip() { printf '%-19s skipped: %s\n' "$1" "$2"; }
fail() {
  printf '%-19s FAILED: %s\n' "$1" "$(tail -n 1 "$work/errors")"
  failed=1
}

failed=0
printf '%-19s %6s %8s %7s %12s %8s %8s %7s %7s\n' shape layers experts GB bytes/expert 'half of' tok/s \
  hits logits
for shape in "${shapes[@]}"; do
  write "$shape" --header-only || { fail "$shape"; continue; }
  bytes=$("$hearth" plan -m "$file" --json --ram 1000GB 2> "$work/errors" | value file_bytes)
  if ((bytes > most)); then
    skip "$shape" "its pattern takes $bytes bytes, MOST is $most"
    continue
  fi
  free=$(($(df --output=avail -B1 "$work" | tail -n 1)))
  if ((bytes > free - free / 10)); then
    skip "$shape" "$bytes bytes do not fit onto $work, where $free are free"
    continue
  fi
  write "$shape" || { fail "$shape"; continue; }
  of=file half_budget=(--ram $((bytes / 2))) more_budget=(--ram $((bytes * 7 / 10)))
  if ! "$hearth" plan -m "$file" -c 512 "${half_budget[@]}" > /dev/null 2>&1; then
    of=experts half_budget=(--expert-ram 50%) more_budget=(--expert-ram 70%)
  fi
  if ! half=$(bench "${half_budget[@]}") || ! more=$(bench "${more_budget[@]}"); then
    fail "$shape"
    rm -f "$file"
    continue
  fi
  same=equal
  [[ $(text logits_hash <<< "$half") == $(text logits_hash <<< "$more") ]] || { same=DIFFER; failed=1; }
  "$hearth" inspect --json "$file" > "$work/summary"
  awk -v shape="$shape" -v bytes="$bytes" -v layers="$(value layers < "$work/summary")" \
    -v moe="$(value moe_layers < "$work/summary")" \
    -v experts="$(value experts_per_layer < "$work/summary")" \
    -v expert_bytes="$(value expert_bytes < "$work/summary")" \
    -v speed="$(value avg_ts <<< "$half")" -v hits="$(value expert_hit_rate <<< "$half")" \
    -v same=$same -v of=$of 'BEGIN {
      printf "%-19s %6d %8d %7.2f %12d %8s %8.2f %6.1f%% %7s\n", shape, layers, moe * experts,
        bytes / 1e9, expert_bytes / (moe * experts), of, speed, hits * 100, same }'
  rm -f "$file"
done
exit $failed
