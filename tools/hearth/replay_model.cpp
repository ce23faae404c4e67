#include "tools/hearth/replay_model.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "io/async_reader.h"
#include "profiler/cost_model.h"
#include "profiler/slot_plan.h"
#include "runtime/model.h"
#include "runtime/model_needs.h"
#include "tools/hearth/model_summary.h"

namespace hearth::tools {
namespace {

profiler::ModelNeeds needs_of_file(const std::string& path) {
  const io::GgufFile file = open_model_file(path);
  // The disk it lies on decides how far slots are larger than experts.
  const std::uint64_t alignment = io::AsyncReader::open(file.paths(), {})->alignment();
  return runtime::model_needs(file, *runtime::build_model(file), {.alignment = alignment});
}

// As the planner understands a share: of the bytes of experts, and all of it is room for all.
Bytes wanted_bytes(const SizeOrShare& budget, const profiler::ModelNeeds& needs) {
  if (budget.size || budget.share < 1) return budget.of(needs.expert_bytes());
  Bytes all;
  for (const profiler::ExpertClass& one : needs.classes) all += one.slot * one.experts;
  return all;
}

}  // namespace

ReplayModel::ReplayModel(const std::string& path, std::optional<profiler::Machine> machine)
    : path_(path), needs_(needs_of_file(path)), machine_(std::move(machine)) {
  if (machine_ && !machine_->gpu && !machine_->disk)
    throw_error(ErrorCode::kBadInput,
                "{} has no rates of a disk, from where misses are read; give another --machine",
                printable(machine_->name));
}

void ReplayModel::check(const profiler::TraceHeader& header, const std::string& trace) const {
  std::vector<std::uint32_t> experts(needs_.model.layers);
  for (const profiler::TraceLayer& layer : header.layers)
    if (layer.layer < experts.size()) experts[layer.layer] = layer.experts;
  if (header.model.layers != needs_.model.layers || experts != needs_.experts_of_layer ||
      header.experts_per_row != needs_.model.experts_used)
    throw_error(ErrorCode::kBadInput,
                "{}: is of {} layers with {} experts of which {} are used, but {} has {} layers "
                "with {} of which {} are used; name the model it was recorded from",
                printable(trace), header.model.layers, header.model.experts_per_layer,
                header.experts_per_row, printable(path_), needs_.model.layers,
                needs_.model.experts_per_layer, needs_.model.experts_used);
  if (header.model.architecture == "synthetic") return;
  if (const auto other = difference(header.model, needs_.model))
    throw_error(ErrorCode::kBadInput, "{}: {}; name the model it was recorded from",
                printable(trace), *other);
}

profiler::ReplayMemory ReplayModel::memory(const SizeOrShare& budget) const {
  std::vector<profiler::SlotClass> classes;
  profiler::ReplayMemory memory{.size_class_of = needs_.size_class_of()};
  for (const profiler::ExpertClass& one : needs_.classes) {
    classes.push_back({one.slot, one.experts});
    memory.expert_bytes_of_class.push_back(one.expert);
  }
  const Bytes wanted = wanted_bytes(budget, needs_);
  const profiler::SlotPlan slots = profiler::plan_slots(classes, wanted, needs_.model.experts_used);
  if (slots.slots.empty())
    throw_error(ErrorCode::kBudget,
                "{} for experts is too little for {}: the least that works is {} bytes; raise "
                "--budget",
                format_size(wanted), printable(path_), slots.needed.count);
  memory.slots_of_class = slots.slots;
  return memory;
}

Bytes ReplayModel::slot_bytes(const profiler::ReplayMemory& memory) const {
  Bytes bytes;
  for (std::size_t i = 0; i < needs_.classes.size(); ++i)
    bytes += needs_.classes[i].slot * memory.slots_of_class[i];
  return bytes;
}

std::optional<double> ReplayModel::tokens_per_second(double bytes_missed) const {
  if (!machine_) return std::nullopt;
  Bytes used;
  for (const profiler::FormatBytes& part : needs_.expert_read) used += part.bytes;
  const double missed = std::min(1.0, bytes_missed / static_cast<double>(used.count));
  const profiler::TierHits hits =
      machine_->gpu ? profiler::TierHits{.vram = 1 - missed, .ram = missed, .disk = 0}
                    : profiler::TierHits{.vram = 0, .ram = 1 - missed, .disk = missed};
  return profiler::predict_decode(needs_, *machine_, {.hits = hits, .threads = machine_->cpu.cores})
      .tokens_per_second;
}

std::string ReplayModel::speed_basis() const {
  if (!machine_) return {};
  return fmt::format("predicted for {}, {}", machine_->name,
                     machine_->gpu ? "memory is VRAM and a miss is in RAM"
                                   : "memory is RAM and a miss is on disk");
}

}  // namespace hearth::tools
