#include "runtime/model.h"

#include "base/error.h"
#include "runtime/models/architecture.h"

namespace hearth::runtime {

std::unique_ptr<Model> build_model(const io::GgufFile& file, TensorSource* source) {
  const MetadataReader metadata(file);
  std::string known;
  for (const Architecture& architecture : architectures()) {
    if (architecture.name == metadata.architecture()) {
      auto model = std::make_unique<Model>(file, source);
      architecture.build(metadata, *model);
      return model;
    }
    known += fmt::format("{}{}", known.empty() ? "" : ", ", architecture.name);
  }
  for (const KnownArchitecture& architecture : architectures_without_support())
    if (architecture.name == metadata.architecture())
      throw_error(
          ErrorCode::kUnsupported,
          "{}: architecture {} is not supported, as {} would be needed; this version runs {}",
          file.name(), architecture.name, architecture.missing, known);
  throw_error(ErrorCode::kUnsupported, "{}: architecture {} is not supported; this version runs {}",
              file.name(), printable(metadata.architecture()), known);
}

std::vector<KvLayer> Model::kv_layers() const {
  std::vector<KvLayer> result;
  for (const Layer& layer : layers) {
    KvLayer& kv = result.emplace_back();
    ScratchShape unused;
    for (const auto& block : layer.blocks) block->state_needs(unused, kv);
  }
  return result;
}

std::vector<RecurrentLayer> Model::recurrent_layers() const {
  std::vector<RecurrentLayer> result;
  for (const Layer& layer : layers) {
    RecurrentLayer& recurrent = result.emplace_back();
    for (const auto& block : layer.blocks) block->recurrent_needs(recurrent);
  }
  return result;
}

ScratchShape Model::scratch_shape() const {
  ScratchShape shape{.embedding = config.embedding,
                     .rope_dims = rotary_dims(rotary),
                     .vocabulary = config.vocabulary};
  KvLayer unused;
  for (const Layer& layer : layers)
    for (const auto& block : layer.blocks) block->state_needs(shape, unused);
  return shape;
}

Bytes Model::dense_bytes_per_token() const {
  Bytes total = weights.weight_bytes();
  // Of an embedding that is not also the output matrix, only one row is read.
  if (token_embedding != output)
    total = total - Bytes(token_embedding->bytes()) + Bytes(token_embedding->row_bytes());
  return total;
}

Bytes Model::expert_bytes_per_token() const {
  Bytes total;
  for (std::uint32_t l = 0; l < experts.layers(); ++l) {
    const LayerExperts& layer = experts.layer(static_cast<LayerIndex>(l));
    if (layer.count > 0) total += Bytes(layer.bytes()) * config.experts_used;
  }
  return total;
}

}  // namespace hearth::runtime
