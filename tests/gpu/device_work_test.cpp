// What steps and chunks of prompts cost beside computing, as reports tell it: launches and waits of
// the host, the experts of each lane and their bytes.
#include "runtime/gpu/device_work.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <numeric>

#include "tests/gpu/support/device_run.h"

namespace hearth::runtime {
namespace {

using kernels::OneDevice;

constexpr std::uint64_t kMostLaunches = 3;  // of a step

const Case kSingleTokens{.model = "qwen3moe", .pieces = {1, 1, 1, 1}};

DeviceModel::Options half_of_the_experts(const Model& model, Misses misses) {
  return {.slots_of_class = share_of_slots(model, 0.5), .fetches = fetches(model, misses)};
}

// After one step that is not counted: what is captured and sent once is over then.
DeviceWork work_of(DeviceRun& run, const Case& of) {
  const std::vector<TokenId> tokens = tokens_of(of, run.model.model().config.vocabulary);
  Outcome outcome;
  decode(run.decoder, std::span(tokens).first(1), 0, outcome);
  const DeviceWork begin = run.model.work();
  for (std::uint32_t position = 1; position < tokens.size(); ++position)
    decode(run.decoder, std::span(tokens).subspan(position, 1), position, outcome);
  return run.model.work() - begin;
}

std::uint64_t chosen_by(const Engine& engine, std::uint64_t steps) {
  return steps * engine.needs().cycle();
}

TEST(DeviceWork, OfResidentExpertsIsALaunchAndAWaitForEachStep) {
  const auto engine = open(kSingleTokens);
  DeviceRun run(*engine);
  const DeviceWork work = work_of(run, kSingleTokens);
  EXPECT_EQ(work.steps, 3u);
  EXPECT_EQ(work.launches, work.steps);
  EXPECT_EQ(work.waits, work.steps);
  EXPECT_EQ(work.waits_inside(), 0u);
  EXPECT_EQ(work.experts.hits, chosen_by(*engine, work.steps));
  EXPECT_EQ(work.hit_bytes, engine->model().expert_bytes_per_token() * work.steps);
  EXPECT_EQ(work.read_from_vram(), work.hit_bytes);
  EXPECT_EQ(work.on_host_bytes, Bytes(0));
}

// Each costs a microsecond or more, however small it is. Six are not of a layer: the inputs, the
// first row, the last norm, logits and two for the likeliest token. Attention is norm, projections,
// turn, chunks, merge, output; a delta net has as many; experts are norm, router, choice, hidden
// values, outputs. Latent attention has six more, and the first layer of that model no router.
TEST(DeviceWork, OfALayerIsFewNodes) {
  struct Row {
    const char* model;
    std::uint32_t nodes;
  };
  for (const Row& row : {Row{"qwen3moe", 6 + 3 * 11}, Row{"gpt-oss", 6 + 4 * 11},
                         Row{"qwen35moe", 6 + 4 * 11}, Row{"deepseek2-v3", 6 + 4 * 17 - 2}}) {
    const Case of{.model = row.model, .pieces = {1, 1, 1}};
    const auto engine = open(of);
    DeviceRun run(*engine);
    const DeviceWork work = work_of(run, of);
    EXPECT_EQ(work.launches, work.steps) << row.model;
    EXPECT_EQ(work.nodes, row.nodes * work.steps) << row.model;
  }
}

TEST(DeviceWork, OfLanesHasNoWaitInsideAStep) {
  for (const Misses misses : {Misses::kOverTheLink, Misses::kToTheCpu}) {
    const auto engine = open(kSingleTokens);
    engine->experts().load_absent();
    DeviceRun run(*engine, half_of_the_experts(engine->model(), misses));
    const DeviceWork work = work_of(run, kSingleTokens);
    EXPECT_EQ(work.steps, 3u);
    EXPECT_LE(work.launches, kMostLaunches * work.steps);
    EXPECT_EQ(work.waits_inside(), 0u);
    EXPECT_EQ(work.chosen(), chosen_by(*engine, work.steps));
    EXPECT_EQ(work.hit_bytes + work.fetched_bytes + work.on_host_bytes,
              engine->model().expert_bytes_per_token() * work.steps);
    const bool fetched = misses == Misses::kOverTheLink;
    EXPECT_EQ(work.experts.fetched > 0, fetched);
    EXPECT_EQ(work.experts.on_host > 0, !fetched);
    EXPECT_EQ(work.on_host > Nanoseconds(0), !fetched);
  }
}

// A link that carries more than a step could want, from the first on.
TEST(DeviceWork, OfPrefetchesIsBytesOfTheLink) {
  const auto engine = open(kSingleTokens);
  engine->experts().load_absent();
  profiler::PrefetchLink link = DeviceLanes::prefetch_link(engine->model(), 1e9);
  link.layer_seconds = 1000;
  link.experts_per_token = 64;
  DeviceModel::Options options = half_of_the_experts(engine->model(), Misses::kOverTheLink);
  options.prefetch = link;
  DeviceRun run(*engine, options);
  const DeviceWork work = work_of(run, kSingleTokens);
  ASSERT_GT(work.experts.prefetched, 0u);
  const Bytes expert = engine->model().experts.bytes();  // of all, which are alike
  EXPECT_EQ(work.prefetched_bytes * engine->model().experts.total(),
            expert * work.experts.prefetched);
  EXPECT_EQ(work.link_bytes(), work.fetched_bytes + work.prefetched_bytes);
  EXPECT_EQ(work.waits_inside(), 0u);
}

// Of launches counted from the first of a device on.
std::uint64_t marks_between(std::uint64_t begin, std::uint64_t end) {
  constexpr std::uint64_t kEach = kernels::Watchdog::kOperationsPerMark;
  return end / kEach - begin / kEach;
}

// A chunk is waited for once. Where it waits for no copies every operation of the device is a
// launch of a kernel, a copy or a fill, but for the watchdog's marks. What has no slot is copied,
// the same for each chunk.
TEST(DeviceWork, OfChunksIsWhatWasStaged) {
  constexpr std::uint32_t kRows = 20;
  const Case of{.model = "qwen3moe", .pieces = {kRows}};
  const auto engine = open(of);
  engine->experts().load_absent();
  const ExpertCatalog& experts = engine->model().experts;
  for (const bool all : {true, false}) {
    const std::vector<std::uint32_t> half = share_of_slots(engine->model(), 0.5);
    const std::uint64_t slots =
        all ? experts.total() : std::accumulate(half.begin(), half.end(), 0u);
    DeviceRun on(*engine,
                 {.slots_of_class = all ? std::vector<std::uint32_t>() : half, .batch = kRows}, {},
                 kernels::DeviceKind::kEmulated);
    const kernels::emulated::EmulatedDevice& device = on.device.emulation();
    DevicePrefill prefill(on.decoder, kRows);
    const std::vector<TokenId> tokens = tokens_of(of, engine->config().vocabulary);
    Outcome outcome;
    std::uint64_t operations = 0, calls = 0;
    const auto run = [&](bool step_before) {
      if (step_before) decode(on.decoder, std::span(tokens).first(1), 0, outcome);
      const DeviceWork begin = on.model.work();
      operations = device.operations();
      calls = device.calls().launches;
      prefill.run(
          tokens, 0, kRows, [](std::uint32_t, std::span<const float>) {},
          [](const profiler::Routing&) {});
      operations = device.operations() - operations;
      return on.model.work() - begin;
    };
    for (const bool step_before : {false, false, true}) {
      const DeviceWork work = run(step_before);
      EXPECT_EQ(work.chunks, 1u);
      EXPECT_EQ(work.steps, 0u);
      EXPECT_EQ(work.waits_inside(), 0u) << all << step_before;
      EXPECT_EQ(work.chosen(), 0u);
      EXPECT_EQ(work.passed(), experts.total());
      EXPECT_EQ(work.of_chunks.resident, slots);
      EXPECT_EQ(work.of_chunks.staged_bytes * experts.total(),
                experts.bytes() * (experts.total() - slots));
      EXPECT_EQ(work.link_bytes(), work.of_chunks.staged_bytes);
      EXPECT_EQ(work.launches_of_chunks, work.launches);
      EXPECT_EQ(work.waits_of_chunks, work.waits);
      EXPECT_GT(work.launches, kernels::kExpertParts * work.of_chunks.staged);
      if (all) {
        EXPECT_EQ(work.launches + marks_between(calls, calls + work.launches), operations);
      }
    }
  }
}

// None of its numbers is left out.
TEST(DeviceWork, IsAddedAndSubtracted) {
  std::array<std::uint64_t, sizeof(DeviceWork) / sizeof(std::uint64_t)> numbers, twice, none{};
  std::iota(numbers.begin(), numbers.end(), 1);
  for (std::size_t i = 0; i < numbers.size(); ++i) twice[i] = 2 * numbers[i];
  const auto work = std::bit_cast<DeviceWork>(numbers);
  DeviceWork sum = work;
  EXPECT_EQ(std::bit_cast<decltype(numbers)>(sum += work), twice);
  EXPECT_EQ(std::bit_cast<decltype(numbers)>(work - work), none);
}

TEST(DeviceWork, HasThePeakOfWhatTheLinkCarried) {
  const profiler::GpuMachine rates{.host_to_device = 40, .gather = 20};
  const auto peak = [&](std::uint64_t fetched, std::uint64_t prefetched, std::uint64_t staged,
                        std::uint64_t chunks) {
    return link_peak({.chunks = chunks,
                      .fetched_bytes = Bytes(fetched),
                      .prefetched_bytes = Bytes(prefetched),
                      .of_chunks = {.staged_bytes = Bytes(staged)}},
                     rates);
  };
  EXPECT_EQ(peak(0, 0, 0, 0), 20);
  EXPECT_EQ(peak(0, 0, 0, 1), 40);
  EXPECT_EQ(peak(60, 40, 0, 1), 20);
  EXPECT_EQ(peak(0, 0, 100, 1), 40);
  EXPECT_EQ(peak(10, 10, 80, 1), 100.0 / 3);  // a second for the one, two for the other
  EXPECT_EQ(link_peak({.fetched_bytes = Bytes(1)}, {}), 0);  // not measured
}

// Timed steps have graphs of their own, and the logits of others.
TEST(DeviceWork, LanesAreTimedWhenAsked) {
  const auto engine = open(kSingleTokens);
  const Outcome expected = run_on_cpu(kSingleTokens, *engine);
  engine->experts().load_absent();
  DeviceRun run(*engine, half_of_the_experts(engine->model(), Misses::kOverTheLink));
  EXPECT_EQ(run.model.lane_times(), nullptr);
  run.model.time_lanes(true);
  expect_same(expected, run_on_device(kSingleTokens, *engine, run.decoder), "timed");
  const LaneTime time = run.model.lane_times()->time();
  EXPECT_EQ(time.steps, kSingleTokens.pieces.size());
  EXPECT_GT(time.hits, Nanoseconds(0));
  EXPECT_GT(time.gather, Nanoseconds(0));
  EXPECT_GT(time.fetched, Nanoseconds(0));
  run.model.time_lanes(false);
  EXPECT_EQ(run.model.lane_times(), nullptr);
  run.decoder.reset();
  expect_same(expected, run_on_device(kSingleTokens, *engine, run.decoder), "no longer timed");
  run.model.time_lanes(true);
  EXPECT_EQ(run.model.lane_times()->time().steps, 0u);
}

// Asking copies tables, which is none of the steps' calls.
TEST(DeviceWork, DoesNotCountWhoAsks) {
  const auto engine = open(kSingleTokens);
  OneDevice device({});
  DeviceModel model(*engine, device.get(), device.kernels());
  for (int i = 0; i < 3; ++i) {
    const DeviceWork work = model.work();
    EXPECT_EQ(work.launches, 0u);
    EXPECT_EQ(work.waits, 0u);
  }
}

}  // namespace
}  // namespace hearth::runtime
