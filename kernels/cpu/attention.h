// One query token against the cached keys and values of a KV head: softmax(q · K) V without the
// matrix of scores (online softmax, Milakov & Gimelshein 2018; blocks as in FlashAttention).
//
// Per head of the group, with running maximum m = -infinity, sum l = 0 and output o = 0, for each
// block of 32 positions counted from 0:
//   s[p] = fold16(q · k[p], lane i taking the elements i mod 16, fused) × scale; past the end -inf
//   m'   = the larger of m and all s
//   f    = exp(m - m'); l = l × f; o = o × f       (also where f is 1: one order for all)
//   w[p] = exp(s[p] - m'); l = l + fold16(w[0..15] + w[16..31])
//   o    = fma(w[p], v[p], o) for the positions of the block in their order
// At the end o = o / l. A head's result depends on nothing but its own query, K, V and positions.
//
// A tile of four rows is widened from f16 once and used by every head of the group while it is in
// L1: memory is read once, and the widening is shared.
#pragma once

#include "kernels/cpu/exp.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu_kernels.h"

namespace hearth::kernels {

inline constexpr std::uint32_t kAttentionBlock = 32;
inline constexpr std::uint32_t kTileRows = 4;

template <std::uint32_t kCount>
struct Rows {};

// body(p, Rows<4>{}) for p = 0, 4, 8, ... and body(p, Rows<1>{}) for the positions that are left.
template <typename Body>
[[gnu::always_inline]] inline void for_tiles(std::uint32_t positions, Body body) {
  std::uint32_t p = 0;
  for (; p + kTileRows <= positions; p += kTileRows) body(p, Rows<kTileRows>{});
  for (; p < positions; ++p) body(p, Rows<1>{});
}

// The state of one call. Everything lies on the stack: 17 KiB.
template <typename Lanes>
class Attention {
 public:
  explicit Attention(const AttentionTask& task) : task_(task) {
    for (std::uint32_t head = 0; head < task_.group; ++head) {
      maximum_[head] = -__builtin_inff();
      sum_[head] = 0;
      map_output(head, [](Lanes) { return Lanes::broadcast(0); });
    }
  }

  void run() {
    for (std::uint32_t begin = 0; begin < task_.positions; begin += kAttentionBlock) {
      const std::uint32_t left = task_.positions - begin;
      const std::uint32_t count = left < kAttentionBlock ? left : kAttentionBlock;
      score_block(begin, count);
      for (std::uint32_t head = 0; head < task_.group; ++head) weigh_block(head);
      add_block(begin, count);
    }
    for (std::uint32_t head = 0; head < task_.group; ++head) {
      const Lanes sum = Lanes::broadcast(sum_[head]);
      map_output(head, [&](Lanes out) { return out / sum; });
    }
  }

 private:
  void score_block(std::uint32_t begin, std::uint32_t count) {
    const std::uint32_t dim = task_.head_dim;
    for_tiles(count, [&]<std::uint32_t kCount>(std::uint32_t p, Rows<kCount> rows) {
      widen(task_.keys + std::size_t{begin + p} * dim, kCount * dim);
      for (std::uint32_t head = 0; head < task_.group; ++head)
        score(task_.queries + std::size_t{head} * dim, rows, &scores_[head][p]);
    });
    for (std::uint32_t head = 0; head < task_.group; ++head)
      for (std::uint32_t p = count; p < kAttentionBlock; ++p) scores_[head][p] = -__builtin_inff();
  }

  // The scores of the rows of the tile.
  template <std::uint32_t kCount>
  void score(const float* query, Rows<kCount>, float* scores) const {
    const std::uint32_t dim = task_.head_dim;
    Lanes dots[kCount];
    for (Lanes& dot : dots) dot = Lanes::broadcast(0);
    for (std::uint32_t d = 0; d < dim; d += kLanes) {
      const Lanes q = Lanes::load(query + d, Whole{});
      for (std::uint32_t r = 0; r < kCount; ++r)
        dots[r] = fma(q, Lanes::load(tile_ + r * dim + d, Whole{}), dots[r]);
    }
    if constexpr (kCount == kTileRows) {
      store_sums(dots, scores);
    } else {
      scores[0] = dots[0].sum();
    }
    for (std::uint32_t r = 0; r < kCount; ++r) scores[r] *= task_.scale;
  }

  // Makes the scores of the block weights, and brings sum and output to the new maximum.
  void weigh_block(std::uint32_t head) {
    float* const scores = scores_[head];
    const Lanes low = Lanes::load(scores, Whole{}), high = Lanes::load(scores + kLanes, Whole{});
    const float block_maximum = larger(low, high).largest();
    const Lanes before = Lanes::broadcast(maximum_[head]);
    maximum_[head] = maximum_[head] > block_maximum ? maximum_[head] : block_maximum;
    const Lanes maximum = Lanes::broadcast(maximum_[head]);

    const Lanes factor = exponential(before - maximum);
    map_output(head, [&](Lanes out) { return out * factor; });

    const Lanes low_weights = exponential(low - maximum);
    const Lanes high_weights = exponential(high - maximum);
    low_weights.store(scores, Whole{});
    high_weights.store(scores + kLanes, Whole{});
    sum_[head] = sum_[head] * factor.first() + (low_weights + high_weights).sum();
  }

  void add_block(std::uint32_t begin, std::uint32_t count) {
    const std::uint32_t dim = task_.value_dim;
    for_tiles(count, [&]<std::uint32_t kCount>(std::uint32_t p, Rows<kCount> rows) {
      widen(task_.values + std::size_t{begin + p} * dim, kCount * dim);
      for (std::uint32_t head = 0; head < task_.group; ++head)
        add(&scores_[head][p], rows, task_.out + std::size_t{head} * dim);
    });
  }

  // Adds the rows of the tile, each times its weight.
  template <std::uint32_t kCount>
  void add(const float* weights, Rows<kCount>, float* out) const {
    const std::uint32_t dim = task_.value_dim;
    Lanes weight[kCount];
    for (std::uint32_t r = 0; r < kCount; ++r) weight[r] = Lanes::broadcast(weights[r]);
    for (std::uint32_t d = 0; d < dim; d += kLanes) {
      Lanes sum = Lanes::load(out + d, Whole{});
      for (std::uint32_t r = 0; r < kCount; ++r)
        sum = fma(weight[r], Lanes::load(tile_ + r * dim + d, Whole{}), sum);
      sum.store(out + d, Whole{});
    }
  }

  void widen(const std::uint16_t* from, std::uint32_t n) {
    for (std::uint32_t i = 0; i < n; i += kLanes)
      Lanes::load_f16(from + i).store(tile_ + i, Whole{});
  }

  template <typename Function>
  void map_output(std::uint32_t head, Function f) {
    float* const out = task_.out + std::size_t{head} * task_.value_dim;
    for (std::uint32_t d = 0; d < task_.value_dim; d += kLanes)
      f(Lanes::load(out + d, Whole{})).store(out + d, Whole{});
  }

  const AttentionTask task_;
  float maximum_[kMaxAttentionGroup];
  float sum_[kMaxAttentionGroup];
  alignas(64) float scores_[kMaxAttentionGroup][kAttentionBlock];  // of the block, then its weights
  alignas(64) float tile_[kTileRows * kMaxHeadDim];
};

template <typename Lanes>
void attend(const AttentionTask& task) {
  Attention<Lanes>(task).run();
}

}  // namespace hearth::kernels
