#include "io/arena.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace hearth::io {
namespace {

class ArenaPagesTest : public testing::TestWithParam<Arena::Pages> {};

INSTANTIATE_TEST_SUITE_P(Pages, ArenaPagesTest,
                         testing::Values(Arena::Pages::kDefault, Arena::Pages::kHuge));

TEST_P(ArenaPagesTest, EveryPageIsThereBeforeItIsUsed) {
  // Not a multiple of a huge page: the tail is small pages.
  const Arena arena(Bytes((5u << 20) + 4096 + 1), GetParam());
  const std::span<std::byte> bytes = arena.bytes();
  EXPECT_EQ(bytes.size(), (5u << 20) + 2 * 4096);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes.data()) % (2u << 20), 0u);

  std::vector<unsigned char> resident(bytes.size() / 4096);
  ASSERT_EQ(mincore(bytes.data(), bytes.size(), resident.data()), 0);
  EXPECT_TRUE(
      std::all_of(resident.begin(), resident.end(), [](unsigned char page) { return page & 1; }));
  EXPECT_TRUE(
      std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{}; }));
}

TEST_P(ArenaPagesTest, AForkedProcessHasNoneOfIt) {
  const Arena arena(Bytes(4 << 20), GetParam());
  const std::span<std::byte> bytes = arena.bytes();
  const pid_t child = fork();
  if (child == 0)
    _exit(msync(bytes.data(), bytes.size(), MS_ASYNC) != 0 && errno == ENOMEM ? 0 : 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(msync(bytes.data(), bytes.size(), MS_ASYNC), 0);
}

TEST_P(ArenaPagesTest, GivesBackThePagesInsideOfAPartAndTakesThemAgain) {
  Arena arena(Bytes(4 << 20), GetParam());
  const std::span<std::byte> bytes = arena.bytes();
  std::fill(bytes.begin(), bytes.end(), std::byte{7});
  const std::size_t begin = 4096 + 100, end = (3 << 20) + 100;
  const auto resident_pages = [&] {
    std::vector<unsigned char> resident(bytes.size() / 4096);
    EXPECT_EQ(mincore(bytes.data(), bytes.size(), resident.data()), 0);
    return std::count_if(resident.begin(), resident.end(),
                         [](unsigned char page) { return (page & 1) != 0; });
  };
  const std::ptrdiff_t all = resident_pages();
  arena.give_back(bytes.subspan(begin, end - begin));
  const std::ptrdiff_t inside = ((3 << 20) - 2 * 4096) / 4096;
  EXPECT_EQ(resident_pages(), all - inside);
  arena.take_again(bytes.subspan(begin, end - begin));
  EXPECT_EQ(resident_pages(), all);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if (i < begin || i >= end) {
      ASSERT_EQ(bytes[i], std::byte{7}) << i;
    }
  arena.give_back(bytes.subspan(10, 4096));  // holds no whole page
  EXPECT_EQ(resident_pages(), all);
}

TEST_P(ArenaPagesTest, GivesBackWhatTheProgramHasLocked) {
  constexpr std::size_t kLocked = 1 << 20;
  Arena arena(Bytes(2 * kLocked), GetParam());
  const std::span<std::byte> locked = arena.bytes().first(kLocked);
  if (mlock(locked.data(), kLocked) != 0) GTEST_SKIP() << "mlock: " << std::strerror(errno);
  const auto resident_pages = [&] {
    std::vector<unsigned char> resident(kLocked / 4096);
    EXPECT_EQ(mincore(locked.data(), kLocked, resident.data()), 0);
    return std::count_if(resident.begin(), resident.end(),
                         [](unsigned char page) { return (page & 1) != 0; });
  };
  arena.allow_giving_back(locked);
  EXPECT_EQ(resident_pages(), kLocked / 4096);
  arena.give_back(locked);
  EXPECT_EQ(resident_pages(), 0);
  arena.take_again(locked);
  EXPECT_EQ(resident_pages(), kLocked / 4096);
}

TEST(ArenaTest, TakesAlignedPiecesUntilItIsUsedUp) {
  Arena arena(Bytes(8192));
  const auto first = arena.take(Bytes(100));
  const auto second = arena.take(Bytes(10), 4096);
  EXPECT_EQ(first.data(), arena.bytes().data());
  EXPECT_EQ(second.data(), arena.bytes().data() + 4096);
  EXPECT_EQ(arena.remaining(), Bytes(4096 - 10));
  EXPECT_EQ(arena.take(Bytes(0)).size(), 0u);
  EXPECT_DEATH(arena.take(Bytes(4096)), "CHECK|size");
  EXPECT_DEATH(arena.take(Bytes(~std::uint64_t{0})), "CHECK|size");
}

TEST(ArenaTest, IsEmptyWhereNothingWasAsked) {
  Arena arena(Bytes(0));
  EXPECT_TRUE(arena.empty());
  EXPECT_TRUE(arena.bytes().empty());
}

TEST(ArenaTest, MovesWithWhatWasTaken) {
  Arena first(Bytes(8192));
  first.take(Bytes(64))[0] = std::byte{7};
  Arena second(std::move(first));
  EXPECT_TRUE(first.empty());  // NOLINT: a moved-from arena is empty by contract
  EXPECT_EQ(second.bytes()[0], std::byte{7});
  EXPECT_EQ(second.remaining(), Bytes(8192 - 64));
  Arena third;
  third = std::move(second);
  EXPECT_EQ(third.bytes()[0], std::byte{7});
}

TEST(ArenaTest, ARefusalSaysWhatToLower) {
  for (const std::uint64_t size :
       {std::uint64_t{1} << 46, ~std::uint64_t{0}, ~std::uint64_t{0} / 2})
    try {
      const Arena arena{Bytes(size)};
      FAIL() << "granted " << size;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBudget);
      EXPECT_NE(std::string(error.what()).find("lower --ram"), std::string::npos) << error.what();
    }
}

}  // namespace
}  // namespace hearth::io
