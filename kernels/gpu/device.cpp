#include "kernels/gpu/device.h"

#include <algorithm>
#include <cstdlib>
#include <ranges>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "kernels/gpu/launch_error.h"

namespace hearth::kernels {

bool is_wanted(DeviceHabit habit) {
  const char* const text = std::getenv("HEARTH_GPU_WITHOUT");
  if (text == nullptr) return true;
  bool wanted = true;
  for (const auto part : std::views::split(std::string_view(text), ',')) {
    const std::string_view name(part.begin(), part.end());
    const bool overlap = name == "overlap";
    if (!overlap && name != "ahead")
      throw_error(ErrorCode::kUsage,
                  "HEARTH_GPU_WITHOUT={}: unknown; use overlap, ahead or overlap,ahead", text);
    if (overlap == (habit == DeviceHabit::kOverlap)) wanted = false;
  }
  return wanted;
}

std::unique_ptr<Graph> captured(Stream& stream, FunctionRef<void()> work) {
  stream.begin_capture();
  try {
    work();
  } catch (...) {
    stream.drop_capture();
    throw;
  }
  return stream.end_capture();
}

std::optional<DeviceBuffer> DeviceBuffer::try_allocate(Device& device, Bytes bytes) {
  DeviceBuffer buffer;
  if (bytes.count == 0) return buffer;
  buffer.data_ = static_cast<std::byte*>(device.try_allocate(bytes));
  if (buffer.data_ == nullptr) return std::nullopt;
  buffer.device_ = &device;
  buffer.size_ = bytes;
  return buffer;
}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

DeviceBuffer::~DeviceBuffer() {
  if (data_ != nullptr) device_->free(data_);
}

std::optional<MappedMemory> MappedMemory::try_allocate(Device& device, Bytes bytes) {
  MappedMemory memory;
  if (bytes.count == 0) return memory;
  memory.data_ = static_cast<std::byte*>(device.try_allocate_mapped(bytes));
  if (memory.data_ == nullptr) return std::nullopt;
  memory.device_ = &device;
  memory.size_ = bytes;
  return memory;
}

MappedMemory& MappedMemory::operator=(MappedMemory&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedMemory::~MappedMemory() {
  if (data_ != nullptr) device_->free_mapped(data_);
}

PinnedMemory PinnedMemory::pin(Device& device, std::span<std::byte> memory, Bytes chunk) {
  CHECK(chunk.count > 0);
  PinnedMemory result;
  result.device_ = &device;
  result.memory_ = memory;
  result.chunk_ = chunk.count;
  while (!result.complete()) {
    const std::size_t bytes = std::min(result.chunk_, memory.size() - result.pinned_);
    if (!device.try_pin(memory.subspan(result.pinned_, bytes))) break;
    result.pinned_ += bytes;
  }
  return result;
}

PinnedMemory& PinnedMemory::operator=(PinnedMemory&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(memory_, other.memory_);
  std::swap(chunk_, other.chunk_);
  std::swap(pinned_, other.pinned_);
  return *this;
}

PinnedMemory::~PinnedMemory() {
  for (std::size_t at = 0; at < pinned_; at += chunk_) device_->unpin(memory_.data() + at);
}

void load_kernels_when_opened() {
  setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  setenv("HIP_ENABLE_DEFERRED_LOADING", "0", 0);
}

void launch_failed(const char* reason, const LaunchShape& shape) {
  throw_error(
      ErrorCode::kDevice,
      "GPU: a kernel of {} x {} x {} blocks of {} threads with {} bytes of shared memory was "
      "refused: {}; update the driver, or run without the GPU",
      shape.blocks_x, shape.blocks_y, shape.blocks_z, shape.threads, shape.dynamic_shared, reason);
}

}  // namespace hearth::kernels
