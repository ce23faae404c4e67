// Counts per expert as other programs read and write them. Everything else of a profile is lost on
// the way out and unknown on the way in.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "profiler/expert_profile.h"

namespace hearth::profiler {

// Uses of every expert: a row for each block of the model.
using CountTable = std::vector<std::vector<std::uint64_t>>;

// Every row has the experts of the largest layer, zeros where there are none.
CountTable counts_of(const ExpertProfile& profile);

// "layer,expert,count" with these names in the first line; layers are the blocks of the model.
std::string counts_csv(const ExpertProfile& profile);
// As Luce Spark keeps it in "<model>.gguf.spark.csv": two lines of comment, then a row per block.
std::string spark_csv(const ExpertProfile& profile);

// The empty profile `shape` (see empty_profile) filled with counts read from a file. `recent` is
// set to the counts, tokens are the fewest that can have made them, and none is known to have been
// generated. Throw Error(kBadFile) for what is not of that form and Error(kBadInput) for what does
// not fit the shape or has no counts at all; `name` appears in messages.
ExpertProfile import_counts_csv(std::string_view text, const std::string& name, ExpertProfile shape,
                                const std::string& workload);
ExpertProfile import_spark_csv(std::string_view text, const std::string& name, ExpertProfile shape,
                               const std::string& workload);
// Rows may also be those of the layers with experts alone.
ExpertProfile import_counts(const CountTable& counts, const std::string& name, ExpertProfile shape,
                            const std::string& workload);

}  // namespace hearth::profiler
