#include "runtime/gpu/mapped.h"

#include <utility>

#include "base/error.h"

namespace hearth::runtime {

kernels::MappedMemory mapped_memory(kernels::Device& device, Bytes bytes, std::string_view what) {
  auto memory = kernels::MappedMemory::try_allocate(device, bytes);
  if (!memory)
    throw_error(ErrorCode::kBudget,
                "{}: {} bytes of host memory cannot be pinned for {}; raise the limit on locked "
                "memory (ulimit -l)",
                device.properties().name, bytes.count, what);
  return std::move(*memory);
}

}  // namespace hearth::runtime
