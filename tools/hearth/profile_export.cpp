// hearth profile export: counts of a profile in the forms of other programs.
#include <cstdio>

#include "base/error.h"
#include "profiler/plan_toml.h"
#include "profiler/profile_counts.h"
#include "profiler/profile_toml.h"
#include "profiler/whole_layers.h"
#include "runtime/block_experts.h"
#include "runtime/model_identity.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/model_summary.h"
#include "tools/hearth/profile_files.h"
#include "tools/hearth/profile_verbs.h"
#include "tools/hearth/sglang_counts.h"

namespace hearth::tools {
namespace {

struct ExportOptions {
  std::string profile;
  std::string format;
  std::string output = "-";
  std::string model;
  std::optional<Bytes> vram;
  std::string plan;
};

bool parse(const Arguments& arguments, ExportOptions& o) {
  CommandLine line("profile export", "Write what a profile knows for another program.");
  line.add({.names = "PROFILE",
            .value = "FILE",
            .help = "a profile, or the model it lies beside",
            .required = true},
           o.profile);
  line.add({.names = "--format",
            .value = "FORM",
            .help = "SGLang's logical_count, arguments of llama.cpp that put whole layers on the "
                    "GPU, layer and expert and count, or Luce Spark's table",
            .required = true,
            .choices = {"sglang", "llama.cpp", "csv", "spark"}},
           o.format);
  line.add({.names = "-o,--output",
            .value = "FILE|-",
            .help = "what is written; - is standard output",
            .writes = true},
           o.output);
  line.group("For llama.cpp");
  line.add(
      {.names = "-m,--model", .value = "FILE", .help = "the model, for the bytes of its layers"},
      o.model);
  line.add({.names = "--vram", .value = "SIZE", .help = "GPU memory for experts"}, o.vram);
  line.add({.names = "--plan",
            .value = "FILE",
            .help = "or as much of it as this plan has (hearth plan --vram)"},
           o.plan);
  if (!line.parse(arguments)) return false;
  const bool for_llama = o.format == "llama.cpp";
  if (for_llama && (o.model.empty() || o.vram.has_value() == !o.plan.empty()))
    throw_error(
        ErrorCode::kUsage,
        "--format llama.cpp needs --model and either --vram or --plan, to know which layers "
        "fit");
  if (!for_llama && (!o.model.empty() || o.vram || !o.plan.empty()))
    throw_error(ErrorCode::kUsage,
                "--model, --vram and --plan have no effect with --format {}; leave them out",
                o.format);
  return true;
}

Bytes expert_memory_of_plan(const std::string& path, const profiler::ModelIdentity& model) {
  const profiler::PlacementPlan plan = profiler::load_plan(path);
  if (const auto different = profiler::difference(plan.model, model))
    throw_error(ErrorCode::kBadInput, "{}: the plan {}", printable(path), *different);
  if (!plan.vram)
    throw_error(ErrorCode::kBadInput,
                "{}: the plan has no memory of a GPU; make one with hearth plan --vram",
                printable(path));
  return plan.vram->experts;
}

// Of the experts of each layer of the profile, also where Hearth does not run the model.
std::vector<Bytes> bytes_of_layers(const profiler::NamedProfile& named, const std::string& path) {
  const io::GgufFile file = open_model_file(path);
  const std::vector<runtime::BlockExperts> blocks = runtime::experts_of_blocks(file);
  profiler::check_profile_of(named.profile, runtime::identity_of(file),
                             runtime::expert_counts(blocks), named.name);
  std::vector<Bytes> bytes;
  for (const profiler::LayerProfile& layer : named.profile.layers) {
    if (!blocks[layer.layer].bytes)
      throw_error(ErrorCode::kUnsupported,
                  "{}: the experts of layer {} have a format whose size is not known here",
                  printable(path), layer.layer);
    bytes.push_back(*blocks[layer.layer].bytes);
  }
  return bytes;
}

std::string llama_text(const profiler::NamedProfile& named, const ExportOptions& o) {
  const std::vector<Bytes> bytes = bytes_of_layers(named, o.model);
  const Bytes budget = o.vram ? *o.vram : expert_memory_of_plan(o.plan, named.profile.model);
  return profiler::llama_arguments(profiler::place_whole_layers(named.profile, bytes, budget));
}

std::string text_of(const profiler::NamedProfile& named, const ExportOptions& o) {
  if (o.format == "sglang") return sglang_json(named.profile);
  if (o.format == "csv") return profiler::counts_csv(named.profile);
  if (o.format == "spark") return profiler::spark_csv(named.profile);
  return llama_text(named, o);
}

}  // namespace

int profile_export(const Arguments& arguments) {
  ExportOptions options;
  if (!parse(arguments, options)) return 0;
  const profiler::NamedProfile profile = load_named_profile(options.profile);
  write_output(options.output, text_of(profile, options));
  return 0;
}

}  // namespace hearth::tools
