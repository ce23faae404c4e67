// Experts from RAM to slots: every byte of every part, from any address, and not one beside them.
#include <fmt/format.h>

#include "base/random.h"
#include "kernels/gpu/gather.h"
#include "tests/gpu/support/test_device.h"

namespace hearth::kernels {
namespace {

constexpr std::uint64_t kWord = 16;
constexpr std::byte kPoison{0xff};

struct Case {
  std::uint64_t bytes[kExpertParts] = {};
  std::uint32_t experts = 1;
  std::uint32_t most = 1;
  std::uint32_t blocks = 3;
  std::uint64_t skip = 0;  // of the first part from an aligned address; 5 more for each other
};

// Random bytes at any address of mapped memory that ends with the aligned 16 bytes they reach into.
class SourcePart {
 public:
  SourcePart(const TestDevice& on, Random& random, std::uint64_t bytes, std::uint64_t skip)
      : memory_(*MappedMemory::try_allocate(*on.device, Bytes(round_up(skip + bytes, kWord)))),
        skip_(skip),
        bytes_(bytes) {
    std::uint64_t i = 0;
    for (std::byte& byte : std::span(memory_.data(), memory_.size().count))
      byte = i++ < skip || i > skip + bytes ? kPoison : static_cast<std::byte>(random.below(256));
  }
  std::span<const std::byte> bytes() const { return {memory_.data() + skip_, bytes_}; }

 private:
  MappedMemory memory_;
  std::uint64_t skip_, bytes_;
};

// A slot as it should be: parts with zeros up to 16 bytes, and what was there in the gaps.
std::vector<std::byte> filled_slot(const SlotLayout& layout, const std::vector<SourcePart>& parts) {
  std::vector<std::byte> slot(layout.size, kPoison);
  for (std::uint32_t part = 0; part < kExpertParts; ++part) {
    const auto bytes = parts[part].bytes();
    std::fill_n(&slot[layout.offsets[part]], round_up(bytes.size(), kWord), std::byte{0});
    std::ranges::copy(bytes, &slot[layout.offsets[part]]);
  }
  return slot;
}

void expect_gathered(const TestDevice& on, const Case& c) {
  Random random(c.bytes[0] + c.skip);
  const SlotLayout layout = slot_layout(c.bytes[0], c.bytes[1], c.bytes[2]);
  const DeviceArray<std::byte> slots(on, layout.size * c.most);
  std::vector<std::vector<SourcePart>> sources(c.most);
  std::vector<ExpertFetch> fetches(c.most);
  for (std::uint32_t expert = 0; expert < c.most; ++expert) {
    for (std::uint32_t part = 0; part < kExpertParts; ++part)
      sources[expert].emplace_back(on, random, c.bytes[part], (c.skip + 5 * part) % 64);
    for (std::uint32_t part = 0; part < kExpertParts; ++part)
      fetches[expert].from.parts[part] = sources[expert][part].bytes().data();
    // In another order than that of the slots.
    fetches[expert].to = slots.data() + (c.most - 1 - expert) * layout.size;
  }
  const DeviceArray<ExpertFetch> list(on, fetches);
  const DeviceArray<std::uint32_t> count(on, std::vector{c.experts});
  on.kernels->gather({.fetches = list.data(),
                      .count = count.data(),
                      .most = c.most,
                      .layout = layout,
                      .blocks = c.blocks},
                     on.stream->native());

  const std::vector<std::byte> found = slots.values();
  for (std::uint32_t expert = 0; expert < c.most; ++expert) {
    const auto first =
        found.begin() + static_cast<std::ptrdiff_t>(fetches[expert].to - slots.data());
    const std::vector<std::byte> slot(first, first + static_cast<std::ptrdiff_t>(layout.size));
    const auto expected = expert < c.experts ? filled_slot(layout, sources[expert])
                                             : std::vector<std::byte>(layout.size, kPoison);
    EXPECT_TRUE(slot == expected) << fmt::format(
        "{}: expert {} of {}, parts of {}, {} and {} bytes, {} past an aligned address", on.name,
        expert, c.experts, c.bytes[0], c.bytes[1], c.bytes[2], c.skip);
  }
}

void expect_gathered(const Case& c) {
  for (const TestDevice& on : test_devices()) expect_gathered(on, c);
}

TEST(Gather, PartsOfAnyLengthArriveFromAnyAddress) {
  for (std::uint64_t skip = 0; skip < 18; ++skip)
    for (const std::uint64_t bytes : {1, 3, 16, 29, 511, 4099})
      expect_gathered({.bytes = {bytes, 34, bytes + 17}, .skip = skip});
}

// A piece of 16 KiB more and less, and more pieces than blocks.
TEST(Gather, PiecesMeet) {
  for (const std::uint64_t skip : {0, 2})
    for (const std::uint64_t bytes : {16368, 16384, 16385, 50000})
      expect_gathered({.bytes = {bytes, 16384, 100}, .experts = 3, .most = 3, .skip = skip});
}

TEST(Gather, OnlyWhatIsOnTheListIsCopied) {
  for (const std::uint32_t experts : {0u, 1u, 4u})
    expect_gathered({.bytes = {1000, 1000, 2000}, .experts = experts, .most = 5, .blocks = 7});
  expect_gathered({.bytes = {100, 0, 0}, .experts = 2, .most = 2});
}

TEST(Gather, AGraphGathersWhatTheListSaysWhenItRuns) {
  for (const TestDevice& on : test_devices()) {
    const SlotLayout layout = slot_layout(100, 50, 70);
    const DeviceArray<std::byte> slots(on, layout.size);
    const DeviceArray<ExpertFetch> list(on, 1);
    const DeviceArray<std::uint32_t> count(on, std::vector{0u});
    on.stream->begin_capture();
    on.kernels->gather(
        {.fetches = list.data(), .count = count.data(), .most = 1, .layout = layout, .blocks = 2},
        on.stream->native());
    const std::unique_ptr<Graph> graph = on.stream->end_capture();
    on.stream->launch(*graph);
    EXPECT_EQ(slots.values(), std::vector<std::byte>(layout.size, kPoison)) << on.name;

    Random random(1);
    std::vector<SourcePart> parts;
    ExpertFetch fetch{.to = slots.data()};
    for (std::uint32_t part = 0; part < kExpertParts; ++part) {
      parts.emplace_back(on, random, layout.bytes[part], part);
      fetch.from.parts[part] = parts[part].bytes().data();
    }
    const std::uint32_t one = 1;
    on.stream->copy(list.data(), &fetch, Bytes(sizeof(fetch)));
    on.stream->copy(count.data(), &one, Bytes(sizeof(one)));
    on.stream->launch(*graph);
    EXPECT_EQ(slots.values(), filled_slot(layout, parts)) << on.name;
  }
}

}  // namespace
}  // namespace hearth::kernels
