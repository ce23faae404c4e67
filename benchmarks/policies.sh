#!/usr/bin/env bash
# Is the cache policy that Hearth chooses the right one?
#   benchmarks/policies.sh [BUDGETS] [TRACE...]
# For each trace (by default those in tests/traces) and each budget (by default 10%,25%,50%,75% of
# the experts), the policy is chosen from the first half of the trace and judged on the second one,
# beside the best of all policies and Belady's bound. Fails where a choice is more than one
# percentage point of hit rate below the best.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly hearth=${HEARTH:-build/release/bin/hearth}
[[ -x $hearth ]] || { echo "policies.sh: $hearth is missing; run ./dev build" >&2; exit 1; }
readonly budgets=${1:-10%,25%,50%,75%}
traces=("${@:2}")
[[ ${#traces[@]} -gt 0 ]] || traces=(tests/traces/*.trace)
"$hearth" replay "${traces[@]}" --budget "$budgets" --summary |
  awk '{ print } /^farthest below/ { worst = $(NF - 1) } END { exit !(worst <= 1.0) }'
