#include "tools/hearth/system_facts.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "io/async_reader.h"

namespace hearth::tools {
namespace {

namespace fs = std::filesystem;

// Files of /proc and /sys have no size; a line of one that is longer than this says nothing here.
constexpr std::size_t kLongestName = 100;

std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return printable(trimmed(line), kLongestName);
}

std::uint64_t number_of(std::string_view text) {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// Calls visit(key, value) for the lines "key : value" of a file.
template <typename Visit>
void for_entries(const std::string& path, Visit&& visit) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string_view whole = line;
    visit(trimmed(whole.substr(0, colon)), trimmed(whole.substr(colon + 1)));
  }
}

void read_cpu(const std::string& root, SystemFacts& facts) {
  std::set<std::pair<std::string, std::string>> cores;  // of (socket, core)
  std::string socket;
  std::uint32_t processors = 0;
  for_entries(root + "/proc/cpuinfo", [&](std::string_view key, std::string_view value) {
    if (key == "processor") ++processors;
    if (key == "model name" && facts.cpu.empty()) facts.cpu = printable(value, kLongestName);
    if (key == "physical id") socket = value;
    if (key == "core id") cores.emplace(socket, value);
  });
  if (facts.cpu.empty()) facts.cpu = "a CPU without a name";
  facts.cores = std::max(1u, cores.empty() ? processors : static_cast<std::uint32_t>(cores.size()));
}

void read_memory(const std::string& root, SystemFacts& facts) {
  for_entries(root + "/proc/meminfo", [&](std::string_view key, std::string_view value) {
    if (key == "MemTotal") facts.memory = kKiB * number_of(value);
    if (key == "HugePages_Total") facts.reserved_huge_pages = number_of(value);
  });
  // "always [madvise] never": the one in brackets is in force.
  const std::string choices = first_line(root + "/sys/kernel/mm/transparent_hugepage/enabled");
  const std::size_t open = choices.find('['), close = choices.find(']');
  if (open < close && close != std::string::npos)
    facts.huge_pages = choices.substr(open + 1, close - open - 1);
  const std::string caches = root + "/sys/devices/system/cpu/cpu0/cache";
  for (int level = 0; level < 8; ++level) {
    const std::string size = first_line(fmt::format("{}/index{}/size", caches, level));
    if (size.ends_with("K"))
      facts.last_level_cache = std::max(facts.last_level_cache, kKiB * number_of(size));
  }
}

std::vector<fs::path> entries_of(const std::string& folder) {
  std::error_code error;
  std::vector<fs::path> entries;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    entries.push_back(at->path());
  std::ranges::sort(entries);
  return entries;
}

std::vector<std::string> nvidia_gpus(const std::string& root) {
  std::vector<std::string> gpus;
  for (const fs::path& gpu : entries_of(root + "/proc/driver/nvidia/gpus"))
    for_entries((gpu / "information").string(), [&](std::string_view key, std::string_view value) {
      if (key == "Model") gpus.push_back(printable(value, kLongestName));
    });
  std::error_code error;
  if (gpus.empty() && fs::exists(root + "/dev/nvidia0", error)) gpus.emplace_back("an NVIDIA GPU");
  return gpus;
}

// AMD and Intel cards have a driver that offers a render node.
std::vector<std::string> drm_gpus(const std::string& root) {
  std::vector<std::string> gpus;
  for (const fs::path& node : entries_of(root + "/sys/class/drm")) {
    if (!node.filename().string().starts_with("renderD")) continue;
    const std::string vendor = first_line((node / "device/vendor").string());
    const std::string name = first_line((node / "device/product_name").string());
    if (vendor == "0x1002") gpus.push_back(name.empty() ? "an AMD GPU" : name);
    if (vendor == "0x8086") gpus.emplace_back("an Intel GPU");
  }
  std::error_code error;
  if (gpus.empty() && fs::exists(root + "/dev/kfd", error)) gpus.emplace_back("an AMD GPU");
  return gpus;
}

std::string_view file_system_name(std::uint64_t magic) {
  constexpr std::pair<std::uint64_t, std::string_view> kNames[] = {
      {0xef53, "ext4"},     {0x58465342, "xfs"},   {0x9123683e, "btrfs"},
      {0xf2f52010, "f2fs"}, {0x01021994, "tmpfs"}, {0x794c7630, "overlay"},
      {0x6969, "nfs"},      {0x2fc12fc1, "zfs"},   {0x65735546, "fuse"},
      {0x5346544e, "ntfs"}, {0x7366746e, "ntfs3"}, {0x2011bab0, "exfat"},
      {0x4d44, "vfat"},     {0xff534d42, "cifs"},  {0xca451a4e, "bcachefs"},
      {0x01021997, "9p"},   {0x858458f6, "ramfs"}, {0x6a656a63, "virtiofs"},
  };
  for (const auto& [number, name] : kNames)
    if (number == magic) return name;
  return "a file system without a known name";
}

}  // namespace

SystemFacts system_facts(const std::string& root) {
  SystemFacts facts;
  read_cpu(root, facts);
  read_memory(root, facts);
  std::ifstream(root + "/proc/loadavg") >> facts.load;
  rlimit limit{};
  const bool bounded = geteuid() != 0 && getrlimit(RLIMIT_MEMLOCK, &limit) == 0;  // not for root
  if (bounded && limit.rlim_cur != RLIM_INFINITY) facts.locked_memory = Bytes(limit.rlim_cur);
  facts.gpus = nvidia_gpus(root);
  const std::vector<std::string> others = drm_gpus(root);
  facts.gpus.insert(facts.gpus.end(), others.begin(), others.end());
  return facts;
}

std::string io_uring_refusal() {
  try {
    io::AsyncReader::open({"/proc/self/exe"}, {.backend = io::IoBackend::kUring});
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

std::string storage_name(const std::string& path, const std::string& root) {
  struct stat status{};
  struct statfs system{};
  if (stat(path.c_str(), &status) != 0 || statfs(path.c_str(), &system) != 0)
    return "a disk without a name";
  const std::string file_system(file_system_name(static_cast<std::uint64_t>(system.f_type)));

  std::error_code error;
  const std::string number =
      fmt::format("{}/sys/dev/block/{}:{}", root, major(status.st_dev), minor(status.st_dev));
  fs::path device = fs::canonical(number, error);
  if (error) return file_system;  // no block device below: a network, memory, several disks
  if (fs::exists(device / "partition", error)) device = device.parent_path();
  const std::string model = first_line((device / "device/model").string());
  const std::string name = printable(device.filename().string(), kLongestName);
  return model.empty() ? fmt::format("{}, {}", name, file_system)
                       : fmt::format("{} ({}), {}", model, name, file_system);
}

}  // namespace hearth::tools
