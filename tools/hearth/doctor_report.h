// What hearth doctor found, in words.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "profiler/machine.h"
#include "tools/hearth/system_facts.h"

namespace hearth::tools {

// Beside what is in the machine.
struct GpuFindings {
  std::string about;    // the one that was to be measured: "sm_89, CUDA 13.0"
  std::string missing;  // why there is none: "CUDA: no NVIDIA device …"; empty: not looked for
  bool stream_memory_operations = true;
  bool launches_overlap = false;
  Bytes pinned;  // that was tried
};

struct DoctorFindings {
  SystemFacts system;
  profiler::Machine machine;
  std::string reader;            // of the disk; empty: not measured
  std::string io_uring_refusal;  // why the system does not give it; empty: it does
  GpuFindings gpu;
};

// One line a subject, "memory    read 20.1 GB/s with 1 thread …", in reading order.
std::vector<std::string> report_lines(const DoctorFindings& findings);

// What bounds decoding here and what would help, as sentences.
std::vector<std::string> verdict_lines(const DoctorFindings& findings);

}  // namespace hearth::tools
