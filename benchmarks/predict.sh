#!/usr/bin/env bash
# How near hearth plan comes to what hearth bench then measures.
#   benchmarks/predict.sh [MODEL.gguf] [TOKENS]
# Without a model, writes a synthetic one with the layer shape of Qwen3-30B-A3B (16 layers, 6.3 GB)
# to a temporary folder (TMPDIR or /tmp) and removes it afterwards. Measures the machine with hearth
# doctor on the model's disk, records a profile from one text, then plans for --ram of 100, 80, 60,
# 40 and 25 % of the file (100: no bound) and runs each plan on another text. Prints the predicted
# speed with its range beside the measured one; fails where they differ by more than a fifth.
# Figures mean something on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source benchmarks/common.sh
model=$(model_or_synthetic "${1:-}")
readonly model tokens=${2:-64} context=512 recorded=${RECORDED_TOKENS:-8192}
size=$(stat -c %s "$model")
readonly size

disk=$model
((size >= 64 << 20)) || disk=$work # too small to measure reads of
"$hearth" doctor ${DOCTOR_FLAGS:-} --disk "$disk" -o "$work/machine.toml" >"$work/doctor.log"
"$hearth" profile record -m "$model" -f ARCHITECTURE.md -f README.md --workload documents \
  -n "$recorded" --replay-tokens "$recorded" -o "$work/profile.toml" >"$work/record.log" 2>&1

# plan PERCENT FLAG...: the plan for that share of the file
plan() {
  local percent=$1
  shift
  local memory=(--ram "$((size * percent / 100))")
  [[ $percent == 100 ]] && memory=(--expert-ram 100%)
  "$hearth" plan -m "$model" "${memory[@]}" -c "$context" --depth "$((tokens / 2))" \
    --machine "$work/machine.toml" --profile "$work/profile.toml" "$@"
}

failed=0
printf '%-7s %10s %19s %10s %7s %12s %12s\n' budget predicted range measured ratio 'hits, pred.' measured
for percent in 100 80 60 40 25; do
  plan "$percent" -o "$work/plan.toml" >/dev/null
  prediction=$(plan "$percent" --json)
  record=$("$hearth" bench -m "$model" --plan "$work/plan.toml" -f CONTRIBUTING.md \
    -p 0 -n "$tokens" -r 3 -o json 2>/dev/null)
  hits=$(value expert_hit_rate <<<"$record")
  awk -v percent="$percent" -v predicted="$(value tok_s <<<"$prediction")" \
    -v low="$(value tok_s_low <<<"$prediction")" -v high="$(value tok_s_high <<<"$prediction")" \
    -v expected="$(value expected <<<"$prediction")" -v hits="${hits:-1}" \
    -v measured="$(value avg_ts <<<"$record")" 'BEGIN {
      ratio = predicted / measured
      printf "%-7s %10.2f %8.2f - %8.2f %10.2f %7.3f %11.1f%% %11.1f%%\n", percent "%", predicted,
        low, high, measured, ratio, expected * 100, hits * 100
      exit ratio < 0.8 || ratio > 1.2
    }' || failed=1
done
[[ $failed == 0 ]] || { echo "predict.sh: predictions are more than a fifth off" >&2; exit 1; }
