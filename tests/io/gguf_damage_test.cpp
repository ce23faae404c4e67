// Damage of every kind at every place: the reader answers or throws hearth::Error, and never
// claims memory for what is not there.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/random.h"
#include "base/units.h"
#include "tests/io/support/gguf_image.h"
#include "tests/io/support/gguf_walk.h"
#include "tests/io/support/temporary_directory.h"

namespace hearth::io {
namespace {

// Whether the bytes were accepted; anything but acceptance or a one-line Error fails the test.
bool accepted(std::span<const std::byte> bytes) {
  try {
    walk_tensors(GgufFile::parse(bytes, "image", test_block_shape));
    return true;
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).rfind("image: ", 0), 0u) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return false;
  }
}

TEST(GgufDamage, EveryTruncationInMemoryIsAnError) {
  const std::vector<std::byte> bytes = complete_image().bytes();
  for (std::size_t length = 0; length < bytes.size(); ++length)
    EXPECT_FALSE(accepted(std::span(bytes).first(length))) << length;
  EXPECT_TRUE(accepted(bytes));
}

TEST(GgufDamage, EveryTruncationOfAFileIsAnError) {
  const TemporaryDirectory directory;
  const std::vector<std::byte> bytes = complete_image().bytes();
  const std::string path = directory.write("model.gguf", bytes);
  for (std::size_t length = bytes.size(); length-- > 0;) {
    std::filesystem::resize_file(path, length);
    try {
      GgufFile::open(path, test_block_shape);
      FAIL() << "accepted at length " << length;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadFile) << error.what();
    }
  }
}

TEST(GgufDamage, RandomBitFlips) {
  const std::vector<std::byte> bytes = complete_image().bytes();
  Random random(20260711);
  int survivors = 0;
  for (int i = 0; i < 100000; ++i) {
    std::vector<std::byte> flipped = bytes;
    for (std::uint64_t flips = 1 + random.below(4); flips > 0; --flips) {
      const std::uint64_t bit = random.below(8 * flipped.size());
      flipped[bit / 8] ^= std::byte{1} << (bit % 8);
    }
    survivors += accepted(flipped);
  }
  // Flips in values, names and tensor data go unseen, flips in lengths and types do not: were one
  // of the two groups empty, the test would not reach the code behind it.
  EXPECT_GT(survivors, 1000);
  EXPECT_LT(survivors, 99000);
}

TEST(GgufDamage, EveryNumberAtItsBoundaries) {
  const GgufImage image = complete_image();
  ASSERT_GT(image.fields().size(), 100u);
  constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
  for (const GgufImage::Field& field : image.fields()) {
    for (const std::uint64_t value :
         {std::uint64_t{0}, std::uint64_t{1}, kMax, kMax - 1, std::uint64_t{1} << 31,
          std::uint64_t{1} << 32, std::uint64_t{1} << 63, (std::uint64_t{1} << 32) - 1,
          std::uint64_t{image.bytes().size()}}) {
      std::vector<std::byte> bytes = image.bytes();
      std::memcpy(bytes.data() + field.position, &value, field.width);
      SCOPED_TRACE(fmt::format("{} at {}", value, field.position));
      accepted(bytes);
    }
  }
}

// Every pair of neighbouring numbers too: products and sums of two of them can overflow where one
// alone cannot.
TEST(GgufDamage, EveryPairOfNeighbouringNumbersAtItsBoundaries) {
  const GgufImage image = complete_image();
  const std::uint64_t values[] = {0,
                                  1,
                                  std::uint64_t{1} << 31,
                                  std::uint64_t{1} << 32,
                                  std::uint64_t{1} << 63,
                                  ~std::uint64_t{0}};
  for (std::size_t i = 1; i < image.fields().size(); ++i) {
    for (const std::uint64_t first : values) {
      for (const std::uint64_t second : values) {
        std::vector<std::byte> bytes = image.bytes();
        const GgufImage::Field fields[] = {image.fields()[i - 1], image.fields()[i]};
        std::memcpy(bytes.data() + fields[0].position, &first, fields[0].width);
        std::memcpy(bytes.data() + fields[1].position, &second, fields[1].width);
        accepted(bytes);
      }
    }
  }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HEARTH_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HEARTH_SANITIZED
#endif
#endif

// Leaves this process `bytes` more address space than it uses now. Sanitizers live on address space
// of their own and are left without the limit; they refuse absurd allocations themselves.
void limit_memory([[maybe_unused]] Bytes bytes) {
#ifndef HEARTH_SANITIZED
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  unsigned long pages = 0;
  CHECK(file && std::fscanf(file, "%lu", &pages) == 1);
  std::fclose(file);
  const rlim_t most = pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + bytes.count;
  const rlimit limit = {most, most};
  CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
#endif
}

// Exits with 0 if `attempt` throws an Error with `message` within the memory; std::bad_alloc is
// not caught and ends the process with a signal.
template <typename Attempt>
[[noreturn]] void exit_with_error(Bytes memory, const std::string& message, Attempt attempt) {
  limit_memory(memory);
  try {
    attempt();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(std::string_view(error.what()).find(message) == std::string_view::npos);
  }
  std::_Exit(2);
}

// 1 MiB of data lies behind each of these claims. Believed, the smallest array takes 256 MiB.
TEST(GgufDamageDeathTest, OversizedCountsAllocateNothing) {
  const std::uint64_t counts[] = {std::uint64_t{1} << 31, std::uint64_t{1} << 40,
                                  std::uint64_t{1} << 60, ~std::uint64_t{0}};
  const auto parse = [](GgufImage image) {
    image.data(std::size_t{1} << 20);
    exit_with_error(32 * kMiB, "image: truncated",
                    [&] { GgufFile::parse(image.bytes(), "image", test_block_shape); });
  };
  for (const std::uint64_t count : counts) {
    for (const GgufType type :
         {GgufType::kUint8, GgufType::kFloat64, GgufType::kBool, GgufType::kString})
      EXPECT_EXIT(parse(GgufImage().header(0, 1).array("key", type, count)),
                  testing::ExitedWithCode(0), "");
    EXPECT_EXIT(parse(GgufImage().header(0, 1).key("key", GgufType::kString).number(count)),
                testing::ExitedWithCode(0), "");
    EXPECT_EXIT(parse(GgufImage().header(count, 0)), testing::ExitedWithCode(0), "");
    EXPECT_EXIT(parse(GgufImage().header(0, count)), testing::ExitedWithCode(0), "");
  }
}

// The bytes behind this claim are there, in a file with holes: 16 GiB of what could be tensor data.
TEST(GgufDamageDeathTest, TheDirectoryOfALargeFileIsBounded) {
  const TemporaryDirectory directory;
  const std::uint64_t claimed = std::uint64_t{8} << 30;
  const auto open = [&](const GgufImage& image, const std::string& message) {
    const std::string path = directory.write("large.gguf", image.bytes());
    std::filesystem::resize_file(path, std::uint64_t{16} << 30);
    exit_with_error(32 * kMiB, message, [&] { GgufFile::open(path, test_block_shape); });
  };
  EXPECT_EXIT(open(GgufImage().header(0, 1).array("key", GgufType::kUint8, claimed), "claims"),
              testing::ExitedWithCode(0), "");
  EXPECT_EXIT(open(GgufImage().header(0, 1).key("key", GgufType::kString).number(claimed),
                   "does not end within 256 MiB"),
              testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace hearth::io
