// Prompts on a device in long chunks: the logits and the decisions of the CPU, bit for bit, for
// every architecture, however a prompt is cut and wherever its experts are; what decoding keeps on
// the device is there afterwards; memory to the byte of the plan; no waiting inside a chunk.
#include "runtime/gpu/device_prefill.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <ostream>

#include "base/error.h"
#include "kernels/gpu/emulation/device.h"
#include "tests/gpu/support/model_run.h"
#include "tests/gpu/support/one_device.h"
#include "tests/gpu/support/test_device.h"
#include "tests/runtime/support/fake_reader.h"

namespace hearth::runtime {
namespace {

using kernels::OneDevice;
using kernels::emulated::DeviceOptions;
using kernels::emulated::EmulatedDevice;
using kernels::emulated::Streams;
using testing::FakeReader;
using testing::ReadWeather;

constexpr std::uint32_t kBatch = 40;

std::vector<std::uint32_t> share(const Model& model, double of_all) {
  std::vector<std::uint32_t> slots;
  for (const std::uint32_t experts : DeviceModel::classes(model).experts)
    slots.push_back(static_cast<std::uint32_t>(of_all * experts));
  return slots;
}

// A model, a session and its chunks, with all experts on the device or with a share of them.
struct Loaded {
  Loaded(Engine& engine, kernels::Device& device, const kernels::GpuKernels& kernels,
         std::vector<std::uint32_t> slots, Bytes most_staging = ChunkExperts::kMostStaging)
      : model(engine, device, kernels,
              {.slots_of_class = std::move(slots), .batch = kBatch, .most_staging = most_staging}),
        decoder(model, {.context = kContext, .formats = engine.kv_formats(), .batch = kBatch}),
        prefill(decoder, kBatch) {}
  Loaded(Engine& engine, EmulatedDevice& device, double of_all)
      : Loaded(engine, device, kernels::emulated_kernels(), share(engine.model(), of_all)) {}
  Loaded(Engine& engine, OneDevice& device, double of_all,
         Bytes most_staging = ChunkExperts::kMostStaging)
      : Loaded(engine, device.get(), device.kernels(), share(engine.model(), of_all),
               most_staging) {}

  DeviceModel model;
  DeviceDecoder decoder;
  DevicePrefill prefill;
};

// Pieces of more than a step's rows as chunks, the others as steps.
Outcome run(const Case& of, Loaded& on) {
  Outcome outcome;
  const auto tokens = tokens_of(of, on.model.model().config.vocabulary);
  std::uint32_t position = 0;
  for (const std::uint32_t count : of.pieces) {
    const std::span piece = std::span(tokens).subspan(position, count);
    if (count <= kMostDeviceRows)
      decode(on.decoder, piece, position, outcome);
    else
      on.prefill.run(
          piece, position, 0,
          [&](std::uint32_t, std::span<const float> logits) { outcome.add(logits); },
          [&](const profiler::Routing& routing) { outcome.add(routing); });
    position += count;
  }
  return outcome;
}

class DevicePrefills : public ::testing::TestWithParam<Case> {};

TEST_P(DevicePrefills, GiveTheBitsOfTheCpu) {
  const auto engine = open(GetParam());
  const Outcome expected = run_on_cpu(GetParam(), *engine);
  ASSERT_FALSE(expected.logits.empty() || expected.experts.empty());
  OneDevice device({.lanes = GetParam().model.size() % 2 == 0 ? 32u : 64u});
  Loaded on(*engine, device, 0.3);
  expect_same(expected, run(GetParam(), on), "0.3 of the slots");
}

std::string name_of_case(const ::testing::TestParamInfo<Case>& info) {
  std::string name = info.param.model;
  if (info.param.formats.quantized()) name += "_quantized";
  for (char& c : name)
    if (c == '-' || c == '.') c = '_';
  return name;
}

// A chunk, and a token on what it left.
std::vector<Case> architectures() {
  std::vector<Case> cases;
  for (const char* model : {"qwen3moe",         "qwen3moe-f16",
                            "qwen3moe-kquants", "qwen3moe-iquants",
                            "qwen3moe-types32", "llama",
                            "llama-opt",        "olmoe",
                            "qwen2moe",         "gpt-oss",
                            "gpt-oss-f16",      "ernie4_5-moe",
                            "deepseek2-lite",   "deepseek2-legacy",
                            "deepseek2-v3",     "deepseek2-v3-f16",
                            "glm4moe",          "minimax-m2",
                            "llama4",           "gemma4",
                            "gemma4-f16",       "qwen35moe",
                            "qwen35moe-f16",    "qwen3next",
                            "qwen3next-legacy"})
    cases.push_back({.model = model, .pieces = {9, 1}});
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Architectures, DevicePrefills, ::testing::ValuesIn(architectures()),
                         name_of_case);

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
      OneDevice device({.lanes = lanes});
      Loaded on(*engine, device.get(), device.kernels(), {});
      expect_same(run_on_cpu(of, *engine), run(of, on), name);
    }
  }
}

// However a prompt is cut: rows of one chunk, of several, of steps.
TEST(DevicePrefill, CutsOfAPromptGiveTheSameBits) {
  const Case whole{.model = "qwen3moe", .pieces = {21}};
  const auto engine = open(whole);
  const Outcome expected = run_on_cpu(whole, *engine);
  OneDevice device({});
  Loaded on(*engine, device, 0.5);
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
  OneDevice device({});
  Loaded on(*engine, device, 0.25);
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
  OneDevice device({});
  Loaded on(*engine, device, 0.5);
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
    OneDevice device(
        {.lanes = seed % 2 == 0 ? 32u : 64u, .seed = seed, .streams = Streams::kScheduled});
    // A buffer has room for all experts of a layer, for one, or for some at a time.
    constexpr Bytes kRoom[] = {kMiB, Bytes(1), Bytes(20'000)};
    const Bytes staging = kRoom[seed % 3];
    Loaded on(*engine, device, seed % 2 * 0.3, staging);
    expect_same(expected, run(of, on), fmt::format("seed {}", seed));
  }
}

// RAM has as many experts as a token needs, or a few more: the rest is read, late and in any order.
TEST(DevicePrefill, ExpertsComeFromDisk) {
  const Case of{.model = "qwen3moe", .pieces = {16, 1, 9}};
  const auto roomy = open(of);
  const Outcome expected = run_on_cpu(of, *roomy);
  Bytes least;
  for (const profiler::ExpertClass& one : roomy->needs().classes)
    least += one.slot * roomy->config().experts_used;
  for (const std::uint64_t times : {1u, 3u}) {
    const auto weather = std::make_shared<ReadWeather>();
    weather->longest_delay = 5;
    EngineOptions options = engine_options(of);
    options.budget = {.expert_ram = least * times};
    options.open_reader = [&](const std::vector<std::string>& paths, const io::ReaderOptions&) {
      return std::make_unique<FakeReader>(paths, weather);
    };
    Engine engine(options);
    OneDevice device(
        {.seed = times, .streams = times == 1 ? Streams::kAtOnce : Streams::kScheduled});
    Loaded on(engine, device, 0.5);
    expect_same(expected, run(of, on), fmt::format("{} times the least RAM", times));
  }
}

TEST(DevicePrefill, MemoryThatIsNotPinnedIsCopiedThroughMemoryThatIs) {
  const Case of{.model = "qwen3moe", .pieces = {11}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  EmulatedDevice device({.pinnable = Bytes(0)});
  Loaded on(*engine, device, 0.5);
  expect_same(expected, run(of, on), "nothing pinned");
}

TEST(DevicePrefill, LeavesTheExpertsOfDecodingWhereTheyAre) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1, 20, 1}};
  const auto engine = open(of);
  engine->experts().load_absent();
  OneDevice device({});
  Loaded on(*engine, device, 0.5);
  const auto tokens = tokens_of(of, engine->config().vocabulary);
  Outcome outcome;
  decode(on.decoder, std::span(tokens).first(1), 0, outcome);
  const auto before = on.model.counters();
  on.prefill.run(
      std::span(tokens).subspan(1, 20), 1, 20, [](std::uint32_t, std::span<const float>) {},
      [](const profiler::Routing&) {});
  EXPECT_EQ(on.model.counters(), before);
}

// All that a chunk waits for is its end: with experts in RAM it is enqueued as a whole, and the
// operations of the device are as many for many tokens as for few.
TEST(DevicePrefill, IsEnqueuedAsAWhole) {
  const Case of{.model = "qwen3moe", .pieces = {40}};
  const auto engine = open(of);
  engine->experts().load_absent();
  for (const double slots : {1.0, 0.5}) {
    EmulatedDevice device({.streams = Streams::kScheduled});
    Loaded on(*engine, device, kernels::emulated_kernels(),
              slots < 1 ? share(engine->model(), slots) : std::vector<std::uint32_t>());
    const auto tokens = tokens_of(of, engine->config().vocabulary);
    std::vector<std::uint64_t> operations;
    for (const std::uint32_t rows : {9u, 9u, 40u}) {
      const std::uint64_t before = device.operations(), waits = device.waits();
      on.prefill.run(
          std::span(tokens).first(rows), 0, rows, [](std::uint32_t, std::span<const float>) {},
          [](const profiler::Routing&) {});
      operations.push_back(device.operations() - before);
      // The first chunk looks where experts are.
      EXPECT_EQ(device.waits() - waits, operations.size() == 1 ? 3u : 1u) << slots;
    }
    EXPECT_EQ(operations[1], operations[2]) << slots;
  }
}

TEST(DevicePrefill, AnExpertThatCannotBeReadIsTheErrorItIsAndOtherChunksAreRight) {
  const Case of{.model = "qwen3moe", .pieces = {12}};
  const auto roomy = open(of);
  const Outcome expected = run_on_cpu(of, *roomy);
  const auto weather = std::make_shared<ReadWeather>();
  EngineOptions options = engine_options(of);
  options.open_reader = [&](const std::vector<std::string>& paths, const io::ReaderOptions&) {
    return std::make_unique<FakeReader>(paths, weather);
  };
  Engine engine(options);
  OneDevice device({.streams = Streams::kScheduled});
  Loaded on(engine, device, 0.25);
  weather->fault = [](std::uint64_t, const io::ReadRequest&) { return EIO; };
  try {
    run(of, on);
    FAIL() << "nothing failed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo) << error.what();
    EXPECT_NE(std::string(error.what()).find("expert"), std::string::npos) << error.what();
  }
  weather->expect_calm();
  expect_same(expected, run(of, on), "after the error");
}

TEST(DevicePrefill, EndsWithItsDevice) {
  const Case of{.model = "qwen3moe", .pieces = {9}};
  const auto engine = open(of);
  engine->experts().load_absent();
  EmulatedDevice whole({});
  {
    Loaded on(*engine, whole, 0.5);
    run(of, on);
  }
  for (const std::uint64_t before_the_end : {4u, 60u}) {
    EmulatedDevice device({.last_operation = whole.operations() - before_the_end});
    try {
      Loaded on(*engine, device, 0.5);
      run(of, on);
      ADD_FAILURE() << before_the_end;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDevice) << error.what();
    }
  }
}

TEST(DevicePrefill, TakesTheMemoryOfThePlan) {
  for (const char* name : {"qwen3moe-kquants", "deepseek2-v3", "qwen35moe"}) {
    const auto engine = open({.model = name});
    for (const bool all : {true, false}) {
      EmulatedDevice device({});
      const Bytes before = device.memory().free;
      const auto slots = share(engine->model(), 0.5);
      const Loaded on(*engine, device, kernels::emulated_kernels(),
                      all ? std::vector<std::uint32_t>() : slots);
      const DeviceModel::Plan model =
          all ? DeviceModel::plan(engine->model(), kBatch)
              : DeviceModel::plan(engine->model(), slots, engine->threads(), kBatch);
      const Bytes session = DeviceDecoder::plan(engine->model(), {.context = kContext,
                                                                  .formats = engine->kv_formats(),
                                                                  .batch = kBatch})
                                .total();
      const Bytes chunks = DevicePrefill::plan(engine->model(), kBatch).inputs;
      EXPECT_EQ(before - device.memory().free, model.total() + session + chunks) << name;
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
