#include "runtime/processors.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <thread>
#include <vector>

#include "runtime/cgroups.h"

namespace hearth::runtime {
namespace {

namespace fs = std::filesystem;

// A mask of as many bits as the kernel wants: its own may be longer than cpu_set_t.
std::uint32_t processors_by_affinity() {
  for (std::size_t sets = 1; sets <= 64; sets *= 2) {
    std::vector<cpu_set_t> mask(sets);
    const std::size_t bytes = sets * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, mask.data()) == 0)
      return static_cast<std::uint32_t>(CPU_COUNT_S(bytes, mask.data()));
    if (errno != EINVAL) break;
  }
  return std::thread::hardware_concurrency();
}

// The time a group is granted in each period. Without a limit version 2 says "max", version 1 -1.
std::optional<double> granted(std::istream& quota_from, std::istream& period_from) {
  double quota = 0, period = 0;
  if (quota_from >> quota && period_from >> period && quota > 0 && period > 0)
    return quota / period;
  return std::nullopt;
}

}  // namespace

std::optional<double> processors_by_cgroups(const fs::path& root) {
  std::optional<double> least;
  const auto add = [&](std::optional<double> processors) {
    if (processors) least = std::min(least.value_or(*processors), *processors);
  };
  for (const fs::path& group : cgroups_of(CgroupVersion::k1, "cpu", root)) {
    std::ifstream quota(group / "cpu.cfs_quota_us"), period(group / "cpu.cfs_period_us");
    add(granted(quota, period));
  }
  for (const fs::path& group : cgroups_of(CgroupVersion::k2, "cpu", root)) {
    std::ifstream both(group / "cpu.max");
    add(granted(both, both));
  }
  return least;
}

std::uint32_t available_processors() {
  std::uint32_t processors = processors_by_affinity();
  if (const std::optional<double> limit = processors_by_cgroups())
    processors = std::min(processors, static_cast<std::uint32_t>(std::min(*limit, 4096.0)));
  return std::max(1u, processors);
}

}  // namespace hearth::runtime
