// The table [model] of profiles, traces and plans: which model they belong to.
#pragma once

#include <string>

#include "profiler/model_identity.h"
#include "profiler/table_toml.h"

namespace hearth::profiler {

// The table with its heading, a line per value.
std::string to_toml(const ModelIdentity& model);
// From the table itself. Throws Error(kBadFile).
ModelIdentity read_model_identity(TableReader table);

}  // namespace hearth::profiler
