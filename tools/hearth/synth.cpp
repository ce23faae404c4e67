// hearth synth: a random model of a given shape, for measurements of speed and memory; or a model
// with outliers in its keys, for measurements of what their rounding costs.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <deque>
#include <future>

#include "base/error.h"
#include "base/random.h"
#include "io/gguf_writer.h"
#include "runtime/cores.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/flag_value.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/key_outliers.h"
#include "tools/hearth/quantity.h"
#include "tools/hearth/random_blocks.h"
#include "tools/hearth/subcommands.h"
#include "tools/hearth/synth_model.h"
#include "tools/hearth/synth_vocabulary.h"
#include "tools/hearth/terminal.h"

namespace hearth::tools {
namespace {

constexpr std::uint64_t kPieceBytes = 4 << 20;  // what one task generates

struct SynthOptions {
  std::string output, shape = "qwen3-30b-a3b", vocabulary;
  std::optional<std::string> mix;  // else the shape's
  std::optional<Bytes> size;       // of the layers' choice
  bool list = false;
  bool header_only = false;
  std::optional<std::uint32_t> layers, experts, experts_used, embedding, expert_ff, heads, kv_heads,
      head_dim, vocabulary_size, context;
  std::optional<std::string> dense_format, expert_format, down_format, output_format;
  double router_skew = 0.42;
  std::optional<std::string> from;
  KeyOutliers outliers;
  std::uint64_t seed = 0;
  std::uint32_t threads = runtime::available_cores();
};

void add_shape_flags(SynthOptions& o, CommandLine& line) {
  line.group("Shape");
  line.add({.names = "--shape",
            .value = "NAME",
            .help = "shape to start from",
            .choices = synth_shape_names()},
           o.shape);
  const auto add = [&](std::string_view names, std::string_view help, auto& variable) {
    line.add({.names = names, .value = "N", .help = help}, variable);
  };
  add("--layers", "the first layers; of leading dense ones all but the last at most", o.layers);
  line.add({.names = "--size",
            .value = "SIZE",
            .help = "as many layers as this holds, and at least one of each kind"},
           o.size);
  add("--experts", "experts per layer", o.experts);
  add("--top-k", "experts used per token", o.experts_used);
  add("--embedding", "width of the residual stream", o.embedding);
  add("--expert-ff", "width of the hidden layer of an expert", o.expert_ff);
  add("--heads", "attention heads", o.heads);
  add("--kv-heads", "heads of keys and values", o.kv_heads);
  add("--head-dim", "values per head", o.head_dim);
  add("--context", "training context, in tokens", o.context);
  add("--vocab-size", "tokens of a made-up vocabulary", o.vocabulary_size);
  line.add({.names = "--vocab", .value = "FILE", .help = "copy the tokenizer of this GGUF file"},
           o.vocabulary);
}

void add_weight_flags(SynthOptions& o, CommandLine& line) {
  line.group("Weights");
  line.add({.names = "--mix",
            .value = "NAME",
            .help = "q4_k_m (as llama.cpp mixes it), mxfp4_moe (experts in MXFP4, the rest in "
                    "Q8_0), or one format for all; else that of the shape"},
           o.mix);
  const auto add = [&](std::string_view names, std::string_view help, auto& variable) {
    line.add({.names = names, .value = "FORMAT", .help = help}, variable);
  };
  add("--expert-format", "of gate and up of the experts, and of down without --down-format",
      o.expert_format);
  add("--down-format", "of down of the experts, in all layers", o.down_format);
  add("--dense-format", "of attention and token embedding", o.dense_format);
  add("--output-format", "of the output matrix", o.output_format);
  line.add({.names = "--router-skew",
            .value = "SIGMA",
            .help = "of a lognormal gain on the router's rows; 0: all experts equally likely"},
           o.router_skew);
}

void add_outlier_flags(SynthOptions& o, CommandLine& line) {
  line.group("Outliers");
  line.add({.names = "--from",
            .value = "FILE",
            .help = "instead of a random model, a copy of this one that computes the same with "
                    "outliers in its keys"},
           o.from);
  line.add({.names = "--key-outliers",
            .value = "N",
            .help = "channels of every head of keys that become larger, an even number"},
           o.outliers.channels);
  line.add({.names = "--key-gain",
            .value = "G",
            .help = "how many times larger; a power of two changes no bit of an f32 cache"},
           o.outliers.gain);
}

// Of the flags for one kind of model, those for the other would do nothing.
void check_kind(const SynthOptions& o, const CommandLine& line) {
  for (const char* group : {"Shape", "Weights"})
    if (const std::string flag = line.given_in(group); o.from && !flag.empty())
      throw_error(ErrorCode::kUsage, "{} has no effect on a copy of --from; leave one out", flag);
  for (const char* flag : {"--threads", "--header-only"})
    if (o.from && line.given(flag))
      throw_error(ErrorCode::kUsage, "{} has no effect on a copy of --from; leave it out", flag);
  for (const char* flag : {"--key-outliers", "--key-gain"})
    if (!o.from && line.given(flag))
      throw_error(ErrorCode::kUsage, "{} changes a copy of a model; name it with --from", flag);
}

SynthShape chosen_shape(const SynthOptions& o, std::size_t vocabulary) {
  SynthShape shape = synth_shape(o.shape);
  if (shape.count("attention.kv_lora_rank") > 0 && (o.kv_heads || o.head_dim))
    throw_error(ErrorCode::kUsage,
                "{} has no effect on {}, whose heads share one latent; leave it out",
                o.kv_heads ? "--kv-heads" : "--head-dim", shape.name);
  const auto set = [&](std::optional<std::uint32_t> value, std::string_view flag,
                       std::initializer_list<std::string_view> keys) {
    for (const std::string_view key : keys)
      if (value) shape.set(key, *value, flag);
  };
  if (o.layers) shape.set_layers(*o.layers);
  if (o.expert_ff) shape.set_expert_ff(*o.expert_ff);
  set(o.experts, "--experts", {"expert_count"});
  set(o.experts_used, "--top-k", {"expert_used_count"});
  set(o.embedding, "--embedding", {"embedding_length"});
  set(o.heads, "--heads", {"attention.head_count"});
  set(o.kv_heads, "--kv-heads", {"attention.head_count_kv"});
  set(o.head_dim, "--head-dim", {"attention.key_length", "attention.value_length"});
  set(o.context, "--context", {"context_length"});
  shape.vocabulary = static_cast<std::uint32_t>(vocabulary);
  return shape;
}

SynthFormats chosen_formats(const SynthOptions& o, const SynthShape& shape) {
  const auto format_for = [](std::string_view flag, const std::string& name) {
    return parse_for(flag, [&] { return parse_format(name); });
  };
  SynthFormats formats =
      o.mix ? parse_for("--mix", [&] { return synth_mix(*o.mix); }) : synth_mix(shape.mix);
  if (o.dense_format) {
    formats.dense = format_for("--dense-format", *o.dense_format);
    formats.substitutes = false;
  }
  if (o.output_format) formats.output = format_for("--output-format", *o.output_format);
  if (!o.expert_format && !o.down_format) return formats;
  if (o.expert_format)
    formats.expert = formats.down = format_for("--expert-format", *o.expert_format);
  if (o.down_format) formats.down = format_for("--down-format", *o.down_format);
  formats.more_bits = false;
  return formats;
}

// Independent streams for every piece of every tensor, so that the number of threads does not
// matter. splitmix64 itself mixes the three numbers.
Random stream_of(std::uint64_t seed, std::uint64_t tensor, std::uint64_t piece) {
  const std::uint64_t a = Random(seed).next();
  const std::uint64_t b = Random(a ^ tensor).next();
  return Random(Random(b ^ piece).next());
}

// Normal values; a row of the router is scaled by the gain of its expert.
std::vector<std::byte> normal_values(const SynthTensor& tensor, double router_skew, Random random) {
  const bool router = tensor.content == SynthContent::kRouter;
  std::vector<std::byte> bytes(tensor.bytes().count);
  double gain = 1;
  for (std::uint64_t i = 0; i < tensor.values(); ++i) {
    if (router && i % tensor.shape[0] == 0) gain = std::exp(router_skew * random.normal());
    const double center = tensor.content == SynthContent::kNorm   ? 1
                          : tensor.content == SynthContent::kRate ? -1
                                                                  : 0;
    const float value = static_cast<float>(center + gain * tensor.deviation * random.normal());
    std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
  }
  return bytes;
}

// Generates pieces on several threads and appends them in order.
class SynthWriter {
 public:
  SynthWriter(const SynthOptions& options, io::GgufWriter& writer, Bytes total)
      : options_(options), writer_(writer), progress_(stderr, "writing", total) {}

  void add(const SynthTensor& tensor) {
    const std::uint64_t index = tensors_++;
    if (tensor.content != SynthContent::kWeights) {
      push([this, &tensor, random = stream_of(options_.seed, index, 0)] {
        return normal_values(tensor, options_.router_skew, random);
      });
      return;
    }
    const RandomBlocks blocks(tensor.format, tensor.deviation);
    const std::uint64_t row = tensor.row_bytes().count, total = tensor.bytes().count;
    const std::uint64_t step = std::max<std::uint64_t>(1, kPieceBytes / row) * row;
    for (std::uint64_t at = 0, piece = 0; at < total; at += step, ++piece)
      push([blocks, size = std::min(step, total - at),
            random = stream_of(options_.seed, index, piece)]() mutable {
        std::vector<std::byte> bytes(size);
        blocks.fill(random, bytes);
        return bytes;
      });
  }

  void finish() {
    while (!pieces_.empty()) write_oldest();
    writer_.finish();
  }

 private:
  template <typename Task>
  void push(Task task) {
    guard_.throw_if_interrupted();
    if (pieces_.size() > options_.threads) write_oldest();
    pieces_.push_back(std::async(std::launch::async, std::move(task)));
  }

  void write_oldest() {
    const std::vector<std::byte> bytes = pieces_.front().get();
    pieces_.pop_front();
    writer_.append(bytes);
    progress_.advance(Bytes(bytes.size()));
  }

  const SynthOptions& options_;
  io::GgufWriter& writer_;
  Progress progress_;
  InterruptGuard guard_;
  std::uint64_t tensors_ = 0;
  std::deque<std::future<std::vector<std::byte>>> pieces_;
};

void write_model(const SynthOptions& options) {
  const io::GgufMetadata vocabulary = options.vocabulary.empty()
                                          ? made_up_vocabulary(options.vocabulary_size.value_or(
                                                synth_shape(options.shape).vocabulary))
                                          : vocabulary_of_file(options.vocabulary);
  const SynthShape shape =
      chosen_shape(options, vocabulary.strings("tokenizer.ggml.tokens")->size());
  const SynthFormats formats = chosen_formats(options, shape);
  const SynthModel model =
      options.size ? fit_layers(shape, formats, *options.size) : synth_model(shape, formats);

  io::GgufWriter writer(options.output);
  for (const io::GgufMetadata* metadata : {&model.metadata, &vocabulary})
    for (const io::GgufMetadata::Entry& entry : metadata->entries())
      writer.set(entry.key, entry.value);
  for (const SynthTensor& tensor : model.tensors)
    writer.declare(tensor.name, tensor.shape, kernels::traits(tensor.format).gguf_type,
                   tensor.bytes());
  if (options.header_only) return writer.finish_header();
  SynthWriter pieces(options, writer, model.bytes());
  for (const SynthTensor& tensor : model.tensors) pieces.add(tensor);
  pieces.finish();
}

void list_shapes() {
  fmt::print("{:<19}{:<14}{:>6}{:>9}{:>6}{:>12}{:>12}  {}\n", "shape", "architecture", "layers",
             "experts", "top-k", "parameters", "size", "mix");
  for (const std::string& name : synth_shape_names()) {
    const SynthShape shape = synth_shape(name);
    const SynthModel model = synth_model(shape, synth_mix(shape.mix));
    fmt::print("{:<19}{:<14}{:>6}{:>9}{:>6}{:>12}{:>12}  {}\n", name, shape.architecture,
               shape.layers(), shape.count("expert_count"), shape.count("expert_used_count"),
               format_count(model.parameters()), format_size(model.bytes()), shape.mix);
  }
}

}  // namespace

int synth(const Arguments& arguments) {
  SynthOptions options;
  CommandLine line("synth",
                   "Write a model of a known shape with random, well-scaled weights, or a model "
                   "with outliers in its keys.");
  line.add({.names = "-o,--output", .value = "FILE", .help = "GGUF file to write", .writes = true},
           options.output);
  line.add({.names = "--list", .help = "print all shapes, and write nothing"}, options.list);
  line.add({.names = "-t,--threads", .value = "N", .help = "threads that generate"},
           options.threads);
  line.add({.names = "--seed", .value = "N", .help = "the same seed gives the same file"},
           options.seed);
  line.add({.names = "--header-only", .help = "no weights: enough for hearth plan and inspect"},
           options.header_only);
  add_shape_flags(options, line);
  add_weight_flags(options, line);
  add_outlier_flags(options, line);
  if (!line.parse(arguments)) return 0;
  if (options.list) {
    if (arguments.size() > 1) throw_error(ErrorCode::kUsage, "--list takes no other flag");
    list_shapes();
    return 0;
  }
  if (options.output.empty()) throw_error(ErrorCode::kUsage, "--output is required");
  check_kind(options, line);
  if (options.from) {
    options.outliers.seed = options.seed;
    write_with_key_outliers(*options.from, options.output, options.outliers);
    return 0;
  }
  if (options.size && options.layers)
    throw_error(ErrorCode::kUsage, "--size chooses what --layers says; leave one out");
  if (!options.vocabulary.empty() && options.vocabulary_size)
    throw_error(ErrorCode::kUsage, "--vocab-size has no effect with --vocab; leave one out");
  if (!(options.router_skew >= 0 && options.router_skew <= 4))
    throw_error(ErrorCode::kUsage, "--router-skew is not between 0 and 4");
  if (options.threads == 0 || options.threads > 256)
    throw_error(ErrorCode::kUsage, "--threads is not between 1 and 256");
  write_model(options);
  return 0;
}

}  // namespace hearth::tools
