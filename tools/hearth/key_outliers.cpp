#include "tools/hearth/key_outliers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "io/byte_source.h"
#include "io/gguf_writer.h"
#include "runtime/model.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/model_summary.h"
#include "tools/hearth/quantity.h"
#include "tools/hearth/terminal.h"

namespace hearth::tools {
namespace {

constexpr std::size_t kPieceBytes = 4 << 20;
constexpr double kLargestGain = 4096;

class OutlierCopy {
 public:
  OutlierCopy(const std::string& from, const KeyOutliers& outliers)
      : file_(open_model_file(from)),
        config_(runtime::build_model(file_)->config),
        outliers_(outliers) {
    check();
    for (const std::string& path : file_.paths()) sources_.push_back(io::open_file_source(path));
  }

  void write(const std::string& to) const {
    io::GgufWriter writer(to);
    for (const io::GgufMetadata::Entry& entry : file_.metadata().entries())
      if (!entry.key.starts_with("split.")) writer.set(entry.key, entry.value);
    writer.set("general.name", fmt::format("{}, {} key channels times {:g}", config_.name,
                                           outliers_.channels, outliers_.gain));
    Bytes total;
    for (const io::GgufTensor& tensor : file_.tensors()) {
      writer.declare(tensor.name, std::span(tensor.shape).first(tensor.dimensions), tensor.type_id,
                     *tensor.size);
      total += *tensor.size;
    }
    Progress progress(stderr, "writing", total);
    const InterruptGuard interrupt;
    std::vector<std::byte> piece;
    for (const io::GgufTensor& tensor : file_.tensors())
      for (std::uint64_t at = 0; at < tensor.size->count; at += piece.size()) {
        interrupt.throw_if_interrupted();
        piece.resize(std::min<std::uint64_t>(kPieceBytes, tensor.size->count - at));
        sources_[tensor.file]->read(tensor.offset + at, piece);
        if (const float gain = gain_of(tensor); gain != 1) multiply(piece, layer_of(tensor), gain);
        writer.append(piece);
        progress.advance(Bytes(piece.size()));
      }
    writer.finish();
  }

 private:
  void check() const {
    const std::uint32_t rotary = config_.rope_dims;
    if (outliers_.channels == 0 || outliers_.channels % 2 != 0 || outliers_.channels > rotary)
      throw_error(ErrorCode::kUsage,
                  "--key-outliers {}: give an even number of 2 to {}, the rotary channels of a "
                  "head, of which two share an angle",
                  outliers_.channels, rotary);
    if (!(outliers_.gain > 1 && outliers_.gain <= kLargestGain))
      throw_error(ErrorCode::kUsage, "--key-gain {:g}: give a gain above 1, at most {:g}",
                  outliers_.gain, kLargestGain);
    std::size_t of_keys = 0, of_queries = 0;
    for (const io::GgufTensor& tensor : file_.tensors()) {
      if (gain_of(tensor) == 1) continue;
      (is_of_keys(tensor) ? of_keys : of_queries) += 1;
      const bool fits = tensor.dimensions == 1 && tensor.shape[0] == config_.key_dim &&
                        format_name(tensor.type_id) == "F32";
      if (!fits)
        throw_error(ErrorCode::kUnsupported,
                    "{}: {} is not the norm of a head of {} channels in F32; outliers cannot be "
                    "put into it",
                    file_.name(), printable(tensor.name), config_.key_dim);
    }
    if (of_keys == 0 || of_keys != of_queries)
      throw_error(ErrorCode::kUnsupported,
                  "{}: the model has no norms of queries and keys that could take outliers; use "
                  "one that has, like qwen3moe",
                  file_.name());
  }

  static bool is_of_keys(const io::GgufTensor& tensor) {
    return tensor.name.ends_with(".attn_k_norm.weight");
  }
  // 1: the tensor stays as it is.
  float gain_of(const io::GgufTensor& tensor) const {
    if (is_of_keys(tensor)) return static_cast<float>(outliers_.gain);
    if (tensor.name.ends_with(".attn_q_norm.weight")) return static_cast<float>(1 / outliers_.gain);
    return 1;
  }
  // "blk.7" of "blk.7.attn_k_norm.weight": the norms of a layer get the same channels.
  static std::string_view layer_of(const io::GgufTensor& tensor) {
    return std::string_view(tensor.name).substr(0, tensor.name.rfind(".attn_"));
  }

  // A norm is far smaller than a piece.
  void multiply(std::span<std::byte> norm, std::string_view layer, float gain) const {
    std::vector<float> weights(norm.size() / sizeof(float));
    std::memcpy(weights.data(), norm.data(), norm.size());
    for (const std::uint32_t channel : channels(layer)) weights[channel] *= gain;
    std::memcpy(norm.data(), weights.data(), norm.size());
  }

  std::vector<std::uint32_t> channels(std::string_view layer) const {
    const std::uint32_t half = config_.rope_dims / 2;
    Random random(outliers_.seed);
    for (const char c : layer) random = Random(random.next() ^ static_cast<unsigned char>(c));
    std::vector<std::uint32_t> chosen;
    while (chosen.size() < outliers_.channels) {
      const auto channel = static_cast<std::uint32_t>(random.below(half));
      if (std::find(chosen.begin(), chosen.end(), channel) != chosen.end()) continue;
      chosen.insert(chosen.end(), {channel, channel + half});
    }
    return chosen;
  }

  const io::GgufFile file_;
  const runtime::ModelConfig config_;
  const KeyOutliers outliers_;
  std::vector<std::unique_ptr<io::ByteSource>> sources_;
};

}  // namespace

void write_with_key_outliers(const std::string& from, const std::string& to,
                             const KeyOutliers& outliers) {
  OutlierCopy(from, outliers).write(to);
}

}  // namespace hearth::tools
