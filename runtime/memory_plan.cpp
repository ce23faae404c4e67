#include "runtime/memory_plan.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <numeric>

#include "base/error.h"
#include "profiler/slot_plan.h"

namespace hearth::runtime {
namespace {

// Room for thread stacks, rings and page-sized rounding. It suffices: the peak of a 6 GB model
// stayed 7 to 8 MB below its plan at every budget, of a 28 MB model 5 MB.
constexpr Bytes kReserve = Bytes(6 << 20);
constexpr std::uint32_t kSmallestBatch = 32;

// How much the process itself may differ from one run to the next: mappings, page by page.
constexpr Bytes kRunToRun = Bytes(512 << 10);

std::string mib(Bytes bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes.count) / (1 << 20));
}

// A least budget, rounded up so that it works as it is printed.
std::string at_least(Bytes bytes) {
  const Bytes unit = bytes < Bytes(100 << 20) ? kKiB : kMiB;
  return fmt::format("{} {}", round_up(bytes.count, unit.count) / unit.count,
                     unit == kKiB ? "KiB" : "MiB");
}

Bytes wanted_expert_bytes(const PlanInput& input, Bytes all_experts, Bytes everything_else) {
  const MemoryBudget& budget = input.budget;
  if (budget.expert_ram) return *budget.expert_ram;
  if (budget.expert_share)
    return Bytes(
        static_cast<std::uint64_t>(static_cast<double>(all_experts.count) * *budget.expert_share));
  // Nine tenths of what is free leaves room for what else runs on the machine.
  const Bytes ram = budget.ram.value_or(Bytes(input.available.count / 10 * 9) + input.process);
  return ram > everything_else ? ram - everything_else : Bytes(0);
}

}  // namespace

ScratchShape scratch_shape_for(const Model& model, std::uint32_t batch, std::uint32_t threads) {
  ScratchShape shape = model.scratch_shape();
  shape.rows = batch;
  shape.threads = threads;
  // Logits of several rows at once share the reading of the output matrix; 16 MiB of them do.
  constexpr std::uint64_t kLogitBytes = 16 << 20;
  shape.logit_rows = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(
      kLogitBytes / (shape.vocabulary * sizeof(float)), 1, std::min(batch, 32u)));
  return shape;
}

namespace {

// "dense weights 1.0 MiB, KV cache of 4096 tokens ..."
std::string parts_text(const MemoryPlan& plan) {
  return fmt::format("dense weights {}, KV cache of {} tokens {}, scratch {}, process {}",
                     mib(plan.dense), plan.context, mib(plan.kv), mib(plan.scratch),
                     mib(plan.process));
}

// There are too few bytes for `experts_used` experts of each size, which need `needed`.
[[noreturn]] void refuse(const Model& model, const PlanInput& input, const MemoryPlan& plan,
                         Bytes needed, Bytes wanted) {
  const std::uint32_t used = model.config.experts_used;
  if (input.budget.expert_ram || input.budget.expert_share)
    throw_error(ErrorCode::kBudget,
                "{} for experts is too little: the least that works is {} ({} experts of each size "
                "at once); raise --expert-ram",
                mib(wanted), at_least(needed), used);
  const Bytes least = plan.process + plan.dense + plan.kv + plan.scratch + needed + kRunToRun;
  const std::string parts =
      fmt::format("{}, {} experts of each size at once {}", parts_text(plan), used, mib(needed));
  if (input.budget.ram)
    throw_error(
        ErrorCode::kBudget,
        "--ram {} is too small for this model: the least that works is {} ({}); raise --ram "
        "or lower --ctx-size",
        mib(*input.budget.ram), at_least(least), parts);
  throw_error(ErrorCode::kBudget,
              "{} of memory are free, but this model needs at least {} ({}); lower --ctx-size or "
              "free memory",
              mib(input.available), at_least(least - input.process), parts);
}

// Taking more than there is would end in swapping, or in the process being killed.
void check_available(const PlanInput& input, const MemoryPlan& plan) {
  const Bytes wanted = plan.total() - input.process;
  if (wanted <= input.available || input.available == Bytes(0)) return;
  throw_error(ErrorCode::kBudget,
              "{} of memory are free, but {} are wanted ({}, experts {}); lower --ctx-size, or "
              "bound the experts with --ram",
              mib(input.available), mib(wanted), parts_text(plan), mib(plan.experts));
}

}  // namespace

MemoryPlan plan_memory(const Model& model, const PlanInput& input) {
  const SizeClasses classes = size_classes(model.experts, input.alignment);
  MemoryPlan plan;
  plan.context = input.context;
  plan.slot_bytes = classes.slot_bytes;
  plan.experts_total = model.experts.total();
  plan.process = input.process + kReserve;
  plan.dense = model.weights.arena_bytes(input.alignment);
  plan.kv = KvCache::bytes_needed(model.kv_layers(), input.context);

  std::vector<profiler::SlotClass> slot_classes;
  Bytes all_slots;
  for (std::size_t c = 0; c < classes.slot_bytes.size(); ++c) {
    slot_classes.push_back({Bytes(classes.slot_bytes[c]), classes.experts[c]});
    all_slots += Bytes(classes.slot_bytes[c]) * classes.experts[c];
  }
  // A share of 1 means every expert, although slots are a little larger than experts.
  const bool whole = input.budget.expert_share == 1.0;
  for (plan.batch = input.batch;; plan.batch = std::max(plan.batch / 2, kSmallestBatch)) {
    plan.scratch = Scratch::bytes_needed(scratch_shape_for(model, plan.batch, input.threads));
    const Bytes rest = plan.process + plan.dense + plan.kv + plan.scratch;
    const Bytes wanted =
        whole ? all_slots : wanted_expert_bytes(input, model.experts.bytes(), rest);
    const profiler::SlotPlan slots =
        profiler::plan_slots(slot_classes, wanted, model.config.experts_used);
    // Scratch above an eighth of the expert memory is better spent on experts.
    const bool smaller_batch_helps = plan.batch > kSmallestBatch && !input.budget.expert_ram &&
                                     !input.budget.expert_share &&
                                     (slots.slots.empty() || plan.scratch * 8 > wanted);
    if (smaller_batch_helps) continue;
    if (slots.slots.empty()) refuse(model, input, plan, slots.needed, wanted);
    plan.experts = slots.total;
    plan.slots_of_class = slots.slots;
    plan.expert_slots = std::accumulate(slots.slots.begin(), slots.slots.end(), 0u);
    check_available(input, plan);
    return plan;
  }
}

Bytes resident_memory() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t size = 0, resident = 0;
  file >> size >> resident;
  return Bytes(resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)));
}

namespace {

Bytes kib_line(const char* path, std::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line))
    if (line.starts_with(key)) return Bytes(std::stoull(line.substr(key.size())) * 1024);
  return Bytes(0);
}

}  // namespace

bool reset_peak_memory() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5";  // proc_pid_clear_refs(5)
  return static_cast<bool>(file.flush());
}

Bytes peak_memory() { return kib_line("/proc/self/status", "VmHWM:"); }
Bytes available_memory() { return kib_line("/proc/meminfo", "MemAvailable:"); }

}  // namespace hearth::runtime
