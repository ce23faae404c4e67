// Experts of a file, through RAM, into the slots of a device.
#include "runtime/gpu/expert_seed.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/clock.h"
#include "base/error.h"
#include "io/gguf.h"
#include "kernels/gpu/emulation/device.h"
#include "runtime/experts/expert_listing.h"
#include "runtime/model.h"
#include "tests/runtime/support/fake_reader.h"

namespace hearth::runtime {
namespace {

using testing::FakeReader;
using testing::ReadWeather;

// The golden model's experts, in RAM with few slots, and a device.
struct Problem {
  explicit Problem(std::uint32_t ram_slots)
      : catalog(find_experts(io::GgufFile::open(paths[0], block_shape_of))),
        classes(size_classes(catalog, FakeReader::kAlignment)),
        reader(paths, weather),
        store(paths, catalog, reader, {.policy = "lru", .slots_of_class = {ram_slots}},
              steady_clock()),
        stream(device.new_stream(kernels::StreamPriority::kNormal)),
        uploader(device, *stream, &reader) {}

  // Whether the slot has the bytes that the store reads.
  bool is_in_slot(const ExpertArena& arena, ExpertId id) {
    while (store.state(id) == profiler::ExpertState::kAbsent &&
           store.fetch(id, profiler::FillReason::kDemand) != FetchResult::kStarted)
      store.collect(io::AsyncReader::Wait::kOne);
    const ExpertLease lease = store.lease(id);
    while (!lease.ready()) store.collect(io::AsyncReader::Wait::kOne);
    const kernels::SlotLayout layout = expert_slots(catalog, classes).layout_of_layer[id.layer];
    for (std::uint32_t part = 0; part < kernels::kExpertParts; ++part)
      if (!std::equal(lease.part(part), lease.part(part) + layout.bytes[part],
                      arena.address(id) + layout.offsets[part]))
        return false;
    return true;
  }

  const std::vector<std::string> paths{HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf"};
  const std::shared_ptr<ReadWeather> weather = std::make_shared<ReadWeather>();
  ExpertCatalog catalog;
  SizeClasses classes;
  FakeReader reader;
  ExpertStore store;
  kernels::emulated::EmulatedDevice device{{}};
  std::unique_ptr<kernels::Stream> stream;
  Uploader uploader;
};

std::vector<ExpertId> some_experts(std::uint32_t count) {
  std::vector<ExpertId> experts;
  for (std::uint32_t i = 0; i < count; ++i)
    experts.push_back({static_cast<LayerIndex>(i % 3), static_cast<std::uint16_t>(i * 5 % 16)});
  return experts;
}

// With a queue for the disk all the while, and nothing of it in the slots of RAM.
TEST(ExpertSeed, GoesPastRam) {
  Problem problem(1);
  problem.weather->longest_delay = 9;
  std::size_t most_at_once = 0, all = 0;
  problem.weather->fault = [&](std::uint64_t, const io::ReadRequest& read) {
    most_at_once = std::max(most_at_once, problem.reader.outstanding() + 1);
    all += read.destination.size();
    const std::span<const std::byte> ram = problem.store.memory();
    EXPECT_TRUE(read.destination.data() >= ram.data() + ram.size() ||
                read.destination.data() + read.destination.size() <= ram.data());
    return 0;
  };
  ExpertArena arena(expert_slots(problem.catalog, problem.classes), std::vector{21u},
                    problem.device, *problem.stream);
  EXPECT_EQ(seed(arena, problem.store, some_experts(20), problem.uploader), 20u);
  EXPECT_EQ(arena.resident().size(), 20u);
  EXPECT_EQ(most_at_once, Uploader::kPieces);
  EXPECT_EQ(problem.reader.bytes_read(), Bytes(all));
  EXPECT_EQ(problem.store.expert_bytes_read(), Bytes(0));
  problem.weather->expect_calm();
  for (const ExpertId id : some_experts(20)) EXPECT_TRUE(problem.is_in_slot(arena, id));
}

TEST(ExpertSeed, WhatIsInRamIsNotRead) {
  Problem problem(48);
  problem.store.load_absent();
  problem.weather->fault = [](std::uint64_t, const io::ReadRequest&) { return EIO; };
  ExpertArena arena(expert_slots(problem.catalog, problem.classes), std::vector{20u},
                    problem.device, *problem.stream);
  EXPECT_EQ(seed(arena, problem.store, some_experts(20), problem.uploader), 20u);
  for (const ExpertId id : some_experts(20)) EXPECT_TRUE(problem.is_in_slot(arena, id));
}

TEST(ExpertSeed, WhatHasNoRoomIsLeftOut) {
  Problem problem(2);
  ExpertArena arena(expert_slots(problem.catalog, problem.classes), std::vector{5u}, problem.device,
                    *problem.stream);
  EXPECT_EQ(seed(arena, problem.store, some_experts(9), problem.uploader), 5u);
  for (const ExpertId id : some_experts(5)) EXPECT_NE(arena.address(id), nullptr);
  EXPECT_EQ(arena.address(some_experts(6)[5]), nullptr);
}

TEST(ExpertSeed, AFailedReadIsAnErrorAndLeavesNothingBehind) {
  Problem problem(8);
  problem.weather->fault = [](std::uint64_t number, const io::ReadRequest&) {
    return number >= 30 ? EIO : 0;
  };
  ExpertArena arena(expert_slots(problem.catalog, problem.classes), std::vector{48u},
                    problem.device, *problem.stream);
  try {
    seed(arena, problem.store, some_experts(20), problem.uploader);
    FAIL() << "it must not succeed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_NE(std::string(error.what()).find("expert"), std::string::npos) << error.what();
  }
  EXPECT_EQ(problem.reader.outstanding(), 0u);
  EXPECT_EQ(arena.resident().size(), 0u);
  problem.weather->expect_calm();
  EXPECT_EQ(seed(arena, problem.store, some_experts(20), problem.uploader), 20u);
  for (const ExpertId id : some_experts(20)) EXPECT_TRUE(problem.is_in_slot(arena, id));
}

}  // namespace
}  // namespace hearth::runtime
