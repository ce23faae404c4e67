#!/usr/bin/env bash
# The table of kernels/quant/README.md: the decode kernel of every weight format against the memory
# bandwidth of this machine.
#   benchmarks/kernels.sh [FORMAT]
# HEARTH_CPU=avx2 gives the table of another instruction set. Wants 1 GiB of memory, two cores that
# nothing else uses, and half a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
HEARTH_PRESET=bench ./dev build bench_kernels >&2
exec build/bench/bin/bench_kernels "$@"
