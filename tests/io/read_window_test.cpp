#include "io/read_window.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace hearth::io {
namespace {

TEST(ReadWindowTest, IsTheSmallestAlignedWindowAroundTheRange) {
  EXPECT_TRUE(rc::check("aligned, contains the range, nothing to spare", [] {
    const std::uint64_t alignment = std::uint64_t{1} << *rc::gen::inRange(0, 17);
    const std::uint64_t offset = *rc::gen::inRange<std::uint64_t>(0, std::uint64_t{1} << 45);
    const std::uint64_t length = *rc::gen::inRange<std::uint64_t>(1, std::uint64_t{1} << 32);
    const ReadWindow window = read_window(offset, length, alignment);
    RC_ASSERT(window.offset % alignment == 0u);
    RC_ASSERT(window.length % alignment == 0u);
    RC_ASSERT(window.offset + window.skip == offset);
    RC_ASSERT(window.skip < alignment);
    RC_ASSERT(window.needed == window.skip + length);
    RC_ASSERT(window.needed <= window.length);
    RC_ASSERT(window.length - window.needed < alignment);
    RC_ASSERT(window.length <= window_capacity(length, alignment));
  }));
}

TEST(ReadWindowTest, WithoutAlignmentIsTheRangeItself) {
  const ReadWindow window = read_window(12'345, 678, 1);
  EXPECT_EQ(window.offset, 12'345u);
  EXPECT_EQ(window.length, 678u);
  EXPECT_EQ(window.skip, 0u);
  EXPECT_EQ(window.needed, 678u);
  EXPECT_EQ(window_capacity(678, 1), 678u);
}

}  // namespace
}  // namespace hearth::io
