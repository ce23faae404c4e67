#include "profiler/planner.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "profiler/cache_policy.h"
#include "profiler/seed.h"
#include "profiler/slot_plan.h"

namespace hearth::profiler {
namespace {

std::string mib(Bytes bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes.count) / (1 << 20));
}

// A least budget, rounded up so that it works as it is printed.
std::string at_least(Bytes bytes) {
  const Bytes unit = bytes < Bytes(100 << 20) ? kKiB : kMiB;
  return fmt::format("{} {}", round_up(bytes.count, unit.count) / unit.count,
                     unit == kKiB ? "KiB" : "MiB");
}

bool bounds_experts(const MemoryBudget& budget) { return budget.expert_ram || budget.expert_share; }

// What the request leaves for experts, beside everything else that `plan` holds.
Bytes wanted_expert_bytes(const ModelNeeds& needs, const PlanRequest& request, const TierPlan& ram,
                          std::span<const SlotClass> classes) {
  const MemoryBudget& budget = request.budget;
  if (budget.expert_ram) return *budget.expert_ram;
  if (budget.expert_share == 1.0) {
    // Every expert, although slots are a little larger than experts.
    Bytes all;
    for (const SlotClass& one : classes) all += one.slot * one.experts;
    return all;
  }
  if (budget.expert_share)
    return Bytes(static_cast<std::uint64_t>(static_cast<double>(needs.expert_bytes().count) *
                                            *budget.expert_share));
  // Nine tenths of what is free leaves room for what else runs on the machine.
  const Bytes all = budget.ram.value_or(Bytes(request.available.count / 10 * 9));
  return all > ram.total() ? all - ram.total() : Bytes(0);
}

// "dense weights 1.0 MiB, KV cache of 4096 tokens ..."
std::string parts_text(const PlacementPlan& plan) {
  return fmt::format("dense weights {}, KV cache of {} tokens {}, scratch {}, process {}",
                     mib(plan.ram.dense), plan.context, mib(plan.ram.kv), mib(plan.ram.scratch),
                     mib(plan.ram.process));
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
  const std::string parts =
      fmt::format("{}, {} experts of each size at once {}", parts_text(plan), used, mib(needed));
  if (request.budget.ram)
    throw_error(
        ErrorCode::kBudget,
        "--ram {} is too small for this model: the least that works is {} ({}); raise --ram "
        "or lower --ctx-size",
        mib(*request.budget.ram), at_least(least), parts);
  throw_error(ErrorCode::kBudget,
              "{} of memory are free, but this model needs at least {} ({}); lower --ctx-size or "
              "free memory",
              mib(request.available), at_least(least), parts);
}

// Taking more than there is would end in swapping, or in the process being killed.
void check_available(const PlanRequest& request, const PlacementPlan& plan) {
  const Bytes wanted = plan.ram.total();
  if (wanted <= request.available || request.available == Bytes(0)) return;
  throw_error(ErrorCode::kBudget,
              "{} of memory are free, but {} are wanted ({}, experts {}); lower --ctx-size, or "
              "bound the experts with --ram",
              mib(request.available), mib(wanted), parts_text(plan), mib(plan.ram.experts));
}

// The largest batch whose scratch is worth its bytes, and the slots that the rest buys.
void place_in_ram(const ModelNeeds& needs, const PlanRequest& request, PlacementPlan& plan) {
  std::vector<SlotClass> classes;
  for (const ExpertClass& one : needs.classes) classes.push_back({one.slot, one.experts});
  for (std::size_t i = 0; i < needs.scratch.size(); ++i) {
    plan.batch = needs.scratch[i].batch;
    plan.ram.scratch = needs.scratch[i].bytes;
    const Bytes wanted = wanted_expert_bytes(needs, request, plan.ram, classes);
    const SlotPlan slots = plan_slots(classes, wanted, needs.model.experts_used);
    // Scratch above an eighth of the expert memory is better spent on experts.
    const bool smaller_batch_helps = i + 1 < needs.scratch.size() &&
                                     !bounds_experts(request.budget) &&
                                     (slots.slots.empty() || plan.ram.scratch * 8 > wanted);
    if (smaller_batch_helps) continue;
    if (slots.slots.empty()) refuse(needs, request, plan, slots.needed, wanted);
    plan.ram.experts = slots.total;
    plan.ram.slots_of_class = slots.slots;
    return check_available(request, plan);
  }
}

std::string checked_policy(const std::string& name) {
  const auto names = policy_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return name;
  std::string known;
  for (const std::string_view one : names) known += fmt::format(", {}", one);
  throw_error(ErrorCode::kUsage, "unknown cache policy {}; known are auto{}", printable(name),
              known);
}

void choose_policy(const ModelNeeds& needs, const PlanRequest& request, PlacementPlan& plan) {
  if (request.policy != "auto") {
    plan.policy = checked_policy(request.policy);
    plan.policy_reason = "asked for";
    return;
  }
  plan.policy = recommend_policy();
}

void seed_by(const ModelNeeds& needs, const ExpertProfile& profile, PlacementPlan& plan) {
  const std::vector<float> popularity = profile.popularity();
  const std::vector<std::uint8_t> size_class_of = needs.size_class_of();
  plan.seed = choose_seed({.space = needs.space(),
                           .popularity = popularity,
                           .size_class_of = size_class_of,
                           .slots_of_class = plan.ram.slots_of_class});
}

}  // namespace

PlacementPlan plan_placement(const ModelNeeds& needs, const PlanRequest& request,
                             const Machine* machine, const ExpertProfile* profile) {
  (void)machine;
  CHECK(!needs.scratch.empty());
  PlacementPlan plan{.model = needs.model, .context = request.context, .threads = request.threads};
  plan.experts = needs.experts();
  plan.ram = {.process = needs.process,
              .dense = needs.dense,
              .kv = needs.kv(request.context),
              .state = needs.state};
  place_in_ram(needs, request, plan);
  choose_policy(needs, request, plan);
  if (profile != nullptr) seed_by(needs, *profile, plan);
  plan.prefetch = request.prefetch && plan.ram.slots() < plan.experts;
  return plan;
}

}  // namespace hearth::profiler
