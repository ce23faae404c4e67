#include "profiler/planner.h"

#include <algorithm>
#include <functional>

#include "base/check.h"
#include "base/error.h"
#include "profiler/cache_policy.h"
#include "profiler/held_slots.h"
#include "profiler/hit_estimate.h"
#include "profiler/policy_choice.h"
#include "profiler/seed.h"
#include "profiler/slot_plan.h"
#include "profiler/step_split.h"

namespace hearth::profiler {
namespace {

// What would be 0.0 MiB, and is not nothing, in a smaller unit.
std::string mib(Bytes bytes) {
  if (bytes > Bytes(0) && bytes < kKiB) return fmt::format("{} B", bytes.count);
  if (bytes > Bytes(0) && bytes < 64 * kKiB)
    return fmt::format("{:.1f} KiB", static_cast<double>(bytes.count) / (1 << 10));
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes.count) / (1 << 20));
}

// A least budget, rounded up so that it works as it is printed.
std::string at_least(Bytes bytes) {
  const Bytes unit = bytes < Bytes(100 << 20) ? kKiB : kMiB;
  return fmt::format("{} {}", round_up(bytes.count, unit.count) / unit.count,
                     unit == kKiB ? "KiB" : "MiB");
}

bool bounds_experts(const MemoryBudget& budget) { return budget.expert_ram || budget.expert_share; }

// The size classes in one memory, with the uses of their experts where a profile knows them.
class Classes {
 public:
  Classes(const ModelNeeds& needs, std::span<const float> popularity, Bytes ExpertClass::* slot) {
    std::vector<std::vector<float>> uses(needs.classes.size());
    const std::vector<std::uint8_t> size_class_of = needs.size_class_of();
    for (std::size_t i = 0; i < popularity.size(); ++i)
      if (size_class_of[i] != Residency::kNoClass) uses[size_class_of[i]].push_back(popularity[i]);
    for (std::vector<float>& one : uses) std::ranges::sort(one, std::greater());
    uses_ = std::move(uses);
    for (std::size_t c = 0; c < needs.classes.size(); ++c)
      classes_.push_back({needs.classes[c].*slot, needs.classes[c].experts, uses_[c]});
  }
  Classes(const Classes&) = delete;
  Classes& operator=(const Classes&) = delete;

  std::span<const SlotClass> all() const { return classes_; }
  Bytes bytes() const {
    Bytes total;
    for (const SlotClass& one : classes_) total += one.slot * one.experts;
    return total;
  }

 private:
  std::vector<std::vector<float>> uses_;
  std::vector<SlotClass> classes_;
};

Bytes beyond(Bytes budget, const TierPlan& tier) {
  return budget > tier.total() ? budget - tier.total() : Bytes(0);
}

// What the request leaves for experts in RAM, beside everything else that `ram` holds.
Bytes wanted_expert_bytes(const ModelNeeds& needs, const PlanRequest& request, const TierPlan& ram,
                          const Classes& classes) {
  const MemoryBudget& budget = request.budget;
  if (budget.expert_ram) return *budget.expert_ram;
  // Every expert, although slots are a little larger than experts.
  if (budget.expert_share == 1.0) return classes.bytes();
  if (budget.expert_share)
    return Bytes(static_cast<std::uint64_t>(static_cast<double>(needs.expert_bytes().count) *
                                            *budget.expert_share));
  // Nine tenths of what is free leaves room for what else runs on the machine.
  return beyond(budget.ram.value_or(Bytes(request.available.count / 10 * 9)), ram);
}

// "dense weights 1.0 MiB, KV cache of 4096 tokens ..."
std::string parts_text(const PlacementPlan& plan, const TierPlan& tier) {
  const std::string state =
      tier.state == Bytes(0) ? std::string() : fmt::format("recurrent state {}, ", mib(tier.state));
  return fmt::format("dense weights {}, KV cache of {} tokens {}, {}scratch {}, {} {}",
                     mib(tier.dense), plan.context, mib(tier.kv), state, mib(tier.scratch),
                     plan.vram && &tier == &*plan.vram ? "driver" : "process", mib(tier.process));
}

// There are too few bytes for the experts of one token of each size, which need `needed`.
[[noreturn]] void refuse(const ModelNeeds& needs, const PlanRequest& request,
                         const PlacementPlan& plan, Bytes needed, Bytes wanted) {
  const std::uint32_t used = needs.model.experts_used;
  if (bounds_experts(request.budget))
    throw_error(ErrorCode::kBudget,
                "{} for experts is too little: the least that works is {} ({} experts of each size "
                "at once); raise --expert-ram",
                mib(wanted), at_least(needed), used);
  const Bytes least = plan.ram.total() + needed;
  const std::string parts = fmt::format("{}, {} experts of each size at once {}",
                                        parts_text(plan, plan.ram), used, mib(needed));
  if (request.budget.ram)
    throw_error(
        ErrorCode::kBudget,
        "--ram {} is too small for this model: the least that works is {} ({}); raise --ram "
        "or lower --ctx-size",
        mib(*request.budget.ram), at_least(least), parts);
  if (request.available == Bytes(0))
    throw_error(ErrorCode::kBudget,
                "how much memory is free cannot be found out (/proc/meminfo), and this model needs "
                "at least {} ({}); say how much there is with --ram",
                at_least(least), parts);
  throw_error(ErrorCode::kBudget,
              "{} of memory are free, but this model needs at least {} ({}); lower --ctx-size or "
              "free memory",
              mib(request.available), at_least(least), parts);
}

[[noreturn]] void refuse_on_gpu(const ModelNeeds& needs, const PlacementPlan& plan, Bytes needed,
                                Bytes vram) {
  throw_error(ErrorCode::kBudget,
              "{} of GPU memory are too little for this model: the least that works is {} ({}, {} "
              "experts of each size at once {}); lower --ctx-size, or plan without the GPU: --vram "
              "0",
              mib(vram), at_least(plan.vram->total() + needed), parts_text(plan, *plan.vram),
              needs.model.experts_used, mib(needed));
}

// Taking more than there is would end in swapping, or in the process being killed.
void check_available(const PlanRequest& request, const PlacementPlan& plan) {
  const Bytes wanted = plan.ram.total();
  if (wanted <= request.available || request.available == Bytes(0)) return;
  throw_error(ErrorCode::kBudget,
              "{} of memory are free, but {} are wanted ({}, experts {}); lower --ctx-size, or "
              "bound the experts with --ram",
              mib(request.available), mib(wanted), parts_text(plan, plan.ram),
              mib(plan.ram.experts));
}

void take(TierPlan& tier, const SlotPlan& slots) {
  tier.experts = slots.total;
  tier.slots_of_class = slots.slots;
}

// Whether half the tokens at a time would leave enough more for experts: scratch above an eighth of
// the expert memory is better spent on these.
bool too_much_scratch(Bytes scratch, Bytes experts, const SlotPlan& slots) {
  return slots.slots.empty() || scratch * 8 > experts;
}

// All in RAM: the largest batch whose scratch is worth its bytes, and the slots that the rest buys.
void place_in_ram(const ModelNeeds& needs, const PlanRequest& request, const Classes& classes,
                  PlacementPlan& plan) {
  plan.ram.dense = needs.dense;
  plan.ram.state = needs.state;
  for (const BatchScratch& scratch : needs.scratch) {
    plan.batch = scratch.batch;
    plan.ram.kv = needs.kv.bytes(request.context, scratch.batch);
    plan.ram.scratch = scratch.bytes;
    const Bytes wanted = wanted_expert_bytes(needs, request, plan.ram, classes);
    const SlotPlan slots = plan_slots(classes.all(), wanted, needs.model.experts_used);
    if (&scratch != &needs.scratch.back() && !bounds_experts(request.budget) &&
        too_much_scratch(scratch.bytes, wanted, slots))
      continue;
    if (slots.slots.empty()) refuse(needs, request, plan, slots.needed, wanted);
    take(plan.ram, slots);
    break;
  }
  check_available(request, plan);
}

// The classes without the most wanted, which are held in VRAM, but with as many experts as a layer
// reads at once.
std::vector<SlotClass> classes_beside(const ModelNeeds& needs, const Classes& in_ram,
                                      std::span<const std::uint32_t> held) {
  std::vector<SlotClass> classes(in_ram.all().begin(), in_ram.all().end());
  for (std::size_t c = 0; c < classes.size(); ++c) {
    SlotClass& one = classes[c];
    const std::uint32_t least = std::min(needs.model.experts_used, one.experts);
    one.experts = std::max(one.experts - held[c], least);
    if (!one.uses.empty()) one.uses = one.uses.last(one.experts);
  }
  return classes;
}

// Held for good are those that spare more time with the disk than they cost over the link.
void hold_experts(const ModelNeeds& needs, const PlanRequest& request, const Classes& in_ram,
                  const Machine* machine, const ExpertProfile* profile, PlacementPlan& plan) {
  const Bytes wanted = wanted_expert_bytes(needs, request, plan.ram, in_ram);
  const auto ram_beside = [&](std::span<const std::uint32_t> held) {
    return plan_slots(classes_beside(needs, in_ram, held), wanted, needs.model.experts_used).slots;
  };
  const bool has_rates = machine != nullptr && machine->gpu && machine->disk;
  const auto cost = [&](const TierHits& hits) {
    if (!has_rates) return usual_cost(hits);
    const DecodeLoad load{.hits = hits, .threads = request.threads, .depth = request.depth};
    return 1 / predict_decode(needs, *machine, load).tokens_per_second;
  };
  plan.vram->held_of_class = choose_held({.needs = needs,
                                          .hits = HitModel::of_gpu(needs, profile),
                                          .slots = plan.vram->slots_of_class,
                                          .cost = cost,
                                          .ram_beside = ram_beside});
}

void take_batch(const GpuBatch& batch, PlacementPlan& plan) {
  plan.batch = batch.batch;
  plan.vram->kv = batch.kv;
  plan.vram->scratch = batch.scratch;
  plan.ram.scratch = batch.beside;
}

// What a GPU that is here counts of its own memory, and which prompts it can take: the longest
// chunks whose scratch is worth its bytes.
void place_counted(const ModelNeeds& needs, const Classes& on_device, Bytes budget,
                   PlacementPlan& plan) {
  const GpuNeeds& gpu = *needs.gpu;
  plan.vram->dense = gpu.dense;
  plan.vram->state = gpu.state;
  SlotPlan slots;
  for (const GpuBatch& batch : gpu.batches) {
    take_batch(batch, plan);
    Bytes wanted = beyond(budget, *plan.vram);
    slots = plan_slots(on_device.all(), wanted, needs.model.experts_used);
    if (slots.total == on_device.bytes()) break;
    plan.vram->scratch += batch.streaming;
    wanted = beyond(budget, *plan.vram);
    slots = plan_slots(on_device.all(), wanted, needs.model.experts_used);
    if (!too_much_scratch(plan.vram->scratch, wanted, slots)) break;
  }
  if (slots.slots.empty()) refuse_on_gpu(needs, plan, slots.needed, budget);
  take(*plan.vram, slots);
  if (plan.batch < gpu.batches.front().batch)
    plan.notes.push_back(fmt::format(
        "prompts pass the GPU in steps of {} tokens, not {}, whose scratch would take too much "
        "of {} from experts",
        plan.batch, gpu.batches.front().batch, mib(budget)));
}

// On a GPU that is elsewhere, as RAM would hold it.
void place_as_in_ram(const ModelNeeds& needs, const PlanRequest& request, const Classes& on_device,
                     Bytes budget, PlacementPlan& plan) {
  for (const BatchScratch& scratch : needs.scratch) {
    plan.batch = scratch.batch;
    plan.vram->kv = needs.kv.bytes(request.context, scratch.batch);
    plan.vram->scratch = scratch.bytes;
    const Bytes wanted = beyond(budget, *plan.vram);
    const SlotPlan slots = plan_slots(on_device.all(), wanted, needs.model.experts_used);
    if (&scratch != &needs.scratch.back() && too_much_scratch(scratch.bytes, wanted, slots))
      continue;
    if (slots.slots.empty()) refuse_on_gpu(needs, plan, slots.needed, budget);
    take(*plan.vram, slots);
    break;
  }
}

// All but experts in VRAM, and as many of these as it holds; below it the experts in RAM.
void place_on_gpu(const ModelNeeds& needs, const PlanRequest& request, const GpuMemory& gpu,
                  const Machine* machine, const ExpertProfile* profile,
                  std::span<const float> popularity, PlacementPlan& plan) {
  const Classes on_device(needs, popularity, &ExpertClass::device_slot);
  const Bytes budget = std::min(request.budget.vram.value_or(gpu.memory), gpu.memory);
  plan.vram = {.process = gpu.reserved, .dense = needs.dense, .state = needs.state};
  if (needs.gpu)
    place_counted(needs, on_device, budget, plan);
  else
    place_as_in_ram(needs, request, on_device, budget, plan);
  if (needs.gpu) plan.ram.dense = needs.gpu->dense_of_host;
  hold_experts(needs, request, Classes(needs, popularity, &ExpertClass::slot), machine, profile,
               plan);
  place_below(needs, request, popularity, plan.vram->held_of_class, plan);
}

// The tier that computes: its slots are what the policy decides about.
const TierPlan& fastest(const PlacementPlan& plan) { return plan.vram ? *plan.vram : plan.ram; }

std::optional<GpuMemory> gpu_of(const PlanRequest& request, const Machine* machine) {
  if (request.gpu || machine == nullptr || !machine->gpu) return request.gpu;
  return GpuMemory{.memory = machine->gpu->memory, .reserved = machine->gpu->reserved};
}

void check_policy(const std::string& name) {
  const auto names = policy_names();
  if (std::ranges::find(names, name) != names.end()) return;
  std::string known;
  for (const std::string_view one : names) known += fmt::format(", {}", one);
  throw_error(ErrorCode::kUsage, "unknown cache policy {}; known are auto{}", printable(name),
              known);
}

void plan_policy(const ModelNeeds& needs, const PlanRequest& request, const ExpertProfile* profile,
                 PlacementPlan& plan) {
  const std::uint32_t slots = fastest(plan).slots();
  if (request.policy != "auto") {
    check_policy(request.policy);
    plan.policy = request.policy;
    plan.policy_reason = "asked for";
  } else {
    const PolicyChoice choice =
        choose_policy(profile == nullptr ? std::span<const PolicyCurve>() : profile->curves, slots,
                      plan.experts, needs.cycle());
    plan.policy = choice.policy;
    plan.policy_reason = choice.reason;
  }
  if (slots == plan.experts) plan.policy_reason = "unused: every expert has a slot";
  if (slots < std::min(needs.cycle(), plan.experts))
    plan.notes.push_back(fmt::format(
        "{} slots are fewer than the {} experts that one token uses: what was used lately is gone "
        "before it is used again, and only a set that stays is hit",
        slots, needs.cycle()));
}

std::vector<std::uint32_t> slots_together(const ModelNeeds& needs, const PlacementPlan& plan) {
  std::vector<std::uint32_t> slots;
  for (std::size_t c = 0; c < needs.classes.size(); ++c)
    slots.push_back(std::min(plan.slots_together(c), needs.classes[c].experts));
  return slots;
}

void plan_seed(const ModelNeeds& needs, std::span<const float> popularity, PlacementPlan& plan) {
  plan.seed = choose_seed({.space = needs.space(),
                           .popularity = popularity,
                           .size_class_of = needs.size_class_of(),
                           .slots_of_class = slots_together(needs, plan)});
  for (const ExpertId id : plan.seed) plan.seed_uses.push_back(popularity[needs.space().flat(id)]);
}

// What follows traffic in VRAM is in RAM as well, if that has more slots: giving it up then costs
// nothing.
TierHits tier_hits(const PlacementPlan& plan, double fastest_hits, double in_memory) {
  if (!plan.vram) return {.vram = 0, .ram = fastest_hits, .disk = 1 - fastest_hits};
  const double found = std::max(fastest_hits, in_memory);
  return {.vram = fastest_hits, .ram = found - fastest_hits, .disk = 1 - found};
}

void predict(const ModelNeeds& needs, const PlanRequest& request, const Machine& machine,
             const ExpertProfile* profile, PlacementPlan& plan) {
  const HitModel model(needs, plan.policy, profile);
  const TierPlan& tier = fastest(plan);
  plan.hits = model.estimate(tier.slots_of_class, tier.held_of_class);
  const HitEstimate memory = model.estimate(slots_together(needs, plan), tier.held_of_class);
  const auto at = [&](double HitEstimate::* value) {
    return predict_decode(needs, machine,
                          {.hits = tier_hits(plan, (*plan.hits).*value, memory.*value),
                           .threads = request.threads,
                           .depth = request.depth,
                           .prefetch = plan.prefetch});
  };
  if (memory.low < 1 && !machine.disk) {
    plan.notes.push_back(fmt::format(
        "no prediction: experts must be read from disk, and {} has no rates of one", machine.name));
    return;
  }
  plan.prediction = at(&HitEstimate::expected);
  plan.prediction->low = at(&HitEstimate::low).low;
  plan.prediction->high = at(&HitEstimate::high).high;
}

}  // namespace

void place_below(const ModelNeeds& needs, const PlanRequest& request,
                 std::span<const float> popularity, std::span<const std::uint32_t> held_of_class,
                 PlacementPlan& plan) {
  plan.ram.experts = Bytes(0);
  const Classes in_ram(needs, popularity, &ExpertClass::slot);
  const Bytes wanted = wanted_expert_bytes(needs, request, plan.ram, in_ram);
  const SlotPlan slots =
      plan_slots(classes_beside(needs, in_ram, held_of_class), wanted, needs.model.experts_used);
  if (slots.slots.empty()) refuse(needs, request, plan, slots.needed, wanted);
  take(plan.ram, slots);
  check_available(request, plan);
}

SlotPlan divide_slots(const ModelNeeds& needs, std::span<const float> popularity,
                      std::span<const std::uint32_t> most, Bytes bytes) {
  const Classes all(needs, popularity, &ExpertClass::slot);
  CHECK_EQ(most.size(), all.all().size());
  std::vector<SlotClass> classes(all.all().begin(), all.all().end());
  for (std::size_t c = 0; c < classes.size(); ++c) {
    classes[c].experts = std::min(classes[c].experts, most[c]);
    if (!classes[c].uses.empty()) classes[c].uses = classes[c].uses.first(classes[c].experts);
  }
  return plan_slots(classes, bytes, needs.model.experts_used);
}

PlacementPlan plan_placement(const ModelNeeds& needs, const PlanRequest& request,
                             const Machine* machine, const ExpertProfile* profile) {
  CHECK(!needs.scratch.empty());
  const std::vector<float> popularity =
      profile == nullptr ? std::vector<float>() : profile->popularity();
  const std::optional<GpuMemory> gpu =
      request.budget.vram == Bytes(0) ? std::nullopt : gpu_of(request, machine);
  const bool on_gpu = gpu.has_value();
  if (request.budget.vram.value_or(Bytes(0)) > Bytes(0) && !on_gpu)
    throw_error(ErrorCode::kUsage, "--vram {}: {} has no GPU; leave it out, or name a --machine",
                mib(*request.budget.vram), machine == nullptr ? "what runs this" : machine->name);

  PlacementPlan plan{.model = needs.model,
                     .context = request.context,
                     .threads = request.threads,
                     .key_format = needs.kv.key_format,
                     .value_format = needs.kv.value_format,
                     .kv_tail = needs.kv.tail,
                     .kv_rotation = needs.kv.rotated};
  plan.experts = needs.experts();
  plan.ram.process = needs.process;
  if (on_gpu)
    place_on_gpu(needs, request, *gpu, machine, profile, popularity, plan);
  else
    place_in_ram(needs, request, Classes(needs, popularity, &ExpertClass::slot), plan);
  plan_policy(needs, request, profile, plan);
  plan.prefetch = request.prefetch && fastest(plan).slots() < plan.experts;
  if (!popularity.empty()) plan_seed(needs, popularity, plan);
  if (machine == nullptr) return plan;
  Machine used = *machine;
  if (!on_gpu) used.gpu.reset();
  predict(needs, request, used, profile, plan);
  return plan;
}

}  // namespace hearth::profiler
