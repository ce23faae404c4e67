#include "runtime/link_peaks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "io/arena.h"

namespace hearth::runtime {
namespace {

// A rest that is shorter than a stretch is left out; the others come in turn.
TEST(MemoryMeter, ReadsStretchAfterStretch) {
  const io::Arena arena(MemoryMeter::kStretch + MemoryMeter::kStretch + Bytes(4096));
  const std::span<const std::byte> memory = arena.bytes();
  kernels::WorkerPool pool(2);
  MemoryMeter meter(pool, memory);
  std::set<const std::byte*> begun;
  for (int i = 0; i < 5; ++i) {
    const std::span<const std::byte> stretch = meter.read();
    EXPECT_EQ(stretch.size(), MemoryMeter::kStretch.count);
    begun.insert(stretch.data());
  }
  EXPECT_EQ(begun, (std::set{memory.data(), memory.subspan(MemoryMeter::kStretch.count).data()}));
  EXPECT_GT(meter.bytes_per_second(), 1e6);
  EXPECT_TRUE(std::isfinite(meter.bytes_per_second()));
}

}  // namespace
}  // namespace hearth::runtime
