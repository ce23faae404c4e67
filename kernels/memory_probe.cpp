#include "kernels/memory_probe.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "base/check.h"
#include "base/clock.h"

namespace hearth::kernels {
namespace {

// Eight independent sums, which the compiler turns into wide loads. Asking for lines well ahead
// raised the figure from 8.4 to 14.0 GB/s for one thread of a virtual Intel server, from 16.8 to
// 27.0 for two: the hardware prefetchers alone do not reach the peak.
std::uint64_t sum(const std::byte* data, std::size_t bytes) {
  constexpr std::size_t kAhead = 4096;
  std::uint64_t lanes[8] = {};
  for (std::size_t at = 0; at + sizeof(lanes) <= bytes; at += sizeof(lanes)) {
    __builtin_prefetch(data + at + kAhead);
    std::uint64_t words[8];
    std::memcpy(words, data + at, sizeof(words));
    for (int i = 0; i < 8; ++i) lanes[i] += words[i];
  }
  return lanes[0] + lanes[1] + lanes[2] + lanes[3] + lanes[4] + lanes[5] + lanes[6] + lanes[7];
}

constexpr std::size_t kPiece = std::size_t{256} << 10;

}  // namespace

double read_memory(WorkerPool& pool, std::span<const std::byte> memory) {
  std::atomic<std::uint64_t> total{0};  // keeps the sums alive
  const auto pieces = static_cast<std::uint32_t>(memory.size() / kPiece);
  CHECK_GT(pieces, 0u);
  const Nanoseconds start = steady_clock().now();
  pool.run(pieces, [&](std::uint32_t piece, std::uint32_t) {
    total.fetch_add(sum(memory.data() + piece * kPiece, kPiece), std::memory_order_relaxed);
  });
  return static_cast<double>(pieces) * kPiece / seconds(steady_clock().now() - start);
}

double probe_memory(WorkerPool& pool, std::span<const std::byte> memory) {
  const std::size_t window = std::min((std::size_t{2} << 20) * pool.threads(), memory.size());
  std::vector<double> rates;
  for (std::size_t at = 0; at + window <= memory.size(); at += window)
    rates.push_back(read_memory(pool, memory.subspan(at, window)));
  const auto quarter = rates.begin() + static_cast<std::ptrdiff_t>(rates.size() / 4);
  std::nth_element(rates.begin(), quarter, rates.end(), std::greater());
  return *quarter;
}

}  // namespace hearth::kernels
