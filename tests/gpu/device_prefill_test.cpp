// Prompts on a device in long chunks: the logits and the decisions of the CPU, bit for bit, for
// every architecture, however a prompt is cut and wherever its experts are; what decoding keeps on
// the device is there afterwards; memory to the byte of the plan; no waiting inside a chunk.
#include "runtime/gpu/device_prefill.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cerrno>
#include <numeric>

#include "tests/gpu/support/device_run.h"
#include "tests/gpu/support/expect_error.h"
#include "tests/gpu/support/test_device.h"

namespace hearth::runtime {
namespace {

using kernels::DeviceKind;
using kernels::emulated::DeviceOptions;
using kernels::emulated::Streams;
using ::testing::HasSubstr;
using testing::ReadWeather;

constexpr std::uint32_t kBatch = 40;

// A model, a session and its chunks, with a share of all experts on the device.
struct Loaded : DeviceRun {
  Loaded(Engine& engine, double of_all, const DeviceOptions& of_device = {},
         Bytes most_staging = ChunkExperts::kMostStaging, DeviceKind kind = DeviceKind::kAny)
      : DeviceRun(engine,
                  {.slots_of_class = share_of_slots(engine.model(), of_all),
                   .batch = kBatch,
                   .most_staging = most_staging},
                  of_device, kind),
        prefill(decoder, kBatch) {}
  // With all of them, for good.
  explicit Loaded(Engine& engine, const DeviceOptions& of_device = {},
                  DeviceKind kind = DeviceKind::kAny)
      : DeviceRun(engine, {.batch = kBatch}, of_device, kind), prefill(decoder, kBatch) {}

  DevicePrefill prefill;
};

Outcome run(const Case& of, Loaded& on) { return run_in_chunks(of, on.decoder, on.prefill); }

class DevicePrefills : public ::testing::TestWithParam<Case> {};

TEST_P(DevicePrefills, GiveTheBitsOfTheCpu) {
  const auto engine = open(GetParam());
  const Outcome expected = run_on_cpu(GetParam(), *engine);
  ASSERT_FALSE(expected.logits.empty() || expected.experts.empty());
  Loaded on(*engine, 0.3, {.lanes = GetParam().model.size() % 2 == 0 ? 32u : 64u});
  expect_same(expected, run(GetParam(), on), "0.3 of the slots");
}

// A chunk, and a token on what it left.
INSTANTIATE_TEST_SUITE_P(Architectures, DevicePrefills,
                         ::testing::ValuesIn(every_architecture({9, 1})), name_of_case);

// Tiles that are encoded within a chunk, and read by rows of the same chunk in both forms.
INSTANTIATE_TEST_SUITE_P(QuantizedCaches, DevicePrefills,
                         ::testing::Values(Case{.model = "qwen3moe",
                                                .formats = {.keys = kernels::KvFormat::kQ8_0,
                                                            .values = kernels::KvFormat::kQ4_1,
                                                            .tail = 5},
                                                .pieces = {38, 2}}),
                         name_of_case);

TEST(DevicePrefill, AllExpertsOnTheDeviceGiveTheBitsOfTheCpu) {
  for (const char* name : {"qwen3moe", "qwen35moe"}) {
    const Case of{.model = name, .pieces = {9, 1, 10}};
    const auto engine = open(of);
    for (const unsigned lanes : {32u, 64u}) {
      Loaded on(*engine, {.lanes = lanes});
      expect_same(run_on_cpu(of, *engine), run(of, on), name);
    }
  }
}

// However a prompt is cut: rows of one chunk, of several, of steps.
TEST(DevicePrefill, CutsOfAPromptGiveTheSameBits) {
  const Case whole{.model = "qwen3moe", .pieces = {21}};
  const auto engine = open(whole);
  const Outcome expected = run_on_cpu(whole, *engine);
  Loaded on(*engine, 0.5);
  for (const std::vector<std::uint32_t>& pieces :
       std::vector<std::vector<std::uint32_t>>{{21}, {9, 12}, {8, 8, 5}, {2, 10, 9}}) {
    const Outcome found = run({.model = whole.model, .pieces = pieces}, on);
    kernels::expect_same_bits(expected.logits, found.logits, fmt::format("{}", pieces.size()));
    on.decoder.reset();
  }
}

TEST(DevicePrefill, GivesOnlyTheLogitsThatAreWanted) {
  const Case of{.model = "qwen3moe", .pieces = {18}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  Loaded on(*engine, 0.25);
  const std::size_t vocabulary = engine->config().vocabulary;
  const auto tokens = tokens_of(of, engine->config().vocabulary);
  for (const std::uint32_t first : {0u, 7u, 17u, 18u}) {
    std::vector<std::uint32_t> rows;
    std::vector<float> logits;
    on.prefill.run(
        tokens, 0, first,
        [&](std::uint32_t row, std::span<const float> of_row) {
          rows.push_back(row);
          logits.insert(logits.end(), of_row.begin(), of_row.end());
        },
        [](const profiler::Routing&) {});
    std::vector<std::uint32_t> wanted(18 - first);
    std::iota(wanted.begin(), wanted.end(), first);
    EXPECT_EQ(rows, wanted);
    kernels::expect_same_bits(std::span(expected.logits).subspan(first * vocabulary), logits,
                              fmt::format("from row {} on", first));
  }
}

// A decision for each token, also one that no router makes: an expert twice in a row.
TEST(DevicePrefill, FollowsATrace) {
  const Case of{.model = "llama4", .pieces = {10, 1}};
  const auto engine = open(of);
  const ForcedRouting trace = made_trace(*engine, 11);
  const Outcome expected = run_on_cpu(of, *engine, &trace);
  Loaded on(*engine, 0.5);
  on.decoder.force_routing(&trace);
  expect_same(expected, run(of, on), "forced");
}

// In any order that streams and events allow, with what nobody has filled being NaN.
TEST(DevicePrefill, EveryOrderOfStreamsGivesTheBitsOfTheCpu) {
  const Case of{.model = "qwen3moe", .pieces = {9, 1, 9}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    // A buffer has room for all experts of a layer, for one, or for some at a time.
    constexpr Bytes kRoom[] = {kMiB, Bytes(1), Bytes(20'000)};
    Loaded on(*engine, seed % 2 * 0.3,
              {.lanes = seed % 2 == 0 ? 32u : 64u, .seed = seed, .streams = Streams::kScheduled},
              kRoom[seed % 3]);
    expect_same(expected, run(of, on), fmt::format("seed {}", seed));
  }
}

// RAM has as many experts as a token needs, or a few more: the rest is read, late and in any order.
TEST(DevicePrefill, ExpertsComeFromDisk) {
  const Case of{.model = "qwen3moe", .pieces = {16, 1, 9}};
  const auto roomy = open(of);
  const Outcome expected = run_on_cpu(of, *roomy);
  for (const std::uint32_t times : {1u, 3u}) {
    const auto weather = std::make_shared<ReadWeather>();
    weather->longest_delay = 5;
    const auto engine = open(of, times * roomy->config().experts_used, weather);
    Loaded on(*engine, 0.5,
              {.seed = times, .streams = times == 1 ? Streams::kAtOnce : Streams::kScheduled});
    expect_same(expected, run(of, on), fmt::format("{} times the least RAM", times));
  }
}

TEST(DevicePrefill, MemoryThatIsNotPinnedIsCopiedThroughMemoryThatIs) {
  const Case of{.model = "qwen3moe", .pieces = {11}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  Loaded on(*engine, 0.5, {.pinnable = Bytes(0)}, ChunkExperts::kMostStaging,
            DeviceKind::kEmulated);
  expect_same(expected, run(of, on), "nothing pinned");
}

TEST(DevicePrefill, LeavesTheExpertsOfDecodingWhereTheyAre) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1, 20, 1}};
  const auto engine = open(of);
  engine->experts().load_absent();
  Loaded on(*engine, 0.5);
  const auto tokens = tokens_of(of, engine->config().vocabulary);
  Outcome outcome;
  decode(on.decoder, std::span(tokens).first(1), 0, outcome);
  const auto before = on.model.counters();
  on.prefill.run(
      std::span(tokens).subspan(1, 20), 1, 20, [](std::uint32_t, std::span<const float>) {},
      [](const profiler::Routing&) {});
  EXPECT_EQ(on.model.counters(), before);
}

// All that a chunk waits for is its end: with experts in RAM it is enqueued as a whole, by as many
// launches for many tokens as for few. Operations would be these and the watchdog's marks, of which
// there is one for so many launches of all chunks together.
TEST(DevicePrefill, IsEnqueuedAsAWhole) {
  const Case of{.model = "qwen3moe", .pieces = {40}};
  const auto engine = open(of);
  engine->experts().load_absent();
  for (const double slots : {1.0, 0.5}) {
    const DeviceOptions scheduled{.streams = Streams::kScheduled};
    constexpr auto kKind = DeviceKind::kEmulated;
    Loaded on = slots < 1 ? Loaded(*engine, slots, scheduled, ChunkExperts::kMostStaging, kKind)
                          : Loaded(*engine, scheduled, kKind);
    const kernels::emulated::EmulatedDevice& device = on.device.emulation();
    const auto tokens = tokens_of(of, engine->config().vocabulary);
    std::vector<std::uint64_t> launches;
    for (const std::uint32_t rows : {9u, 9u, 40u}) {
      const std::uint64_t before = device.calls().launches, waits = device.waits();
      on.prefill.run(
          std::span(tokens).first(rows), 0, rows, [](std::uint32_t, std::span<const float>) {},
          [](const profiler::Routing&) {});
      launches.push_back(device.calls().launches - before);
      // The first chunk looks where experts are.
      EXPECT_EQ(device.waits() - waits, launches.size() == 1 ? 3u : 1u) << slots;
    }
    EXPECT_EQ(launches[1], launches[2]) << slots;
  }
}

TEST(DevicePrefill, AnExpertThatCannotBeReadIsTheErrorItIsAndOtherChunksAreRight) {
  const Case of{.model = "qwen3moe", .pieces = {12}};
  const auto roomy = open(of);
  const Outcome expected = run_on_cpu(of, *roomy);
  const auto weather = std::make_shared<ReadWeather>();
  const auto engine = open(of, roomy->model().experts.total(), weather);
  Loaded on(*engine, 0.25, {.streams = Streams::kScheduled});
  weather->fault = [](std::uint64_t, const io::ReadRequest&) { return EIO; };
  EXPECT_THAT(expect_error(ErrorCode::kIo, [&] { run(of, on); }), HasSubstr("expert"));
  weather->expect_calm();
  expect_same(expected, run(of, on), "after the error");
}

TEST(DevicePrefill, EndsWithItsDevice) {
  const Case of{.model = "qwen3moe", .pieces = {9}};
  const auto engine = open(of);
  engine->experts().load_absent();
  const auto operations = [&](std::uint64_t last) {
    Loaded on(*engine, 0.5, {.last_operation = last}, ChunkExperts::kMostStaging,
              DeviceKind::kEmulated);
    run(of, on);
    return on.device.emulation().operations();
  };
  const std::uint64_t all = operations(0);
  for (const std::uint64_t before_the_end : {4u, 60u})
    expect_error(ErrorCode::kDevice, [&] { operations(all - before_the_end); });
}

TEST(DevicePrefill, TakesTheMemoryOfThePlan) {
  for (const char* name : {"qwen3moe-kquants", "deepseek2-v3", "qwen35moe"}) {
    const auto engine = open({.model = name});
    for (const bool all : {true, false}) {
      const auto slots = share_of_slots(engine->model(), 0.5);
      constexpr auto kKind = DeviceKind::kEmulated;  // whose allocations are not rounded up
      Loaded on = all ? Loaded(*engine, {}, kKind)
                      : Loaded(*engine, 0.5, {}, ChunkExperts::kMostStaging, kKind);
      const DeviceModel::Plan model =
          all ? DeviceModel::plan(engine->model(), kBatch)
              : DeviceModel::plan(engine->model(), slots, engine->threads(), kBatch);
      const Bytes session = DeviceDecoder::plan(engine->model(), {.context = kContext,
                                                                  .formats = engine->kv_formats(),
                                                                  .batch = kBatch})
                                .total();
      const Bytes chunks = DevicePrefill::plan(engine->model(), kBatch).inputs;
      EXPECT_EQ(on.device.get().use().total(), model.total() + session + chunks) << name;
    }
  }
}

// Steps of 8 rows of 128 experts, 8 for a row, choose 40 % of them; of 2 they choose all.
TEST(DevicePrefill, AChunkIsWhatMovesFewerBytesThanSteps) {
  EXPECT_EQ(DevicePrefill::shortest({.experts = 128, .experts_used = 8}, true), 20u);
  EXPECT_EQ(DevicePrefill::shortest({.experts = 2, .experts_used = 2}, true), 9u);
  EXPECT_EQ(DevicePrefill::shortest({.experts = 128, .experts_used = 8}, false), 9u);
}

}  // namespace
}  // namespace hearth::runtime
