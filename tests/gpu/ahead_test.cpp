// What blocks ask for behind those of a launch, in the emulation: each line of each part once, and
// no other.
#include "kernels/gpu/ahead.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace hearth::kernels::emulated {
namespace {

HEARTH_KERNEL(256) asks(Ahead ahead) {
  ask_ahead(ahead, block_x());
  wait_for_previous();
}

std::vector<const void*> asked_for(const Ahead& ahead) {
  std::vector<const void*> places;
  note_prefetches(&places);
  Queue queue(32, 9);
  launch(asks, {.blocks_x = ahead_blocks(ahead), .threads = 256}, &queue, ahead);
  note_prefetches(nullptr);
  std::ranges::sort(places);
  return places;
}

TEST(Ahead, IsEachLineOfEachPart) {
  const std::uint32_t sizes[] = {3 * kAheadBytesOfBlock + 129, kAheadBytesOfBlock, 1};
  std::vector<std::vector<std::byte>> memory;
  Ahead ahead;
  std::vector<const void*> expected;
  for (std::size_t i = 0; i < std::size(sizes); ++i) {
    const std::byte* const at = memory.emplace_back(sizes[i]).data();
    ahead.parts[i] = {.at = at, .bytes = sizes[i]};
    for (std::uint32_t line = 0; line < sizes[i]; line += kCacheLine) expected.push_back(at + line);
  }
  std::ranges::sort(expected);
  EXPECT_EQ(ahead_blocks(ahead), 4u + 1 + 1);
  EXPECT_EQ(asked_for(ahead), expected);
}

TEST(Ahead, IsWhateverPartsThereAre) {
  std::vector<std::byte> memory(200);
  Ahead ahead;
  EXPECT_EQ(ahead_blocks(ahead), 0u);
  ahead.parts[2] = {.at = memory.data(), .bytes = 200};
  EXPECT_EQ(asked_for(ahead),
            (std::vector<const void*>{memory.data(), memory.data() + kCacheLine}));
}

}  // namespace
}  // namespace hearth::kernels::emulated
