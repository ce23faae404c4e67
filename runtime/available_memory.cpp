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

namespace hearth::runtime {
namespace {

namespace fs = std::filesystem;

constexpr Bytes kUnlimited = Bytes(std::numeric_limits<std::uint64_t>::max());

// The two versions name the same things differently.
struct CgroupVersion {
  const char* file_system;
  const char* controller;  // in the line of /proc/self/cgroup
  const char* usage;
  std::vector<const char*> limits;
  std::vector<const char*> cached;  // of memory.stat, with all groups below
};

const CgroupVersion kVersion1{.file_system = "cgroup",
                              .controller = "memory",
                              .usage = "memory.usage_in_bytes",
                              .limits = {"memory.limit_in_bytes"},
                              .cached = {"total_inactive_file", "total_active_file"}};
const CgroupVersion kVersion2{.file_system = "cgroup2",
                              .controller = "",
                              .usage = "memory.current",
                              .limits = {"memory.max", "memory.high"},
                              .cached = {"inactive_file", "active_file"}};

// Nothing where there is no such file, or no number in it ("max").
std::optional<std::uint64_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  if (file >> number) return number;
  return std::nullopt;
}

// The value behind a word that begins a line; 0 where there is none.
std::uint64_t value_after(const fs::path& path, std::string_view word) {
  std::ifstream file(path);
  std::string key;
  std::uint64_t value = 0;
  for (std::string line; std::getline(file, line);)
    if (std::istringstream(line) >> key >> value && key == word) return value;
  return 0;
}

Bytes left_by_group(const fs::path& group, const CgroupVersion& version) {
  const std::optional<std::uint64_t> usage = number_in(group / version.usage);
  std::uint64_t limit = kUnlimited.count;
  for (const char* file : version.limits)
    limit = std::min(limit, number_in(group / file).value_or(limit));
  if (!usage || limit == kUnlimited.count) return kUnlimited;
  std::uint64_t cached = 0;
  for (const char* word : version.cached) cached += value_after(group / "memory.stat", word);
  const std::uint64_t held = *usage - std::min(*usage, cached);
  return Bytes(limit - std::min(limit, held));
}

// Whether a list like "rw,memory,cpu" has this word; an empty list has the empty one.
bool has_word(const std::string& list, std::string_view word) {
  if (list == word) return true;
  std::istringstream words(list);
  for (std::string one; std::getline(words, one, ',');)
    if (one == word) return true;
  return false;
}

struct Mount {
  std::string root, point;  // the group that is mounted, and where
};

// proc_pid_mountinfo(5): "35 31 0:32 ROOT POINT OPTIONS [TAGS] - TYPE SOURCE OPTIONS"
std::optional<Mount> mount_of(const fs::path& root, const CgroupVersion& version) {
  std::ifstream file(root / "proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t dash = line.find(" - ");
    if (dash == line.npos) continue;
    std::istringstream before(line), after(line.substr(dash + 3));
    std::string id, parent, device, type, source, options;
    Mount mount;
    before >> id >> parent >> device >> mount.root >> mount.point;
    after >> type >> source >> options;
    const bool for_memory = *version.controller == '\0' || has_word(options, version.controller);
    if (type == version.file_system && for_memory) return mount;
  }
  return std::nullopt;
}

// The group of this process, cgroup(7): "0::/path" of version 2, "4:memory:/path" of version 1.
std::optional<std::string> group_of(const fs::path& root, const CgroupVersion& version) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == line.npos) continue;
    if (has_word(line.substr(first + 1, second - first - 1), version.controller))
      return line.substr(second + 1);
  }
  return std::nullopt;
}

// The mounted group and those below it, down to the one of this process. In a container that one
// may be the mounted group, or out of sight: then the mounted one is all there is to ask.
Bytes left_by_version(const fs::path& root, const CgroupVersion& version) {
  const std::optional<Mount> mount = mount_of(root, version);
  const std::optional<std::string> group = group_of(root, version);
  if (!mount || !group) return kUnlimited;
  fs::path at = root / fs::path(mount->point).relative_path();
  Bytes least = left_by_group(at, version);
  for (const fs::path& part : fs::path(*group).lexically_relative(mount->root)) {
    if (part == "..") break;
    least = std::min(least, left_by_group(at /= part, version));
  }
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

Bytes available_memory() {
  const Bytes free = Bytes(value_after("/proc/meminfo", "MemAvailable:") * 1024);
  return std::min({free, left_by_cgroups(), left_by_address_space()});
}

}  // namespace hearth::runtime
