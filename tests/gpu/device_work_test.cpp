// What steps and chunks of prompts cost beside computing, as reports tell it: launches and waits of
// the host, the experts of each lane and their bytes.
#include "runtime/gpu/device_work.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <numeric>

#include "runtime/gpu/device_prefill.h"
#include "tests/gpu/support/model_run.h"
#include "tests/gpu/support/one_device.h"

namespace hearth::runtime {
namespace {

using kernels::OneDevice;

constexpr std::uint64_t kMostLaunches = 3;  // of a step

const Case kSingleTokens{.model = "qwen3moe", .pieces = {1, 1, 1, 1}};

std::vector<std::uint32_t> half_of_the_slots(const Model& model) {
  std::vector<std::uint32_t> slots = DeviceModel::classes(model).experts;
  for (std::uint32_t& of_class : slots) of_class /= 2;
  return slots;
}

// After one step that is not counted: what is captured and sent once is over then.
DeviceWork work_of(DeviceModel& model, Engine& engine, const Case& of) {
  DeviceDecoder decoder(model, {.context = kContext, .formats = engine.kv_formats()});
  const std::vector<TokenId> tokens = tokens_of(of, engine.config().vocabulary);
  Outcome outcome;
  decode(decoder, std::span(tokens).first(1), 0, outcome);
  const DeviceWork begin = model.work();
  for (std::uint32_t position = 1; position < tokens.size(); ++position)
    decode(decoder, std::span(tokens).subspan(position, 1), position, outcome);
  return model.work() - begin;
}

std::uint64_t chosen_by(const Engine& engine, std::uint64_t steps) {
  return steps * engine.needs().cycle();
}

TEST(DeviceWork, OfResidentExpertsIsALaunchAndAWaitForEachStep) {
  const auto engine = open(kSingleTokens);
  OneDevice device({});
  DeviceModel model(*engine, device.get(), device.kernels());
  const DeviceWork work = work_of(model, *engine, kSingleTokens);
  EXPECT_EQ(work.steps, 3u);
  EXPECT_EQ(work.launches, work.steps);
  EXPECT_EQ(work.waits, work.steps);
  EXPECT_EQ(work.waits_inside(), 0u);
  EXPECT_EQ(work.experts.hits, chosen_by(*engine, work.steps));
  EXPECT_EQ(work.hit_bytes, engine->model().expert_bytes_per_token() * work.steps);
  EXPECT_EQ(work.read_from_vram(), work.hit_bytes);
  EXPECT_EQ(work.on_host_bytes, Bytes(0));
}

TEST(DeviceWork, OfLanesHasNoWaitInsideAStep) {
  for (const MissService misses : {MissService::kLink, MissService::kCpu}) {
    const auto engine = open(kSingleTokens);
    engine->experts().load_absent();
    OneDevice device({});
    profiler::FetchLadder fetches;
    if (misses == MissService::kLink)
      fetches = profiler::only_fetches(DeviceLanes::experts_of_step(engine->model(), 8));
    DeviceModel model(*engine, device.get(), device.kernels(),
                      {.slots_of_class = half_of_the_slots(engine->model()), .fetches = fetches});
    const DeviceWork work = work_of(model, *engine, kSingleTokens);
    EXPECT_EQ(work.steps, 3u);
    EXPECT_LE(work.launches, kMostLaunches * work.steps);
    EXPECT_EQ(work.waits_inside(), 0u);
    EXPECT_EQ(work.chosen(), chosen_by(*engine, work.steps));
    EXPECT_EQ(work.hit_bytes + work.fetched_bytes + work.on_host_bytes,
              engine->model().expert_bytes_per_token() * work.steps);
    const bool fetched = misses == MissService::kLink;
    EXPECT_EQ(work.experts.fetched > 0, fetched);
    EXPECT_EQ(work.experts.on_host > 0, !fetched);
    EXPECT_EQ(work.on_host > Nanoseconds(0), !fetched);
  }
}

// A link that carries more than a step could want, from the first on.
TEST(DeviceWork, OfPrefetchesIsBytesOfTheLink) {
  const auto engine = open(kSingleTokens);
  engine->experts().load_absent();
  OneDevice device({});
  profiler::PrefetchLink link = DeviceLanes::prefetch_link(engine->model(), 1e9);
  link.layer_seconds = 1000;
  link.experts_per_token = 64;
  DeviceModel model(
      *engine, device.get(), device.kernels(),
      {.slots_of_class = half_of_the_slots(engine->model()),
       .fetches = profiler::only_fetches(DeviceLanes::experts_of_step(engine->model(), 8)),
       .prefetch = link});
  const DeviceWork work = work_of(model, *engine, kSingleTokens);
  ASSERT_GT(work.experts.prefetched, 0u);
  const Bytes expert = engine->model().experts.bytes();  // of all, which are alike
  EXPECT_EQ(work.prefetched_bytes * engine->model().experts.total(),
            expert * work.experts.prefetched);
  EXPECT_EQ(work.link_bytes(), work.fetched_bytes + work.prefetched_bytes);
  EXPECT_EQ(work.waits_inside(), 0u);
}

// A chunk is waited for once. What has no slot is copied, the same for each chunk.
TEST(DeviceWork, OfChunksIsWhatWasStaged) {
  constexpr std::uint32_t kRows = 20;
  const Case of{.model = "qwen3moe", .pieces = {kRows}};
  const auto engine = open(of);
  engine->experts().load_absent();
  const ExpertCatalog& experts = engine->model().experts;
  for (const bool all : {true, false}) {
    OneDevice device({});
    const std::vector<std::uint32_t> half = half_of_the_slots(engine->model());
    const std::uint64_t slots =
        all ? experts.total() : std::accumulate(half.begin(), half.end(), 0u);
    DeviceModel model(
        *engine, device.get(), device.kernels(),
        {.slots_of_class = all ? std::vector<std::uint32_t>() : half, .batch = kRows});
    DeviceDecoder decoder(model,
                          {.context = kContext, .formats = engine->kv_formats(), .batch = kRows});
    DevicePrefill prefill(decoder, kRows);
    const std::vector<TokenId> tokens = tokens_of(of, engine->config().vocabulary);
    Outcome outcome;
    const auto run = [&](bool step_before) {
      if (step_before) decode(decoder, std::span(tokens).first(1), 0, outcome);
      const DeviceWork begin = model.work();
      prefill.run(
          tokens, 0, kRows, [](std::uint32_t, std::span<const float>) {},
          [](const profiler::Routing&) {});
      return model.work() - begin;
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
      EXPECT_GE(work.launches, all ? 0 : kernels::kExpertParts * work.of_chunks.staged);
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
  OneDevice device({});
  DeviceModel model(
      *engine, device.get(), device.kernels(),
      {.slots_of_class = half_of_the_slots(engine->model()),
       .fetches = profiler::only_fetches(DeviceLanes::experts_of_step(engine->model(), 8))});
  DeviceDecoder decoder(model, {.context = kContext, .formats = engine->kv_formats()});
  EXPECT_EQ(model.lane_times(), nullptr);
  model.time_lanes(true);
  expect_same(expected, run_on_device(kSingleTokens, *engine, decoder), "timed");
  const LaneTime time = model.lane_times()->time();
  EXPECT_EQ(time.steps, kSingleTokens.pieces.size());
  EXPECT_GT(time.hits, Nanoseconds(0));
  EXPECT_GT(time.gather, Nanoseconds(0));
  EXPECT_GT(time.fetched, Nanoseconds(0));
  model.time_lanes(false);
  EXPECT_EQ(model.lane_times(), nullptr);
  decoder.reset();
  expect_same(expected, run_on_device(kSingleTokens, *engine, decoder), "no longer timed");
  model.time_lanes(true);
  EXPECT_EQ(model.lane_times()->time().steps, 0u);
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
