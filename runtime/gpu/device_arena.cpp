#include "runtime/gpu/device_arena.h"

#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace hearth::runtime {

DeviceArena::DeviceArena(kernels::Device& device, Bytes size, std::string_view what)
    : counts_(false) {
  auto memory = kernels::DeviceBuffer::try_allocate(device, size);
  if (!memory)
    throw_error(ErrorCode::kBudget,
                "{}: {} MiB for {} are not to be had, {} MiB are free; end other programs that use "
                "it, or use a shorter context",
                device.properties().name, (size.count >> 20) + 1, what,
                device.memory().free.count >> 20);
  memory_ = std::move(*memory);
}

std::byte* DeviceArena::take(Bytes bytes) {
  const Bytes begin = taken_;
  taken_ += Bytes(round_up(bytes.count, kAlignment));
  if (counts_) return nullptr;
  CHECK_LE(taken_.count, memory_.size().count);
  return memory_.data() + begin.count;
}

}  // namespace hearth::runtime
