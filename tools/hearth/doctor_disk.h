// What a disk gives to the reader of the engine: random reads of the sizes of experts.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "profiler/machine.h"

namespace hearth::tools {

struct DiskProbe {
  std::string path;             // a file that is read, or a folder where one is made for a while
  std::span<std::byte> memory;  // where reads go: far more than the caches, or they look too fast
  std::vector<Bytes> sizes;
  std::vector<std::uint32_t> depths;
  Nanoseconds time{};                              // of each size and depth
  Bytes test_file;                                 // of the file made in a folder
  std::function<void(std::string_view)> progress;  // before each measurement; may throw to stop
  std::function<void(std::string_view)> note;      // what the user must know: a file is written
};

struct DiskMeasurement {
  profiler::DiskMachine disk;
  std::string reader;  // "io_uring, O_DIRECT, 512-byte alignment"
};

// Throws Error(kNotFound / kIo / kBadInput): no such path, too small a file, no space for one of
// that size in a folder.
void check_disk(const std::string& path, Bytes test_file);

// Throws what check_disk() throws, and Error(kIo) where reading or writing fails.
// A test file that was made is gone when this returns or throws. It has no name, so that not even a
// killed process leaves it, or where the file system has no such files, one until it is written.
DiskMeasurement measure_disk(const DiskProbe& probe);

}  // namespace hearth::tools
