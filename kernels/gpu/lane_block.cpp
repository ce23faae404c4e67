#include "kernels/gpu/lane_block.h"

#include "kernels/arithmetic.h"

namespace hearth::kernels {
namespace {

constexpr std::uint64_t kPartAlignment = 64;

// One list of all parts serves both the size and the addresses.
class Parts {
 public:
  explicit Parts(std::byte* memory) : memory_(memory) {}

  template <typename T>
  T* take(std::uint64_t count) {
    T* const part = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + bytes_);
    bytes_ += round_up(count * sizeof(T), kPartAlignment);
    return part;
  }
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::byte* memory_;
  std::uint64_t bytes_ = 0;
};

LaneBlock take_block(Parts& parts, const LaneShape& shape) {
  const auto stride = static_cast<std::uint32_t>(round_up(shape.embedding, kActivationPadding));
  const std::uint64_t values = std::uint64_t{shape.rows} * stride;
  LaneBlock block;
  block.shape = shape;
  block.control = parts.take<LaneControl>(1);
  block.jobs = parts.take<LaneJob>(shape.pairs());
  block.x_rows = parts.take<std::uint32_t>(shape.pairs());
  block.x_weights = parts.take<float>(shape.pairs());
  block.x = {.rows = shape.rows, .columns = shape.embedding, .stride = stride};
  if (shape.with_values) block.x.values = parts.take<float>(values);
  block.x.codes = parts.take<std::int8_t>(values);
  block.x.scales = parts.take<float>(values / 32);
  block.x.sums = parts.take<std::int16_t>(values / 16);
  block.results = parts.take<float>(std::uint64_t{shape.pairs()} * shape.embedding);
  return block;
}

}  // namespace

Bytes lane_block_bytes(const LaneShape& shape) {
  Parts parts(nullptr);
  take_block(parts, shape);
  return Bytes(parts.bytes());
}

LaneBlock lane_block_at(std::byte* memory, const LaneShape& shape) {
  Parts parts(memory);
  return take_block(parts, shape);
}

}  // namespace hearth::kernels
