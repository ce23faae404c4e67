// What will be allocated, to the byte, before anything is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "runtime/experts/expert_store.h"
#include "runtime/model.h"

namespace hearth::runtime {

// At most one of the three is set; none: as many experts as fit the memory that is free now.
struct MemoryBudget {
  std::optional<Bytes> ram;            // everything the process holds
  std::optional<Bytes> expert_ram;     // the expert arena alone
  std::optional<double> expert_share;  // likewise, as a share of all expert bytes, 0 to 1
};

struct MemoryPlan {
  Bytes process;  // held before the model's memory is taken: code, tokenizer, tables; and stacks
  Bytes dense;
  Bytes kv;
  Bytes scratch;
  Bytes experts;
  std::uint32_t batch = 0;  // tokens of a prefill step
  std::uint32_t context = 0;
  std::vector<std::uint32_t> slots_of_class;
  std::vector<std::uint64_t> slot_bytes;  // per class
  std::uint32_t expert_slots = 0;         // of all classes
  std::uint32_t experts_total = 0;

  Bytes total() const { return process + dense + kv + scratch + experts; }
};

struct PlanInput {
  MemoryBudget budget;
  std::uint32_t context = 0;
  std::uint32_t batch = 0;  // wanted; a tight budget gets a smaller one
  std::uint32_t threads = 1;
  std::uint64_t alignment = 1;  // of reads
  Bytes process;                // resident now
  Bytes available;              // memory the system could still give; 0: unknown
};

// Throws Error(kBudget) stating the least budget that works, or that the system has less memory
// free than this would take.
MemoryPlan plan_memory(const Model& model, const PlanInput& input);

// Scratch for `batch` tokens, as the plan counts it.
ScratchShape scratch_shape_for(const Model& model, std::uint32_t batch, std::uint32_t threads);

Bytes resident_memory();   // of this process, from /proc/self/statm
Bytes peak_memory();       // its highest value so far (VmHWM)
bool reset_peak_memory();  // the highest value from now on; false where /proc does not allow it
Bytes available_memory();  // MemAvailable

}  // namespace hearth::runtime
