// What one change to the request, the machine or the model would give: each is planned anew.
#include <algorithm>
#include <cmath>
#include <functional>

#include "base/error.h"
#include "profiler/planner.h"

namespace hearth::profiler {
namespace {

constexpr double kWorthSaying = 1.02;  // of the speed without the change
constexpr double kFewestBits = 2.0;    // per weight: what useful quantisations have
constexpr std::uint32_t kLeastContext = 512;

struct Setting {
  ModelNeeds needs;
  PlanRequest request;
  Machine machine;
};

std::string gib(Bytes bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes.count) / (1 << 30));
}

// 0 where it cannot be planned or predicted.
double speed_of(const Setting& setting, const ExpertProfile* profile) {
  try {
    const PlacementPlan plan =
        plan_placement(setting.needs, setting.request, &setting.machine, profile);
    return plan.prediction ? plan.prediction->tokens_per_second : 0;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBudget) throw;
    return 0;
  }
}

Bytes all_slots(const ModelNeeds& needs) {
  Bytes all;
  for (const ExpertClass& one : needs.classes) all += one.slot * one.experts;
  return all;
}

// What would hold the experts that `tier` does not, at most as much again as it has. With room for
// them, the batch that was asked for has its scratch as well.
Bytes missing(const ModelNeeds& needs, const TierPlan& tier) {
  const Bytes scratch =
      tier.scratch > Bytes(0) ? needs.scratch.front().bytes - tier.scratch : Bytes(0);
  return std::min(all_slots(needs) - tier.experts + scratch, tier.total());
}

void add_ram(Setting& setting, Bytes more, const TierPlan& ram) {
  MemoryBudget& budget = setting.request.budget;
  Bytes& available = setting.request.available;
  if (available > Bytes(0)) available += Bytes(more.count / 9 * 10 + 10);  // a tenth stays free
  setting.machine.cpu.memory += more;
  if (budget.ram) *budget.ram += more;
  if (budget.expert_ram || budget.expert_share) {
    budget.expert_ram = ram.experts + more;
    budget.expert_share.reset();
  }
}

void add_vram(Setting& setting, Bytes more) {
  setting.machine.gpu->memory += more;
  if (setting.request.budget.vram) *setting.request.budget.vram += more;
}

void double_disk(Setting& setting) {
  for (DiskRate& rate : setting.machine.disk->random_reads) {
    rate.rate *= 2;
    rate.latency /= 2;
  }
}

void double_link(Setting& setting) {
  setting.machine.gpu->host_to_device *= 2;
  setting.machine.gpu->host_to_device_shared *= 2;
  setting.machine.gpu->gather *= 2;
  setting.machine.gpu->gather_shared *= 2;
}

// Experts of `factor` times the bits; rates per byte stay as they are.
void scale_experts(Setting& setting, double factor) {
  const auto scale = [&](Bytes& bytes) {
    bytes = Bytes(std::max<std::uint64_t>(
        1, static_cast<std::uint64_t>(static_cast<double>(bytes.count) * factor)));
  };
  for (ExpertClass& one : setting.needs.classes) {
    scale(one.slot);
    scale(one.device_slot);
    scale(one.expert);
  }
  for (FormatBytes& one : setting.needs.expert_read) scale(one.bytes);
}

double bits_of(const ModelNeeds& needs) {
  return 8 * static_cast<double>(needs.expert_bytes().count) /
         static_cast<double>(needs.expert_weights);
}

struct Quantisation {
  double bits = 0;
  bool fits = false;  // all experts in the fastest tier
};

Quantisation smaller_quantisation(const ModelNeeds& needs, const TierPlan& tier) {
  const double bits = bits_of(needs);
  const double held =
      static_cast<double>(tier.experts.count) / static_cast<double>(all_slots(needs).count);
  const double fitting = std::floor(10 * bits * held) / 10;
  if (fitting >= kFewestBits) return {.bits = fitting, .fits = true};
  return {.bits = std::max(kFewestBits, std::floor(7.5 * bits) / 10)};
}

}  // namespace

std::vector<Advice> advise(const ModelNeeds& needs, const PlanRequest& request,
                           const Machine& machine, const ExpertProfile* profile) {
  const Setting asked{needs, request, machine};
  const PlacementPlan plan = plan_placement(needs, request, &machine, profile);
  if (!plan.prediction) return {};
  const TierPlan& tier = plan.vram ? *plan.vram : plan.ram;
  const bool reads_disk = plan.ram.slots() < plan.experts;

  std::vector<Advice> advice;
  const auto consider = [&](std::string change, auto make) {
    Setting changed = asked;
    make(changed);
    const double speed = speed_of(changed, profile);
    if (speed > kWorthSaying * plan.prediction->tokens_per_second)
      advice.push_back({.change = std::move(change), .tokens_per_second = speed});
  };
  if (reads_disk) {
    const Bytes more = missing(needs, plan.ram);
    consider(fmt::format("{} more RAM", gib(more)),
             [&](Setting& changed) { add_ram(changed, more, plan.ram); });
    consider("a disk twice as fast", double_disk);
  }
  if (plan.vram && tier.slots() < plan.experts) {
    const Bytes more = missing(needs, tier);
    consider(fmt::format("{} more VRAM", gib(more)),
             [&](Setting& changed) { add_vram(changed, more); });
    consider("a link to the GPU twice as fast", double_link);
  }
  const double bits = bits_of(needs);
  if (tier.slots() < plan.experts && bits > kFewestBits) {
    const Quantisation smaller = smaller_quantisation(needs, tier);
    consider(fmt::format("experts quantised to {:.1f} bits per weight instead of {:.1f}{}",
                         smaller.bits, bits, smaller.fits ? ", which all fit" : ""),
             [&](Setting& changed) { scale_experts(changed, smaller.bits / bits); });
  }
  if (request.context >= 2 * kLeastContext)
    consider(fmt::format("a context of {} tokens", request.context / 2),
             [&](Setting& changed) { changed.request.context = request.context / 2; });
  std::ranges::stable_sort(advice, std::greater(), &Advice::tokens_per_second);
  return advice;
}

}  // namespace hearth::profiler
