// What a process takes of a device, told from readings of the whole of it.
#include "kernels/gpu/memory_meter.h"

#include <gtest/gtest.h>

namespace hearth::kernels {
namespace {

class Readings {
 public:
  std::uint64_t used = 0;  // of the whole device
  void take(MemoryMeter& meter, void* memory, std::uint64_t bytes, std::uint64_t page) {
    const std::uint64_t before = used;
    used += round_up(bytes, page);
    meter.allocated(memory, Bytes(bytes));
    meter.changed(Bytes(before), Bytes(used));
  }
};

TEST(MemoryMeter, SeesNoOthers) {
  MemoryMeter meter;
  Readings device{.used = 1000};            // of others, before
  meter.changed(Bytes(1000), Bytes(1300));  // the context
  device.used = 1300;
  int one = 0;
  device.take(meter, &one, 150, 100);
  EXPECT_EQ(meter.use().allocated, Bytes(150));
  EXPECT_EQ(meter.use().driver, Bytes(350));                   // with the unused end of a page
  device.used += 5000;                                         // others come
  meter.changed(Bytes(device.used), Bytes(device.used + 20));  // a graph
  device.used += 20;
  EXPECT_EQ(meter.use().total(), Bytes(520));
  EXPECT_EQ(meter.peak(), Bytes(520));
  meter.freed(&one);
  meter.changed(Bytes(device.used), Bytes(device.used - 200));
  EXPECT_EQ(meter.use().allocated, Bytes(0));
  EXPECT_EQ(meter.use().driver, Bytes(320));
  EXPECT_EQ(meter.peak(), Bytes(520));
}

// Others give memory back while a buffer is taken: it counts all the same.
TEST(MemoryMeter, CountsBuffersInAnyCase) {
  MemoryMeter meter;
  int one = 0;
  meter.allocated(&one, Bytes(100));
  meter.changed(Bytes(1000), Bytes(500));
  EXPECT_EQ(meter.use().total(), Bytes(100));
  EXPECT_EQ(meter.peak(), Bytes(100));
}

}  // namespace
}  // namespace hearth::kernels
