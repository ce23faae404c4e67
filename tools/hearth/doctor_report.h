// What hearth doctor found, in words.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "profiler/machine.h"
#include "tools/hearth/system_facts.h"

namespace hearth::tools {

struct DoctorFindings {
  SystemFacts system;
  profiler::Machine machine;
  std::string reader;            // of the disk; empty: not measured
  std::string io_uring_refusal;  // why the system does not give it; empty: it does
};

// One line a subject, "memory    read 20.1 GB/s with 1 thread …", in reading order.
std::vector<std::string> report_lines(const DoctorFindings& findings);

// What bounds decoding here and what would help, as sentences.
std::vector<std::string> verdict_lines(const DoctorFindings& findings);

}  // namespace hearth::tools
