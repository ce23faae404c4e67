#include "api/arguments.h"

#include "api/status.h"

namespace hearth::border {
namespace {

constexpr std::size_t kMostLabelBytes = 64;

}  // namespace

std::string path_of(const char* given, const char* name) {
  std::string path(&required(given, name));
  if (path.empty()) throw Misuse(HEARTH_ERROR_USAGE, "{} is empty; give one", name);
  return path;
}

std::string workload_of(const char* given) {
  std::string label(&required(given, "workload"));
  if (label.empty() || printable(label, kMostLabelBytes) != label)
    throw Misuse(HEARTH_ERROR_USAGE,
                 "workload '{}' is no label; give at most {} bytes on one line, as code or chat",
                 printable(label), kMostLabelBytes);
  return label;
}

bool flag(std::int32_t given, const char* name) {
  if (given != 0 && given != 1)
    throw Misuse(HEARTH_ERROR_USAGE, "{} is {}; give 0 or 1", name, given);
  return given == 1;
}

}  // namespace hearth::border
