#include "runtime/attention_scratch.h"

#include <algorithm>

#include "base/check.h"

namespace hearth::runtime {
namespace {

constexpr std::size_t kPieceAlignment = 64;

// Carves pieces off a span; with none, only adds up what they take.
class Carver {
 public:
  explicit Carver(std::span<std::byte> memory) : memory_(memory) {}

  template <typename T>
  std::span<T> take(std::size_t count) {
    const std::size_t begin = taken_;
    taken_ += round_up(count * sizeof(T), kPieceAlignment);
    if (memory_.empty()) return {};
    CHECK_LE(taken_, memory_.size());
    return {reinterpret_cast<T*>(memory_.data() + begin), count};
  }
  std::size_t taken() const { return taken_; }

 private:
  std::span<std::byte> memory_;
  std::size_t taken_ = 0;
};

kernels::AttentionState take_state(Carver& carver, std::size_t queries, std::size_t value_dim) {
  return {.maxima = carver.take<float>(queries).data(),
          .sums = carver.take<float>(queries).data(),
          .outputs = carver.take<float>(queries * value_dim).data()};
}

// One list of all pieces serves both the sizing and the carving.
void carve(Carver& carver, std::size_t key_dim, std::size_t value_dim, AttentionScratch& scratch) {
  constexpr std::size_t kQueries = kernels::kMaxAttentionQueries;
  const std::size_t values = kQueries * key_dim;
  scratch.queries = carver.take<float>(values);
  scratch.codes = carver.take<std::int8_t>(values);
  scratch.scales = carver.take<float>(values / 32);
  scratch.sums = carver.take<std::int16_t>(values / 16);
  scratch.folded_codes = carver.take<std::int8_t>(values);
  scratch.folded_scales = carver.take<float>(values / kernels::kKvBlock);
  scratch.folded_sums = carver.take<std::int16_t>(values / 16);
  scratch.zeros = carver.take<float>(values / kernels::kKvBlock);
  for (auto* one : {&scratch.first, &scratch.end, &scratch.encoded_keys, &scratch.encoded_values})
    *one = carver.take<std::uint32_t>(kQueries);
  scratch.merged = take_state(carver, kQueries, value_dim);
  scratch.one = take_state(carver, kQueries, value_dim);
  scratch.tile = carver.take<float>(kernels::kKvLongestTile * std::max(key_dim, value_dim));
}

}  // namespace

Bytes AttentionScratch::bytes_needed(std::uint32_t key_dim, std::uint32_t value_dim) {
  Carver carver({});
  AttentionScratch unused;
  carve(carver, key_dim, value_dim, unused);
  return Bytes(carver.taken());
}

AttentionScratch::AttentionScratch(std::span<std::byte> memory, std::uint32_t key_dim,
                                   std::uint32_t value_dim) {
  Carver carver(memory);
  carve(carver, key_dim, value_dim, *this);
}

}  // namespace hearth::runtime
