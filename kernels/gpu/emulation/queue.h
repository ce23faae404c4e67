// The stream of the emulation: what it is given runs at once, or is kept for a graph.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace hearth::kernels::emulated {

class Queue {
 public:
  using Work = std::function<void()>;

  // `lanes` of a warp, 32 or 64; `seed` of the order in which threads take turns.
  explicit Queue(unsigned lanes = 32, std::uint64_t seed = 0) : lanes_(lanes), seed_(seed) {}
  virtual ~Queue() = default;
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  virtual void enqueue(Work work) { work(); }

  unsigned lanes() const { return lanes_; }
  std::uint64_t next_seed() { return seed_++; }

 private:
  unsigned lanes_;
  std::uint64_t seed_;
};

}  // namespace hearth::kernels::emulated
