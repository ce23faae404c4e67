#include "runtime/cores.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <numeric>
#include <set>
#include <string>
#include <thread>

#include "runtime/cgroups.h"

namespace hearth::runtime {
namespace {

namespace fs = std::filesystem;

// A mask of as many bits as the kernel wants: its own may be longer than cpu_set_t.
std::vector<std::uint32_t> processors_by_affinity() {
  std::vector<std::uint32_t> processors;
  for (std::size_t sets = 1; sets <= 64; sets *= 2) {
    std::vector<cpu_set_t> mask(sets);
    const std::size_t bytes = sets * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, mask.data()) == 0) {
      for (std::uint32_t processor = 0; processor < 8 * bytes; ++processor)
        if (CPU_ISSET_S(processor, bytes, mask.data())) processors.push_back(processor);
      return processors;
    }
    if (errno != EINVAL) break;
  }
  processors.resize(std::thread::hardware_concurrency());
  std::iota(processors.begin(), processors.end(), 0u);
  return processors;
}

// The numbers of all processors of the core that this one is part of, "0,8"; empty if unknown.
std::string siblings_of(std::uint32_t processor, const fs::path& root) {
  const fs::path topology =
      root / "sys/devices/system/cpu" / ("cpu" + std::to_string(processor)) / "topology";
  std::string siblings;
  for (const char* name : {"core_cpus_list", "thread_siblings_list"})  // since Linux 5.3, before
    if (std::ifstream in(topology / name); in >> siblings) break;
  return siblings;
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

std::uint32_t cores_of(const std::vector<std::uint32_t>& processors, const fs::path& root) {
  std::set<std::string> cores;
  std::uint32_t unknown = 0;
  for (const std::uint32_t processor : processors) {
    std::string siblings = siblings_of(processor, root);
    if (siblings.empty())
      ++unknown;
    else
      cores.insert(std::move(siblings));
  }
  return static_cast<std::uint32_t>(cores.size()) + unknown;
}

std::uint32_t available_cores() {
  std::uint32_t cores = cores_of(processors_by_affinity());
  if (const std::optional<double> limit = processors_by_cgroups())
    cores = std::min(cores, static_cast<std::uint32_t>(std::min(*limit, 4096.0)));
  return std::max(1u, cores);
}

}  // namespace hearth::runtime
