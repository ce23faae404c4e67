// The memory of this process beside the arenas of weights, keys and values, scratch and experts.
#pragma once

#include <cstdint>

#include "base/units.h"
#include "io/gguf.h"

namespace hearth::runtime {

// An upper bound of what the process holds while it runs a model: code, the file's metadata and
// directory, tokenizer, tables, stacks, rings. It follows from the file alone, so that a plan made
// elsewhere or at another time is the same.
Bytes process_bytes(const io::GgufFile& file, std::uint32_t experts, std::uint32_t threads);
// Of these, for what a process takes only after its model's memory: stacks, rings, prompts.
extern const Bytes kProcessReserve;

Bytes resident_memory();   // of this process, from /proc/self/statm
Bytes peak_memory();       // its highest value so far (VmHWM)
bool reset_peak_memory();  // the highest value from now on; false where /proc does not allow it

}  // namespace hearth::runtime
