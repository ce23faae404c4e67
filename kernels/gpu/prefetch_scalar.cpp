#include <algorithm>
#include <optional>
#include <vector>

#include "kernels/gpu/prefetch.h"
#include "kernels/gpu/slot_search.h"

namespace hearth::kernels {
namespace {

// Of all experts, each once.
std::vector<std::uint32_t> wanted_experts(const PrefetchTask& task) {
  std::vector<std::uint32_t> wanted;
  for (std::uint32_t rank = 0; rank < task.experts_used; ++rank)
    for (std::uint32_t row = 0; row < task.rows; ++row) {
      const std::uint32_t id = task.ids[row * task.experts_used + rank];
      const std::uint32_t expert = task.first_expert + id;
      if (id >= task.experts || task.tables.slot_of[expert] != kNoSlot ||
          task.tables.sources[expert].parts[0] == nullptr ||
          std::ranges::find(wanted, expert) != wanted.end())
        continue;
      wanted.push_back(expert);
    }
  return wanted;
}

}  // namespace

void prefetch_scalar(const PrefetchTask& task) {
  ExpertCounters& counters = task.tables.counters[task.layer];
  const std::uint32_t limit = std::min(task.limits[*task.fetch_count], task.most);
  *task.count = 0;
  for (const std::uint32_t expert : wanted_experts(task)) {
    if (*task.count == limit) break;
    const ScalarSlotSearch search{.tables = task.tables,
                                  .first_slot = task.first_slot,
                                  .slots = task.slots,
                                  .step = *task.step,
                                  .least_age = 2,
                                  .protected_first = task.first_expert,
                                  .protected_count = task.experts,
                                  .takes_protected = false};
    const std::optional<std::uint32_t> slot = search.best();
    if (!slot) break;
    give_slot(task.tables, *slot, expert, *task.step, counters);
    task.tables.guessed[expert] = 1;
    task.fetches[(*task.count)++] = {.from = task.tables.sources[expert],
                                     .to = task.tables.addresses[*slot]};
  }
  counters.prefetched += *task.count;
}

}  // namespace hearth::kernels
