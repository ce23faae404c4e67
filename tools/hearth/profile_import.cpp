// hearth profile import: a profile from counts that another program recorded.
#include <cstdio>

#include "base/error.h"
#include "base/small_file.h"
#include "profiler/profile_counts.h"
#include "profiler/profile_toml.h"
#include "runtime/block_experts.h"
#include "runtime/model_identity.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/model_summary.h"
#include "tools/hearth/profile_files.h"
#include "tools/hearth/profile_verbs.h"
#include "tools/hearth/routing_flags.h"
#include "tools/hearth/sglang_counts.h"

namespace hearth::tools {
namespace {

constexpr Bytes kMostBytes = 256 * kMiB;  // of counts; a thousand samples of a large model

struct ImportOptions {
  std::string counts;
  std::string format;
  std::string model;
  std::string output;
  std::string workload = "imported";
};

bool parse(const Arguments& arguments, ImportOptions& o) {
  CommandLine line(
      "profile import",
      "Make a profile of counts that another program recorded for the same model.\n"
      "What such counts do not tell, as how soon experts are used again, stays unknown.");
  line.add({.names = "COUNTS", .value = "FILE", .help = "the counts", .required = true}, o.counts);
  line.add({.names = "--format",
            .value = "FORM",
            .help = "SGLang's logical_count, layer and expert and count, or Luce Spark's table",
            .required = true,
            .choices = {"sglang", "csv", "spark"}},
           o.format);
  line.add({.names = "-m,--model",
            .value = "FILE",
            .help = "the model they were recorded for",
            .required = true},
           o.model);
  line.add({.names = "-o,--output",
            .value = "FILE",
            .help = "the profile (default: MODEL.profile.toml, beside the model)",
            .writes = true},
           o.output);
  line.add({.names = "--workload", .value = "LABEL", .help = "what kind of text it was"},
           o.workload);
  if (!line.parse(arguments)) return false;
  if (o.output.empty()) o.output = profiler::profile_path_of(o.model);
  if (is_profile_there(o.output))
    throw_error(
        ErrorCode::kBadInput,
        "{}: a profile is there already; import into another with --output and combine them "
        "with 'hearth profile merge'",
        o.output);
  check_workload(o.workload);
  return true;
}

profiler::ExpertProfile import(const ImportOptions& o, const std::string& text,
                               profiler::ExpertProfile shape) {
  if (o.format == "sglang") return import_sglang_json(text, o.counts, std::move(shape), o.workload);
  if (o.format == "csv")
    return profiler::import_counts_csv(text, o.counts, std::move(shape), o.workload);
  return profiler::import_spark_csv(text, o.counts, std::move(shape), o.workload);
}

}  // namespace

int profile_import(const Arguments& arguments) {
  ImportOptions options;
  if (!parse(arguments, options)) return 0;
  const std::string text = read_small_file(options.counts, kMostBytes);
  const io::GgufFile file = open_model_file(options.model);
  profiler::ExpertProfile shape = profiler::empty_profile(
      runtime::identity_of(file), runtime::expert_counts(runtime::experts_of_blocks(file)));
  const profiler::ExpertProfile profile = import(options, text, std::move(shape));
  profiler::save_profile(options.output, profile);
  fmt::print(stderr, "imported  {} into {}\n", workloads_text(profile), options.output);
  return 0;
}

}  // namespace hearth::tools
