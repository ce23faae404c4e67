#include "tools/hearth/counting_memory.h"

#include <algorithm>
#include <cstdio>

#include "runtime/model.h"
#include "runtime/model_identity.h"
#include "runtime/trace_header.h"
#include "tools/hearth/model_summary.h"

namespace hearth::tools {
namespace {

// Two copies of its history, its row of the recorder, and its text, twice while it is put together.
constexpr std::uint64_t kBytesPerExpert = 1024;
constexpr std::uint64_t kBytesPerPair = 4;  // of experts of neighbouring layers

}  // namespace

Bytes counting_memory(const profiler::TraceHeader& header) {
  Bytes memory;
  std::uint64_t experts_before = 0;
  for (const profiler::TraceLayer& layer : header.layers) {
    memory += Bytes(layer.experts * kBytesPerExpert);
    memory += Bytes(experts_before * layer.experts * kBytesPerPair);
    experts_before = layer.experts;
  }
  return memory;
}

void reserve_counting_memory(EngineFlags& flags, const MoreMemory& more) {
  if (!flags.ram) return;
  const io::GgufFile file = open_model_file(flags.model);
  const profiler::TraceHeader header =
      runtime::trace_header_of(*runtime::build_model(file), runtime::identity_of_header(file), {});
  const Bytes reserved =
      counting_memory(header) + more.per_layer * header.layers.size() + more.in_all;
  fmt::print(stderr, "counting  takes {} of --ram\n", format_size(reserved));
  *flags.ram -= std::min(reserved, *flags.ram);
}

}  // namespace hearth::tools
