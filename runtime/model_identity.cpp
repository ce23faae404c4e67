#include "runtime/model_identity.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <string_view>
#include <type_traits>

#include "base/error.h"
#include "io/byte_source.h"
#include "kernels/weight_format.h"
#include "runtime/metadata_reader.h"

namespace hearth::runtime {
namespace {

// XXH3 over values, each with its length where that varies, so that no two sequences look alike.
class Fingerprint {
 public:
  Fingerprint() { XXH3_64bits_reset(state_.get()); }

  void add(std::uint64_t value) { XXH3_64bits_update(state_.get(), &value, sizeof value); }
  void add(std::int64_t value) { add(static_cast<std::uint64_t>(value)); }
  void add(bool value) { add(std::uint64_t{value}); }
  void add(double value) { XXH3_64bits_update(state_.get(), &value, sizeof value); }
  void add(std::string_view text) {
    add(std::uint64_t{text.size()});
    XXH3_64bits_update(state_.get(), text.data(), text.size());
  }
  void add(const std::string& text) { add(std::string_view(text)); }
  void add(std::span<const std::byte> bytes) {
    XXH3_64bits_update(state_.get(), bytes.data(), bytes.size());
  }
  void add(const std::shared_ptr<io::GgufArray>& array) {
    add(std::uint64_t{array->values.index()});
    std::visit(
        [&](const auto& values) {
          add(std::uint64_t{values.size()});
          for (const auto& value : values)
            add(static_cast<typename std::decay_t<decltype(values)>::value_type>(value));
        },
        array->values);
  }

  // Never 0, which stands for what was not looked at.
  std::uint64_t value() const {
    return std::max<std::uint64_t>(XXH3_64bits_digest(state_.get()), 1);
  }

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> state_{XXH3_createState()};
};

// Keys that say how the file was made from the model: by splitting, aligning and quantising.
bool tells_of_the_file(std::string_view key) {
  constexpr std::array<std::string_view, 4> kKeys = {"general.file_type",
                                                     "general.quantization_version",
                                                     "general.quantized_by", "general.alignment"};
  return key.starts_with("split.") || key.starts_with("quantize.") ||
         std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end();
}

std::uint64_t metadata_fingerprint(const io::GgufMetadata& metadata) {
  std::map<std::string_view, const io::GgufValue*> sorted;
  for (const io::GgufMetadata::Entry& entry : metadata.entries())
    if (!tells_of_the_file(entry.key)) sorted.emplace(entry.key, &entry.value);
  Fingerprint fingerprint;
  for (const auto& [key, value] : sorted) {
    fingerprint.add(key);
    fingerprint.add(std::uint64_t{value->index()});
    std::visit([&](const auto& each) { fingerprint.add(each); }, *value);
  }
  return fingerprint.value();
}

using TensorsByName = std::map<std::string_view, const io::GgufTensor*>;

TensorsByName tensors_by_name(const io::GgufFile& file) {
  TensorsByName sorted;
  for (const io::GgufTensor& tensor : file.tensors()) sorted.emplace(tensor.name, &tensor);
  return sorted;
}

std::uint64_t shape_fingerprint(const TensorsByName& tensors) {
  Fingerprint fingerprint;
  for (const auto& [name, tensor] : tensors) {
    fingerprint.add(name);
    for (const std::uint64_t size : tensor->shape) fingerprint.add(size);
  }
  return fingerprint.value();
}

std::uint64_t type_fingerprint(const TensorsByName& tensors) {
  Fingerprint fingerprint;
  for (const auto& [name, tensor] : tensors) {
    fingerprint.add(name);
    fingerprint.add(std::uint64_t{tensor->type_id});
  }
  return fingerprint.value();
}

bool holds_experts(const io::GgufTensor& tensor) {
  return tensor.dimensions == 3 && tensor.name.ends_with("_exps.weight");
}

// Experts, and the routers, which decide what a profile or a trace says.
bool is_sampled(const io::GgufTensor& tensor) {
  return tensor.size && (holds_experts(tensor) || tensor.name.ends_with(".ffn_gate_inp.weight"));
}

std::string format_text(std::uint32_t type_id) {
  const auto format = kernels::format_of_gguf_type(type_id);
  return format ? std::string(kernels::traits(*format).name) : fmt::format("type {}", type_id);
}

// "Q4_K 83 %, Q6_K 17 %", by descending share. The bytes of a format that is not known cannot be
// told; its values stand for them.
std::string expert_formats(const TensorsByName& tensors) {
  std::map<std::string, double> bytes;
  double total = 0;
  for (const auto& [name, tensor] : tensors) {
    if (!holds_experts(*tensor)) continue;
    const auto size = static_cast<double>(tensor->size ? tensor->size->count : tensor->elements());
    bytes[format_text(tensor->type_id)] += size;
    total += size;
  }
  std::vector<std::pair<std::string, double>> sorted(bytes.begin(), bytes.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (const auto& [format, size] : sorted) {
    const double percent = 100 * size / total;
    text += fmt::format("{}{} {} %", text.empty() ? "" : ", ", format,
                        percent < 1 ? "<1" : fmt::format("{:.0f}", percent));
  }
  return text;
}

std::uint32_t most_experts(const TensorsByName& tensors, const io::GgufFile& file) {
  std::uint64_t most = 0;
  for (const auto& [name, tensor] : tensors)
    if (holds_experts(*tensor)) most = std::max(most, tensor->shape[2]);
  if (most > 0xffff)
    throw_error(ErrorCode::kBadFile, "{}: a layer has {} experts; the file is damaged", file.name(),
                most);
  return static_cast<std::uint32_t>(most);
}

}  // namespace

profiler::ModelIdentity identity_of_header(const io::GgufFile& file) {
  constexpr std::size_t kMostNameBytes = 200;
  const MetadataReader metadata(file);
  const TensorsByName tensors = tensors_by_name(file);
  const std::uint32_t experts = most_experts(tensors, file);
  const auto name = file.metadata().string("general.name");
  return {.architecture = printable(metadata.architecture(), kMostNameBytes),
          .name = printable(name.value_or(""), kMostNameBytes),
          .formats = expert_formats(tensors),
          .layers = metadata.required_count("block_count", {1, 0xffff}),
          .experts_per_layer = experts,
          .experts_used = metadata.count_or("expert_used_count", {0, experts}, 0),
          .metadata = metadata_fingerprint(file.metadata()),
          .tensors = shape_fingerprint(tensors),
          .types = type_fingerprint(tensors)};
}

std::vector<WeightSample> weight_samples(const io::GgufFile& file) {
  std::vector<WeightSample> samples;
  for (const auto& [name, tensor] : tensors_by_name(file)) {
    if (!is_sampled(*tensor)) continue;
    const std::uint64_t bytes = std::min(kSampleBytes, tensor->size->count);
    const std::uint64_t places = tensor->size->count - bytes + 1;
    samples.push_back({.tensor = tensor,
                       .offset = XXH3_64bits(name.data(), name.size()) % places,
                       .bytes = bytes});
  }
  return samples;
}

profiler::ModelIdentity identity_of(const io::GgufFile& file) {
  if (!file.has_data()) return identity_of_header(file);
  std::vector<std::unique_ptr<io::ByteSource>> parts;
  for (const std::string& path : file.paths())
    parts.push_back(io::open_file_source(path, io::Access::kScattered));
  Fingerprint fingerprint;
  std::array<std::byte, kSampleBytes> buffer;
  for (const WeightSample& sample : weight_samples(file)) {
    const std::span<std::byte> bytes = std::span(buffer).first(sample.bytes);
    parts[sample.tensor->file]->read(sample.tensor->offset + sample.offset, bytes);
    fingerprint.add(bytes);
  }
  profiler::ModelIdentity identity = identity_of_header(file);
  identity.samples = fingerprint.value();
  return identity;
}

}  // namespace hearth::runtime
