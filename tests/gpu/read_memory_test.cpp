// The kernel that other rates are compared with: it reads every word once, wherever it lies.
#include "kernels/gpu/read_memory.h"

#include <fmt/format.h>

#include "base/random.h"
#include "tests/gpu/support/test_device.h"

namespace hearth::kernels {
namespace {

std::uint32_t joined(std::span<const std::uint32_t> words) {
  std::uint32_t all = 0;
  for (const std::uint32_t word : words) all ^= word;
  return all;
}

std::vector<std::uint32_t> random_words(std::size_t count) {
  Random random(count);
  std::vector<std::uint32_t> words(count);
  for (std::uint32_t& word : words) word = static_cast<std::uint32_t>(random.next());
  return words;
}

TEST(ReadMemory, ReadsAndCopiesEveryWord) {
  for (const TestDevice& on : test_devices())
    for (const std::uint32_t blocks : {1u, 3u})
      for (const std::size_t count : {0u, 4u, 4096u, 4100u, 20000u}) {
        const std::string where = fmt::format("{}, {} words, {} blocks", on.name, count, blocks);
        const std::vector<std::uint32_t> words = random_words(count);
        const DeviceArray<std::uint32_t> from(on, words), to(on, count);
        const DeviceArray<std::uint32_t> found(on, blocks * kReadMemoryThreads);
        on.kernels->read_memory({.from = reinterpret_cast<const std::byte*>(from.data()),
                                 .bytes = 4 * count,
                                 .to = reinterpret_cast<std::byte*>(to.data()),
                                 .blocks = blocks,
                                 .joined = found.data()},
                                on.stream->native());
        EXPECT_EQ(joined(found.values()), joined(words)) << where;
        EXPECT_EQ(to.values(), words) << where;
      }
}

TEST(ReadMemory, ReadsMemoryOfTheHost) {
  for (const TestDevice& on : test_devices()) {
    auto host = MappedMemory::try_allocate(*on.device, 64 * kKiB);
    ASSERT_TRUE(host.has_value()) << on.name;
    const std::vector<std::uint32_t> words = random_words(host->size().count / 4);
    std::memcpy(host->data(), words.data(), host->size().count);
    const DeviceArray<std::uint32_t> found(on, 2 * kReadMemoryThreads);
    on.kernels->read_memory(
        {.from = host->data(), .bytes = host->size().count, .blocks = 2, .joined = found.data()},
        on.stream->native());
    EXPECT_EQ(joined(found.values()), joined(words)) << on.name;
  }
}

}  // namespace
}  // namespace hearth::kernels
