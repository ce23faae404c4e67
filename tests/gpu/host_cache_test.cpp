// The host gives slots to experts in the place of a device's kernels (--gpu-cache host): the bits
// of the CPU, the same slots and counters as the device, step after step, and how it ends where a
// step hangs or an expert cannot be read.
#include "runtime/gpu/host_cache.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "base/random.h"
#include "tests/gpu/support/device_run.h"
#include "tests/gpu/support/expect_error.h"
#include "tests/gpu/support/made_device.h"

namespace hearth::runtime {
namespace {

using kernels::DeviceKind;
using kernels::emulated::DeviceOptions;
using kernels::emulated::EmulatedDevice;
using kernels::emulated::Streams;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::ReadWeather;

// Slots for a part of the experts, of which some may be held.
struct Lanes : DeviceRun {
  Lanes(Engine& engine, GpuCache cache, const DeviceOptions& of_device, double slots = 0.5,
        double held = 0, std::uint32_t batch = kMostDeviceRows, DeviceKind kind = DeviceKind::kAny)
      : DeviceRun(engine,
                  {.slots_of_class = share_of_slots(engine.model(), slots),
                   .held_of_class = share_of_slots(engine.model(), held),
                   .fetches = fetches(engine.model(), Misses::kToBoth),
                   .batch = batch,
                   .cache = cache},
                  of_device, kind) {}
};

// With what only the emulation has.
struct EmulatedLanes : Lanes {
  EmulatedLanes(Engine& engine, GpuCache cache, const DeviceOptions& of_device, double slots = 0.5,
                double held = 0)
      : Lanes(engine, cache, of_device, slots, held, kMostDeviceRows, DeviceKind::kEmulated) {}
};

class HostCacheOf : public ::testing::TestWithParam<const char*> {};

TEST_P(HostCacheOf, GivesTheBitsOfTheCpu) {
  const Case of{.model = GetParam(), .pieces = {2, 1, 8}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  Lanes run(*engine, GpuCache::kHost, {.lanes = 64}, 0.7);
  expect_same(expected, run_on_device(of, *engine, run.decoder), of.model);
  const kernels::ExpertCounters all = run.model.work().experts;
  EXPECT_GT(all.hits, 0u);
  EXPECT_GT(all.fetched, 0u);
  EXPECT_GT(all.on_host, 0u);
}

INSTANTIATE_TEST_SUITE_P(Architectures, HostCacheOf,
                         ::testing::Values("qwen3moe", "qwen3moe-f16", "qwen3moe-kquants",
                                           "gpt-oss", "deepseek2-v3", "llama4", "gemma4",
                                           "qwen35moe"),
                         name_of_model);

// What kernels or the host have decided so far, in memory that the test may read.
struct Decided {
  std::vector<std::uint32_t> slot_of, active_in;
  std::vector<kernels::ExpertSlot> slots;
  std::vector<kernels::ExpertCounters> counters;
  bool operator==(const Decided&) const = default;
};

Decided decided(EmulatedLanes& run) {
  const ExpertArena& arena = run.model.experts();
  const ExpertSlots& experts = arena.experts();
  std::uint32_t slots = 0;
  for (const std::uint32_t of_class : share_of_slots(run.model.model(), 0.5)) slots += of_class;
  LayerIndex routed = 0;
  while (experts.experts_of_layer[routed] == 0) ++routed;
  const kernels::ExpertTables tables = arena.task(routed).tables;
  const std::uint32_t all = experts.space.size();
  return {.slot_of = {tables.slot_of, tables.slot_of + all},
          .active_in = {tables.active_in, tables.active_in + all},
          .slots = {tables.slots, tables.slots + slots},
          .counters = run.model.counters()};
}

// Steps of 1 to 8 rows with any experts, twice in a row, too; between them slots are given up,
// taken again, and memory of RAM moves.
TEST(HostCache, DecidesAsTheDeviceDoes) {
  constexpr std::uint32_t kTokens = 14;
  const Case of{.model = "qwen3moe", .pieces = {kTokens}};
  const auto roomy = open(of);
  const ForcedRouting traffic = made_trace(*roomy, kTokens);
  const auto tokens = tokens_of(of, roomy->config().vocabulary);
  for (std::uint64_t seed = 0; seed < 2; ++seed) {
    const auto weather = std::make_shared<ReadWeather>();
    weather->longest_delay = 3;
    const std::uint32_t ram_slots = seed % 2 == 0 ? 1000 : 12;  // all, or a few
    const auto of_device = open(of, ram_slots, weather);
    const auto of_host = open(of, ram_slots, weather);
    const double held = seed % 2 == 0 ? 0 : 0.2;
    if (of_host->holds_all_experts()) {
      of_device->load_absent();
      of_host->load_absent();
    }
    EmulatedLanes device(*of_device, GpuCache::kDevice, {.seed = seed}, 0.5, held);
    EmulatedLanes host(*of_host, GpuCache::kHost, {.seed = seed}, 0.5, held);
    device.decoder.force_routing(&traffic);
    host.decoder.force_routing(&traffic);
    Outcome expected, found;
    Random random(seed);
    for (std::uint32_t position = 0; position < kTokens;) {
      const auto rows = std::min(1 + static_cast<std::uint32_t>(random.below(kMostDeviceRows)),
                                 kTokens - position);
      const auto piece = std::span(tokens).subspan(position, rows);
      decode(device.decoder, piece, position, expected);
      decode(host.decoder, piece, position, found);
      position += rows;
      ASSERT_EQ(decided(device), decided(host)) << seed << ", position " << position;
      if (random.below(3) > 0) continue;
      const auto slots = share_of_slots(of_host->model(), 0.5 * random.uniform());
      for (EmulatedLanes* const run : {&device, &host}) {
        run->model.set_slots(slots);
        if (rows % 2 == 0) run->model.leave_ram();
      }
      ASSERT_EQ(decided(device), decided(host)) << seed << ", with other slots";
    }
    expect_same(expected, found, fmt::format("seed {}", seed));
    const kernels::ExpertCounters all = host.model.work().experts;
    EXPECT_GT(all.evictions, 0u) << seed;
    EXPECT_EQ(all.not_in_ram > 0, ram_slots < 1000) << seed;
  }
}

TEST(HostCache, EveryOrderOfStreamsGivesTheBitsOfTheCpu) {
  const Case of{.model = "qwen3moe", .pieces = {1, 2, 8}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    Lanes run(*engine, GpuCache::kHost,
              {.lanes = seed == 1 ? 32u : 64u, .seed = seed, .streams = Streams::kScheduled});
    expect_same(expected, run_on_device(of, *engine, run.decoder), fmt::format("seed {}", seed));
  }
}

TEST(HostCache, WaitsOncePerLayerAndCapturesNothing) {
  const Case of{.model = "qwen3moe", .pieces = {1, 3, 1}};
  const auto engine = open(of);
  EmulatedLanes run(*engine, GpuCache::kHost, {.graph = kMiB});
  run.decoder.prepare();
  run_on_device(of, *engine, run.decoder);
  const DeviceWork work = run.model.work();
  EXPECT_EQ(work.steps, of.pieces.size());
  EXPECT_EQ(work.waits_inside(), of.pieces.size() * engine->config().layers);
  EXPECT_EQ(run.device.get().use().driver, Bytes(0));
}

// The same slots as with a cache of the device: a few lists of the host are all that is more.
TEST(HostCache, TakesTheMemoryOfThePlan) {
  const auto engine = open({.model = "qwen3moe-kquants"});
  const std::vector<std::uint32_t> slots = share_of_slots(engine->model(), 0.5);
  EmulatedDevice device({});
  const Bytes before = device.memory().free;
  const DeviceModel model(*engine, device, kernels::emulated_kernels(),
                          {.slots_of_class = slots, .cache = GpuCache::kHost});
  EXPECT_EQ(before - device.memory().free,
            DeviceModel::plan(engine->model(), slots, engine->threads()).total());
  const auto mapped = [&](GpuCache cache) {
    return DeviceLanes::plan(engine->model(), kMostDeviceRows, 1, cache).mapped;
  };
  EXPECT_EQ(mapped(GpuCache::kHost) - mapped(GpuCache::kDevice),
            HostCache::bytes_needed(kMostDeviceRows * engine->config().experts_used));
}

TEST(HostCache, MemoryThatIsRefusedIsOneError) {
  const auto engine = open({.model = "qwen3moe"});
  const auto load = [&](const DeviceOptions& options) {
    EmulatedLanes run(*engine, GpuCache::kHost, options);
    return run.device.emulation().mapped_allocations();
  };
  const std::uint64_t all = load({});
  for (std::uint64_t n = 1; n <= all; ++n)
    expect_error(ErrorCode::kBudget, [&] { load({.failing_mapped = n}); });
}

TEST(HostCache, AnExpertThatCannotBeReadIsTheErrorItIsAndOtherStepsAreRight) {
  const Case of{.model = "qwen3moe", .pieces = {2, 1}};
  const auto weather = std::make_shared<ReadWeather>();
  const auto engine = open(of, 12, weather);
  const Outcome expected = run_on_cpu(of, *open(of));
  Lanes run(*engine, GpuCache::kHost, {}, 0.25);
  weather->fault = [](std::uint64_t, const io::ReadRequest&) { return EIO; };
  expect_error(ErrorCode::kIo, [&] {
    Outcome failed;
    decode(run.decoder, std::vector<TokenId>{1}, 0, failed);
  });
  weather->expect_calm();
  expect_same(expected, run_on_device(of, *engine, run.decoder), "after the error");
}

TEST(HostCache, EndsWithItsDevice) {
  const Case of{.model = "qwen3moe", .pieces = {1, 1}};
  const auto engine = open(of);
  engine->experts().load_absent();
  const auto run = [&](std::uint64_t last) {
    EmulatedLanes lost(*engine, GpuCache::kHost, {.last_operation = last});
    run_on_device(of, *engine, lost.decoder);
    return lost.device.emulation().operations();
  };
  const std::uint64_t all = run(0);
  for (const std::uint64_t before_the_end : {4u, 33u, 70u})
    expect_error(ErrorCode::kDevice, [&] { run(all - before_the_end); });
}

// Chunks of a prompt take no part in it, and see the slots that it gave.
TEST(HostCache, ChunksOfAPromptFindTheSlots) {
  const Case of{.model = "qwen3moe", .pieces = {3, 12, 1}};
  const auto engine = open(of);
  const Outcome expected = run_on_cpu(of, *engine);
  engine->experts().load_absent();
  Lanes run(*engine, GpuCache::kHost, {}, 0.5, 0, 16);
  DevicePrefill prefill(run.decoder, 16);
  expect_same(expected, run_in_chunks(of, run.decoder, prefill), "a chunk between steps");
}

// A stream that does not come to the router: one line, with the layer.
TEST(HostCache, AStepThatHangsSaysWhere) {
  const auto engine = open({.model = "qwen3moe"});
  EmulatedDevice device({.streams = Streams::kScheduled});
  StoredExpertBytes stored(engine->experts(), engine->config().experts);
  const CpuLane::Shape shape{.block = {.rows = 1,
                                       .experts_used = engine->config().experts_used,
                                       .embedding = engine->config().embedding},
                             .expert_ff = 32,
                             .threads = 1};
  const auto block = kernels::MappedMemory::try_allocate(device, lane_block_bytes(shape.block));
  io::Arena memory(CpuLane::bytes_needed(shape), io::Arena::Pages::kDefault);
  CpuLane lane({.shape = shape,
                .block = kernels::lane_block_at(block->data(), shape.block),
                .layers = std::vector<const ExpertFfn*>(engine->config().layers)},
               engine->kernels(), engine->pool(), stored, memory);
  HostCache cache(
      device, shape.block.pairs(), lane, steady_clock(),
      {.silence = std::chrono::milliseconds(20), .after_end = std::chrono::milliseconds(2)});
  const auto flag = kernels::MappedMemory::try_allocate(device, Bytes(64));
  const auto stream = device.new_stream(kernels::StreamPriority::kNormal);
  stream->wait_value({reinterpret_cast<std::uint32_t*>(flag->data())}, 1);
  EXPECT_THAT(expect_error(ErrorCode::kDevice, [&] { cache.resolve({.layer = 7}, *stream); }),
              AllOf(HasSubstr("has not gone on for 0.02 s"),
                    HasSubstr("waited for the router of layer 7")));
  *reinterpret_cast<std::uint32_t*>(flag->data()) = 1;
  device.synchronize();
}

// An engine whose device has room for a part of the experts.
std::unique_ptr<Engine> engine_with_cache(EngineOptions options, GpuCache cache,
                                          const profiler::TierPlan& all, double vram_share,
                                          EmulatedDevice** device) {
  options = on_device(options, device);
  options.device->cache = cache;
  options.device->misses = MissService::kLink;
  const auto less =
      static_cast<std::uint64_t>((1 - vram_share) * static_cast<double>(all.experts.count));
  options.budget.vram = all.total() - Bytes(less);
  return std::make_unique<Engine>(options);
}

// A prompt, steps, a jump to where keys and values need the room of slots, and a new beginning,
// which gives it back.
std::vector<float> conversation(Engine& engine) {
  std::vector<TokenId> prompt;
  for (TokenId i = 0; i < 12; ++i) prompt.push_back((i * 37 + 3) % 160);
  const auto slots = [&] {
    const DeviceModel* const model = engine.device_model();
    return model == nullptr ? Bytes(0) : model->experts().memory();
  };
  Session session(engine);
  const Bytes at_first = slots();
  std::vector<float> all = logits_of(session, prompt);
  const auto add = [&](const std::vector<float>& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  for (const TokenId token : {5, 6}) add(logits_of(session, {&token, 1}));
  session.reset();
  session.fill_at_random(2044, 3);
  for (const TokenId token : {1, 2}) add(logits_of(session, {&token, 1}));
  EXPECT_EQ(slots() < at_first, engine.device_model() != nullptr);
  session.reset();
  EXPECT_EQ(slots(), at_first);
  add(logits_of(session, std::span(prompt).first(11)));
  return all;
}

TEST(HostCache, ASessionGrowsAndBeginsAgain) {
  EngineOptions options = golden_options("qwen3moe");
  options.context = 2048;
  options.batch = kMostDeviceRows;  // less of a prompt at once would make room
  Engine cpu(options);
  const std::vector<float> expected = conversation(cpu);
  const profiler::TierPlan all = *Engine(on_device(options)).plan().vram;
  std::vector<kernels::ExpertCounters> counted[2];
  for (const GpuCache cache : {GpuCache::kDevice, GpuCache::kHost}) {
    EmulatedDevice* device = nullptr;
    const auto engine = engine_with_cache(options, cache, all, 0.7, &device);
    ASSERT_NE(engine->device_model()->lanes(), nullptr);
    EXPECT_EQ(engine->device_model()->host_cache() != nullptr, cache == GpuCache::kHost);
    EXPECT_EQ(engine->plan().vram->positions, 1024u);
    EXPECT_TRUE(conversation(*engine) == expected);
    EXPECT_LE(device->peak(), engine->vram_budget());
    counted[static_cast<std::size_t>(cache)] = engine->device_model()->counters();
  }
  EXPECT_EQ(counted[0], counted[1]);
}

// Nothing to decide: graphs as ever.
TEST(HostCache, IsNotThereWhereAllExpertsAreInVram) {
  EngineOptions options = on_device(golden_options("qwen3moe"));
  options.device->cache = GpuCache::kHost;
  Engine engine(options), cpu(golden_options("qwen3moe"));
  EXPECT_EQ(engine.device_model()->host_cache(), nullptr);
  Session of_gpu(engine), of_cpu(cpu);
  const std::vector<TokenId> tokens{1, 2, 3};
  EXPECT_EQ(logits_of(of_gpu, tokens), logits_of(of_cpu, tokens));
}

}  // namespace
}  // namespace hearth::runtime
