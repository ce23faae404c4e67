#include "tools/hearth/synth_model.h"

#include <charconv>
#include <cmath>
#include <deque>
#include <map>

#include "base/error.h"
#include "runtime/model.h"

namespace hearth::tools {
namespace {

using kernels::WeightFormat;

constexpr double kNormDeviation = 0.05;
constexpr double kBiasDeviation = 0.1;

struct LayerName {
  std::optional<std::uint32_t> layer;
  std::string_view suffix;  // the whole name outside of layers
};

// "blk.12.attn_q.weight" → 12, "attn_q.weight"
LayerName split_name(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  if (!name.starts_with(kPrefix)) return {.layer = {}, .suffix = name};
  std::uint32_t layer = 0;
  const char* const end =
      std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer).ptr;
  return {.layer = layer, .suffix = name.substr(static_cast<std::size_t>(end - name.data()) + 1)};
}

// Makes what the loader asks for.
class SynthTensors final : public runtime::TensorSource {
 public:
  SynthTensors(const SynthShape& shape, const SynthFormats& formats)
      : shape_(shape), formats_(formats) {
    const std::uint64_t sizes[] = {shape.count("embedding_length"), shape.vocabulary};
    find(std::string(kEmbedding), sizes);
  }

  bool has(const std::string& name) override {
    const auto [layer, suffix] = split_name(name);
    const auto found = shape_.tensors.find(suffix);
    return found != shape_.tensors.end() && found->second[layer.value_or(0) % found->second.size()];
  }

  const io::GgufTensor* find(const std::string& name,
                             std::span<const std::uint64_t> shape) override {
    const auto known = index_.find(name);
    if (known != index_.end()) return known->second;
    SynthTensor& made = tensors_.emplace_back(make(name, shape));
    io::GgufTensor& entry = entries_.emplace_back();
    entry.name = name;
    std::copy(shape.begin(), shape.end(), entry.shape.begin());
    entry.dimensions = static_cast<std::uint32_t>(shape.size());
    entry.type_id = kernels::traits(made.format).gguf_type;
    index_.emplace(name, &entry);
    return &entry;
  }

  std::vector<SynthTensor> take() { return std::move(tensors_); }

 private:
  static constexpr std::string_view kEmbedding = "token_embd.weight", kOutput = "output.weight";

  SynthTensor make(const std::string& name, std::span<const std::uint64_t> shape) {
    const auto [layer, suffix] = split_name(name);
    SynthTensor tensor{.name = name,
                       .shape = {shape.begin(), shape.end()},
                       .format = {},
                       .content = SynthContent::kWeights,
                       .deviation = kNormDeviation};
    tensor.format = format_of(
        formats_, {.name = name,
                   .layer = layer,
                   .layers = shape_.layers(),
                   .experts = shape_.count("expert_count"),
                   .dimensions = static_cast<std::uint32_t>(shape.size()),
                   .columns = shape[0],
                   .is_output = name == kOutput || (name == kEmbedding && !has_output())});
    describe(suffix, tensor);
    return tensor;
  }

  // What the values of a tensor are, by its name.
  void describe(std::string_view suffix, SynthTensor& tensor) const {
    const double unit = 1 / std::sqrt(static_cast<double>(tensor.shape[0]));
    const auto is = [&](std::string_view part) { return suffix.find(part) != suffix.npos; };
    if (suffix == "ffn_gate_inp.weight") {
      tensor.content = SynthContent::kRouter;
      tensor.deviation = unit;
    } else if (suffix == "ssm_a") {
      tensor.content = SynthContent::kRate;
    } else if (suffix == "exp_probs_b.bias") {  // of the size of the probabilities' differences
      tensor.deviation = 0.1 / shape_.count("expert_count");
    } else if (suffix.ends_with(".bias")) {
      tensor.deviation = kBiasDeviation;
    } else if (suffix == "attn_sinks.weight") {
      tensor.deviation = 1;
    } else if (is("norm") || is("scale") || is("rope_freqs")) {
      tensor.content = SynthContent::kNorm;
    } else if (suffix == kEmbedding) {
      // Logits of standard deviation 1 come from rows of 1; where they also are the output, the
      // architecture that has it so scales what it embeds.
      tensor.deviation = has_output() ? 1 : unit;
    } else {
      tensor.deviation =
          unit * (is("attn_output") || is("ffn_down") || is("ssm_out") ? branch() : 1);
    }
  }

  bool has_output() const { return shape_.tensors.contains(kOutput); }
  // Two branches per layer add to the residual stream: together they may double its variance.
  double branch() const { return 1.0 / std::sqrt(2.0 * shape_.layers()); }

  const SynthShape& shape_;
  const SynthFormats& formats_;
  std::vector<SynthTensor> tensors_;
  std::deque<io::GgufTensor> entries_;  // stable addresses
  std::map<std::string, const io::GgufTensor*> index_;
};

// What the flags can get wrong; the loader says the rest.
void check_shape(const SynthShape& s) {
  const auto require = [](bool fine, std::string_view what) {
    if (!fine) throw_error(ErrorCode::kUsage, "{}", what);
  };
  const std::uint32_t experts = s.count("expert_count"), used = s.count("expert_used_count");
  require(experts > 0 && experts <= 16384, "--experts is not between 1 and 16384");
  require(used > 0 && used <= experts && used <= 256,
          "--top-k is not between 1 and --experts, at most 256");
  require(s.count("embedding_length") > 0, "--embedding must not be 0");
  require(s.count("context_length") > 0, "--context must not be 0");
  require(s.layers() > s.count("leading_dense_block_count"),
          "--layers leaves no layer with experts");
}

}  // namespace

std::uint64_t SynthTensor::values() const {
  std::uint64_t product = 1;
  for (const std::uint64_t size : shape) product *= size;
  return product;
}

Bytes SynthTensor::row_bytes() const {
  const kernels::WeightFormatTraits& traits = kernels::traits(format);
  return Bytes(shape[0] / traits.values_per_block * traits.bytes_per_block);
}

Bytes SynthTensor::bytes() const { return row_bytes() * (values() / shape[0]); }

std::uint64_t SynthModel::parameters() const {
  std::uint64_t sum = 0;
  for (const SynthTensor& tensor : tensors) sum += tensor.values();
  return sum;
}

Bytes SynthModel::bytes() const {
  Bytes sum;
  for (const SynthTensor& tensor : tensors) sum += tensor.bytes();
  return sum;
}

SynthModel synth_model(const SynthShape& shape, const SynthFormats& formats) {
  check_shape(shape);
  SynthModel model{.metadata = shape.file_metadata(), .tensors = {}};
  SynthTensors tensors(shape, formats);
  const auto file = io::GgufFile::unwritten(model.metadata, shape.name);
  try {
    runtime::build_model(file, &tensors);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBadFile) throw;
    throw_error(ErrorCode::kUsage, "no model can have this shape: {}", error.what());
  }
  model.tensors = tensors.take();
  return model;
}

SynthModel fit_layers(const SynthShape& shape, const SynthFormats& formats, Bytes size) {
  for (std::uint32_t layers = shape.layers();; --layers) {
    SynthShape cut = shape;
    cut.set_layers(layers);
    SynthModel model = synth_model(cut, formats);
    if (model.bytes() <= size || layers == shape.fewest_layers()) return model;
  }
}

}  // namespace hearth::tools
