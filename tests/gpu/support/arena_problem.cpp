#include "tests/gpu/support/arena_problem.h"

#include <algorithm>
#include <numeric>

namespace hearth::runtime {

using kernels::DeviceArray;
using kernels::ExpertJob;

namespace {

constexpr std::uint64_t kExpertRoom = 4096;  // in RAM, of each
constexpr std::uint32_t kExpertsOfLayer[] = {6, 0, 6, 5};

}  // namespace

ExpertSlots ArenaProblem::experts() {
  const kernels::SlotLayout small = kernels::slot_layout(300, 310, 500);
  const kernels::SlotLayout smaller = kernels::slot_layout(200, 210, 300);
  const kernels::SlotLayout large = kernels::slot_layout(700, 700, 1000);
  return {.space = {4, 6},
          .experts_of_layer = {std::begin(kExpertsOfLayer), std::end(kExpertsOfLayer)},
          .layout_of_layer = {small, {}, smaller, large},
          .class_of_layer = {0, profiler::Residency::kNoClass, 0, 1},
          .slot_bytes = {small.size, large.size}};
}

std::vector<ExpertId> ArenaProblem::all_experts() {
  std::vector<ExpertId> all;
  for (LayerIndex layer = 0; layer < std::size(kExpertsOfLayer); ++layer)
    for (std::uint16_t index = 0; index < kExpertsOfLayer[layer]; ++index)
      all.push_back({layer, index});
  return all;
}

ArenaProblem::ArenaProblem(const kernels::emulated::DeviceOptions& options)
    : device(options),
      stream(device.new_stream(kernels::StreamPriority::kNormal)),
      uploader(device, *stream),
      on_{"emulated", &device, &kernels::emulated_kernels(), stream.get()},
      ram_(*kernels::MappedMemory::try_allocate(device,
                                                Bytes(kExpertRoom * experts().space.size()))) {
  Random random(7);
  for (std::byte& byte : std::span(ram_.data(), ram_.size().count))
    byte = static_cast<std::byte>(random.below(256));
}

// Parts begin anywhere.
kernels::ExpertSource ArenaProblem::source(ExpertId id) const {
  const std::uint32_t flat = experts().space.flat(id);
  const std::byte* const first = ram_.data() + kExpertRoom * flat + flat % 20;
  return {{first, first + 1024, first + 2048}};
}

std::vector<std::byte> ArenaProblem::bytes_at(const std::byte* address, std::uint64_t bytes) {
  std::vector<std::byte> copy(bytes);
  stream->copy(copy.data(), address, Bytes(bytes));
  stream->synchronize();
  return copy;
}

void ArenaProblem::expect_in_slot(const ExpertJob& job, LayerIndex layer) {
  const ExpertId id{layer, static_cast<std::uint16_t>(job.expert)};
  const kernels::SlotLayout layout = experts().layout_of_layer[layer];
  for (std::uint32_t part = 0; part < kernels::kExpertParts; ++part)
    ASSERT_TRUE(std::ranges::equal(bytes_at(job.matrices[part], layout.bytes[part]),
                                   std::span(source(id).parts[part], layout.bytes[part])))
        << "part " << part << " of expert " << id.index << " of layer " << id.layer;
}

void ArenaProblem::run_layer(ExpertArena& arena, LayerIndex layer, std::uint32_t step,
                             const std::vector<std::uint16_t>& ids) {
  const auto pairs = ids.size();
  const DeviceArray<std::uint32_t> step_number(on_, std::vector{step});
  const DeviceArray<std::uint16_t> chosen(on_, ids);
  const DeviceArray<float> weights(on_, std::vector<float>(pairs)), x_weights(on_, pairs);
  const DeviceArray<std::uint32_t> limits(on_, std::vector(pairs + 1, fetch_limit_));
  const DeviceArray<ExpertJob> hits(on_, pairs), fetched(on_, pairs);
  const DeviceArray<kernels::ExpertFetch> fetches(on_, pairs);
  const DeviceArray<kernels::LaneJob> host_jobs(on_, pairs);
  const DeviceArray<std::uint32_t> counts(on_, 2), x_rows(on_, pairs);
  const DeviceArray<const float*> results(on_, pairs);
  kernels::ResolveTask task = arena.task(layer);
  task.step = step_number.data();
  task.rows = static_cast<std::uint32_t>(pairs / kUsed);
  task.experts_used = kUsed;
  task.ids = chosen.data();
  task.weights = weights.data();
  task.fetch_limits = limits.data();
  task.most_fetches = static_cast<std::uint32_t>(pairs);
  task.hits = hits.data();
  task.fetched = fetched.data();
  task.fetches = fetches.data();
  task.fetch_count = counts.data();
  task.host_jobs = host_jobs.data();
  task.host_count = counts.data() + 1;
  task.x_rows = x_rows.data();
  task.x_weights = x_weights.data();
  task.results = results.data();
  on_.kernels->resolve(task, stream->native());

  hits_.clear();
  for (const ExpertJob& job : hits.values()) {
    if (job.rows == 0) continue;
    hits_.push_back({layer, static_cast<std::uint16_t>(job.expert)});
    expect_in_slot(job, layer);
  }
  std::vector<kernels::ExpertFetch> list = fetches.values();
  list.resize(counts.values()[0]);
  for (const kernels::ExpertFetch& fetch : list)
    stream->fill(fetch.to, 0xff, Bytes(task.layout.size));
  on_.kernels->gather({.fetches = fetches.data(),
                       .count = task.fetch_count,
                       .most = task.most_fetches,
                       .layout = task.layout,
                       .blocks = 2},
                      stream->native());
  for (const ExpertJob& job : fetched.values())
    if (job.rows > 0) expect_in_slot(job, layer);
}

void ArenaProblem::run_step(ExpertArena& arena, std::uint32_t step, Random& random) {
  for (const LayerIndex layer : {LayerIndex{0}, LayerIndex{2}, LayerIndex{3}}) {
    std::vector<std::uint16_t> ids;
    for (std::uint64_t row = 0; row <= random.below(3); ++row) {
      std::vector<std::uint16_t> all(kExpertsOfLayer[layer]);
      std::iota(all.begin(), all.end(), std::uint16_t{0});
      for (std::size_t rank = 0; rank < kUsed; ++rank)
        std::swap(all[rank], all[rank + random.below(all.size() - rank)]);
      ids.insert(ids.end(), all.begin(), all.begin() + kUsed);
    }
    run_layer(arena, layer, step, ids);
  }
}

std::vector<ExpertId> ArenaProblem::hits_of(ExpertArena& arena, std::uint32_t step) {
  std::vector<ExpertId> hits;
  fetch_limit_ = 0;
  for (const LayerIndex layer : {LayerIndex{0}, LayerIndex{2}, LayerIndex{3}}) {
    run_layer(arena, layer, step, {0, 1, 2, 3, 4, 5});
    hits.insert(hits.end(), hits_.begin(), hits_.end());
  }
  fetch_limit_ = 64;
  return hits;
}

}  // namespace hearth::runtime
