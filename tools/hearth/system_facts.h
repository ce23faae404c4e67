// What the operating system says about this machine, without measuring anything.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"

namespace hearth::tools {

struct SystemFacts {
  std::string cpu;                        // "AMD Ryzen 7 5700X 8-Core Processor"
  std::uint32_t cores = 1;                // physical, as far as /proc/cpuinfo tells
  Bytes memory;                           // installed, less what the kernel keeps
  Bytes last_level_cache;                 // 0: unknown
  std::string huge_pages;                 // always, madvise, never; empty: not there
  std::uint64_t reserved_huge_pages = 0;  // fixed ones; Hearth takes none
  std::optional<Bytes> locked_memory;     // what a user may lock; empty: without limit
  double load = 0;                        // processes that wanted to run in the last minute
  std::vector<std::string> gpus;          // with a driver: "NVIDIA GeForce RTX 3060 (NVIDIA)"
};

// Whether other processes take so much of the CPU that measuring shows them, too.
inline bool is_busy(const SystemFacts& facts) { return facts.load > 0.5 * facts.cores; }

// `root` stands for "/", so that tests can have a machine of their own.
SystemFacts system_facts(const std::string& root = "");

// Why this system does not give io_uring; empty: it does.
std::string io_uring_refusal();

// "Samsung SSD 980 (nvme0n1), ext4" of what holds the file or folder.
std::string storage_name(const std::string& path, const std::string& root = "");

}  // namespace hearth::tools
