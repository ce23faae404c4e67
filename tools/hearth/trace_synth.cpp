// hearth trace synth: the routing of a made-up model.

#include "base/error.h"
#include "profiler/synthetic_trace.h"
#include "profiler/trace_file.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/trace_verbs.h"

namespace hearth::tools {
namespace {

using profiler::Mood;
using profiler::SyntheticRouting;

struct TraceSynthOptions {
  std::string output, preset = "qwen3-30b-a3b", workload = "synthetic";
  std::uint32_t tokens = 1024;
  std::optional<std::uint32_t> layers, experts, experts_per_row, even_layers;
  std::optional<std::uint32_t> topics, topic_tokens, first_topic;
  std::optional<double> skew, first_layer, layer_spread, topic_strength;
  std::vector<std::string> moods;
  std::optional<std::uint64_t> model_seed, seed;
};

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const SyntheticRouting& preset : profiler::synthetic_presets()) names.push_back(preset.name);
  return names;
}

void add_flags(TraceSynthOptions& o, CommandLine& line) {
  line.add({.names = "-o,--output",
            .value = "FILE",
            .help = "trace to write",
            .required = true,
            .writes = true},
           o.output);
  line.add({.names = "--preset",
            .value = "NAME",
            .help = "routing to start from",
            .choices = preset_names()},
           o.preset);
  line.add({.names = "-n,--tokens", .value = "N", .help = "decoded tokens"}, o.tokens);
  line.add({.names = "--workload", .value = "LABEL", .help = "written into the trace"}, o.workload);
  const auto add = [&](std::string_view names, std::string_view value, std::string_view help,
                       auto& variable) {
    line.add({.names = names, .value = value, .help = help}, variable);
  };
  line.group("Shape");
  add("--layers", "N", "layers", o.layers);
  add("--experts", "N", "experts per layer", o.experts);
  add("--top-k", "N", "experts used per token", o.experts_per_row);
  line.group("Popularity (strengths in octaves: doublings of the chance to be chosen)");
  add("--skew", "X", "strength of what lasts", o.skew);
  add("--mood", "X:TOKENS", "strength and length of what changes; repeat it for several", o.moods);
  add("--first-layer", "PART", "part of all strengths that layer 0 has", o.first_layer);
  add("--even-layers", "N", "layer from which on it is the whole", o.even_layers);
  add("--layer-spread", "PART", "by which layers are more or less even", o.layer_spread);
  line.group("Topics");
  add("--topic-strength", "X", "in octaves", o.topic_strength);
  add("--topics", "N", "that take turns", o.topics);
  add("--topic-tokens", "N", "after which another one begins", o.topic_tokens);
  add("--first-topic", "N", "number of the first one: traces with the same topics share experts",
      o.first_topic);
  line.group("Chance");
  add("--model-seed", "N", "of popularity and topics", o.model_seed);
  add("--seed", "N", "of everything else", o.seed);
}

Mood parse_mood(const std::string& text) {
  const std::size_t colon = text.find(':');
  if (colon == text.npos)
    throw_error(ErrorCode::kUsage,
                "--mood: '{}' is not a strength and a number of tokens; write it as 1.5:100",
                printable(text));
  const std::string_view view = text;
  return {.strength = parse_real(view.substr(0, colon)),
          .tokens = parse_real(view.substr(colon + 1))};
}

SyntheticRouting chosen_routing(const TraceSynthOptions& o) {
  SyntheticRouting routing = *profiler::find_synthetic_preset(o.preset);
  const auto override_with = [](const auto& value, auto& field) {
    if (value) field = *value;
  };
  override_with(o.layers, routing.layers);
  override_with(o.experts, routing.experts);
  override_with(o.experts_per_row, routing.experts_per_row);
  override_with(o.skew, routing.skew);
  override_with(o.first_layer, routing.first_layer);
  override_with(o.even_layers, routing.even_layers);
  override_with(o.layer_spread, routing.layer_spread);
  override_with(o.topic_strength, routing.topic_strength);
  override_with(o.topics, routing.topics);
  override_with(o.topic_tokens, routing.topic_tokens);
  override_with(o.first_topic, routing.first_topic);
  override_with(o.model_seed, routing.model_seed);
  override_with(o.seed, routing.seed);
  if (!o.moods.empty()) {
    routing.moods.clear();
    for (const std::string& mood : o.moods) routing.moods.push_back(parse_mood(mood));
  }
  return routing;
}

// A flag that another one makes void is a mistake.
void check_topics(const TraceSynthOptions& o, const SyntheticRouting& routing) {
  if (o.topics && *o.topics > 1 && !o.topic_tokens)
    throw_error(ErrorCode::kUsage, "--topics needs --topic-tokens, the length of one");
  if (o.topic_tokens && routing.topics == 1)
    throw_error(ErrorCode::kUsage, "--topic-tokens has no effect with one topic; add --topics");
  if (routing.topics > 1 && routing.topic_strength == 0)
    throw_error(ErrorCode::kUsage,
                "--topics has no effect where they have no strength; add --topic-strength");
}

}  // namespace

int trace_synth(const Arguments& arguments) {
  TraceSynthOptions options;
  CommandLine line("trace synth",
                   "Write the routing of a made-up model: a preset has that of the model it is "
                   "named after, as far as it was published.");
  add_flags(options, line);
  if (!line.parse(arguments)) return 0;
  const SyntheticRouting routing = chosen_routing(options);
  check_topics(options, routing);
  const profiler::RoutingTrace trace =
      profiler::make_synthetic_trace(routing, options.tokens, options.workload);
  profiler::TraceWriter writer(options.output, trace.header(), 1);
  for (std::size_t step = 0; step < trace.steps(); ++step)
    for (std::size_t layer = 0; layer < trace.header().layers.size(); ++layer)
      writer.add(trace.decision(step, layer));
  writer.finish();
  return 0;
}

}  // namespace hearth::tools
