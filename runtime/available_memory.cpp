#include "runtime/available_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "runtime/cgroups.h"

namespace hearth::runtime {
namespace {

namespace fs = std::filesystem;

constexpr Bytes kUnlimited = Bytes(std::numeric_limits<std::uint64_t>::max());

// The two versions name the same things differently.
struct MemoryFiles {
  CgroupVersion version;
  const char* usage;
  std::vector<const char*> limits;
  std::vector<const char*> cached;  // of memory.stat, with all groups below
};

const MemoryFiles kVersion1{.version = CgroupVersion::k1,
                            .usage = "memory.usage_in_bytes",
                            .limits = {"memory.limit_in_bytes"},
                            .cached = {"total_inactive_file", "total_active_file"}};
const MemoryFiles kVersion2{.version = CgroupVersion::k2,
                            .usage = "memory.current",
                            .limits = {"memory.max", "memory.high"},
                            .cached = {"inactive_file", "active_file"}};

// The value behind a word that begins a line. Nothing where there is no such file or word.
std::optional<std::uint64_t> value_after(const fs::path& path, std::string_view word) {
  std::ifstream file(path);
  std::string key;
  std::uint64_t value = 0;
  for (std::string line; std::getline(file, line);)
    if (std::istringstream(line) >> key >> value && key == word) return value;
  return std::nullopt;
}

Bytes left_by_group(const fs::path& group, const MemoryFiles& files) {
  const std::optional<std::uint64_t> usage = number_in(group / files.usage);
  std::uint64_t limit = kUnlimited.count;
  for (const char* file : files.limits)
    limit = std::min(limit, number_in(group / file).value_or(limit));
  if (!usage || limit == kUnlimited.count) return kUnlimited;
  std::uint64_t cached = 0;
  for (const char* word : files.cached)
    cached += value_after(group / "memory.stat", word).value_or(0);
  const std::uint64_t held = *usage - std::min(*usage, cached);
  return Bytes(limit - std::min(limit, held));
}

Bytes left_by_version(const fs::path& root, const MemoryFiles& files) {
  Bytes least = kUnlimited;
  for (const fs::path& group : cgroups_of(files.version, "memory", root))
    least = std::min(least, left_by_group(group, files));
  return least;
}

Bytes left_by_address_space() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kUnlimited;
  const std::uint64_t taken =
      number_in("/proc/self/statm").value_or(0) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return Bytes(limit.rlim_cur - std::min<std::uint64_t>(limit.rlim_cur, taken));
}

}  // namespace

Bytes left_by_cgroups(const fs::path& root) {
  return std::min(left_by_version(root, kVersion1), left_by_version(root, kVersion2));
}

Bytes available_memory(Bytes held) {
  const std::optional<std::uint64_t> free_kib = value_after("/proc/meminfo", "MemAvailable:");
  if (!free_kib) return {};
  return held + std::min({Bytes(*free_kib * 1024), left_by_cgroups(), left_by_address_space()});
}

}  // namespace hearth::runtime
