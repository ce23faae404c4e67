#include "runtime/cgroups.h"

#include <fstream>
#include <sstream>
#include <string>

namespace hearth::runtime {
namespace {

namespace fs = std::filesystem;

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
std::optional<Mount> mount_of(CgroupVersion version, std::string_view controller,
                              const fs::path& root) {
  std::ifstream file(root / "proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t dash = line.find(" - ");
    if (dash == line.npos) continue;
    std::istringstream before(line), after(line.substr(dash + 3));
    std::string id, parent, device, type, source, options;
    Mount mount;
    before >> id >> parent >> device >> mount.root >> mount.point;
    after >> type >> source >> options;
    if (version == CgroupVersion::k2 ? type == "cgroup2"
                                     : type == "cgroup" && has_word(options, controller))
      return mount;
  }
  return std::nullopt;
}

// The group of this process, cgroup(7): "0::/path" of version 2, "4:memory:/path" of version 1.
std::optional<std::string> group_of(CgroupVersion version, std::string_view controller,
                                    const fs::path& root) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == line.npos) continue;
    if (has_word(line.substr(first + 1, second - first - 1),
                 version == CgroupVersion::k2 ? "" : controller))
      return line.substr(second + 1);
  }
  return std::nullopt;
}

}  // namespace

std::vector<fs::path> cgroups_of(CgroupVersion version, std::string_view controller,
                                 const fs::path& root) {
  const std::optional<Mount> mount = mount_of(version, controller, root);
  const std::optional<std::string> group = group_of(version, controller, root);
  if (!mount || !group) return {};
  std::vector<fs::path> folders{root / fs::path(mount->point).relative_path()};
  for (const fs::path& part : fs::path(*group).lexically_relative(mount->root)) {
    if (part == "..") break;
    folders.push_back(folders.back() / part);
  }
  return folders;
}

std::optional<std::uint64_t> number_in(const fs::path& file) {
  std::ifstream stream(file);
  std::uint64_t number = 0;
  if (stream >> number) return number;
  return std::nullopt;
}

}  // namespace hearth::runtime
